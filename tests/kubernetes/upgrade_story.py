"""Another version of Weft takes the place of the one that is installed, under running traffic. A step of mesh_test.py. The later version is an
agent whose kernel maps are laid out otherwise (tests/next); proxy and weft-control are the same programs under the other version's name."""
import json
import os
import subprocess
import tempfile

import images
from scenario import CHART, COMPONENTS, MESH, REPOSITORY, ROOT, Failed, until


def load(s):
    """The later version's images on every node: the version."""
    with tempfile.TemporaryDirectory() as folder:
        for program in ("weft", "weft-cni"):
            os.symlink(os.path.abspath(f"{s.bin_dir}/{program}"), f"{folder}/{program}")
        os.symlink(os.path.abspath(s.bin_dir + "/weft-agent-next"), folder + "/weft-agent")
        version = subprocess.run([folder + "/weft-agent", "--version"], text=True, capture_output=True, check=True).stdout.strip()
        subprocess.run([ROOT + "/tools/image/build", "--bin-dir", folder, "--out", images.OUT + "/next", "--repository", REPOSITORY, "weft-agent"],
                       check=True)
    # Nodes know archives by their names.
    archive = images.OUT + "/weft-agent-next.tar"
    os.replace(images.OUT + "/next/weft-agent.tar", archive)
    for node in s.cluster.nodes():
        s.cluster.load_images(node, [archive])
        for name in ("weft-proxy", "weft-control"):
            listed = node.run("ctr", "-n", "k8s.io", "images", "ls", "-q").split()
            now = next(image for image in listed if image.startswith(f"{REPOSITORY}/{name}:"))
            node.run("ctr", "-n", "k8s.io", "images", "tag", "--force", now, f"{REPOSITORY}/{name}:{version}")
    return version


def upgrade(s):
    version = load(s)
    s.helm("upgrade", "weft", CHART, "-n", MESH, "--reuse-values", "--set", "image.tag=" + version, "--wait", "--timeout", "180s", timeout=200)
    for name in COMPONENTS:
        kind = "deployment" if name == "control" else "daemonset"
        s.kubectl("-n", MESH, "rollout", "status", f"{kind}/weft-{name}", "--timeout=120s", timeout=130)
    for node in s.cluster.nodes():
        status = json.loads(s.weft(node.name, "-o", "json", "status"))
        if status["agentVersion"] != version:
            raise Failed(f"{node.name} has agent {status['agentVersion']}, wanted {version}")
        until(f"the proxy of {node.name} is up to date", 30, lambda: s.metric(node.address, "weft_proxy_up"), s.mesh_logs)
    return f"{version}; " + s.expect_unbroken("while every component was upgraded")
