"""The chart against a real API server: every values file linted, rendered, and checked by the server as if it were applied. A step of mesh_test.py;
tests/helm looks at what the manifests say."""
import glob
import os
import subprocess

from scenario import CHART, MESH, Failed

# Switches that add kinds of objects.
SWITCHES = ((), ("control.enabled=true", "webhook.enabled=true", "agent.gateway.address=0.0.0.0"),
            ("control.enabled=true", "control.tunnels=captured", "control.join.claimName=weft-nodes", "control.join.serviceType=NodePort",
             "control.join.names={mesh.example}"))


def check_charts(s):
    count = 0
    for values in sorted(glob.glob(CHART + "/values*.yaml")):
        for switches in SWITCHES:
            more = ["--values", values, *(part for switch in switches for part in ("--set", switch))]
            s.helm("lint", "--strict", CHART, *more)
            # What the cluster has decides about some objects.
            manifest = s.helm("template", "weft", CHART, "-n", MESH, "--api-versions", "gateway.networking.k8s.io/v1/GatewayClass", *more)
            out = subprocess.run(s.cluster.command(["kubectl", "apply", "--dry-run=server", "--validate=strict", "-n", MESH, "-f", "-"]), text=True,
                                 input=manifest, capture_output=True, check=False, timeout=120)
            if out.returncode != 0 or "Warning" in out.stderr:
                raise Failed(f"{os.path.basename(values)} with {switches}: {out.stdout}{out.stderr}")
            count += len(out.stdout.splitlines())
    return f"{count} objects of every values file, with and without weft-control, pass the API server's checks"
