"""A version whose agent does not start, under running traffic: the rollout stops at the first node, `weft upgrade` and `weft check --cluster` say
which and what to do, and the way back works. A step of mesh_test.py. The image of the proxy stands in for the agent's: the program that the
pod is to run is not in it."""
import json
import os
import subprocess

from scenario import CHART, COMPONENTS, MESH, REPOSITORY, Failed, until

VERSION = "0.0.0-broken"
# Helm gives up then; what it waits for never comes.
TIMEOUT = "40s"


def load(s):
    """Every node has images of that version."""
    for node in s.cluster.nodes():
        listed = node.run("ctr", "-n", "k8s.io", "images", "ls", "-q").split()
        for name in COMPONENTS:
            source = "proxy" if name == "agent" else name
            now = next(image for image in listed if image.startswith(f"{REPOSITORY}/weft-{source}:"))
            node.run("ctr", "-n", "k8s.io", "images", "tag", "--force", now, f"{REPOSITORY}/weft-{name}:{VERSION}")


def weft(s, *arguments):
    """`weft` as an administrator runs it outside of the cluster: its exit code, and all that it said."""
    out = subprocess.run(s.cluster.command([os.path.abspath(s.bin_dir + "/weft"), *arguments]), text=True, capture_output=True, check=False,
                         timeout=180)
    return out.returncode, out.stdout + out.stderr


def pods(s, component):
    """Node -> [(of the version that does not start, ready)]"""
    out = {}
    for pod in json.loads(s.kubectl("-n", MESH, "get", "pods", "-l", f"app.kubernetes.io/component={component}", "-o", "json"))["items"]:
        ready = any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))
        broken = pod["spec"]["containers"][0]["image"].endswith(":" + VERSION)
        out.setdefault(pod["spec"]["nodeName"], []).append((broken, ready))
    return out


def expect_said(what, said, *words):
    for word in words:
        if word not in said:
            raise Failed(f"{what} does not say '{word}':\n{said}")


def stopped_at(s):
    """The one node that has the agent which does not start; the others have theirs."""
    agents = pods(s, "agent")
    bad = [node for node, found in agents.items() if any(broken for broken, _ in found)]
    good = [node for node, found in agents.items() if found == [(False, True)]]
    if len(bad) != 1 or sorted(bad + good) != sorted(node.name for node in s.cluster.nodes()):
        raise Failed(f"agents, by node, (broken, ready): {agents}")
    proxies = pods(s, "proxy")[bad[0]]
    if not any(not broken for broken, _ in proxies):
        raise Failed(f"the proxy of {bad[0]} was replaced though its agent is not there: {proxies}")
    return bad[0]


def break_agent(s):
    load(s)
    code, said = weft(s, "upgrade", "--chart", CHART, "-n", MESH, "--set", f"image.tag={VERSION}", "--timeout", TIMEOUT)
    node = stopped_at(s)
    if code != 1:
        raise Failed(f"weft upgrade to a version that does not start ended with {code}\n{said}")
    expect_said("weft upgrade", said, "error: M-01", f" on {node}: ", "the rollout has stopped there: 1 nodes keep the version before",
                f"helm rollback weft -n {MESH} --wait")
    code, said = weft(s, "check", "--cluster", "-n", MESH)
    if code == 0:
        raise Failed(f"weft check --cluster finds nothing\n{said}")
    expect_said("weft check --cluster", said, "FAIL  M-01", f" on {node}: ", f"helm rollback weft -n {MESH} --wait")
    report = s.ask(400)
    if report["failed"]:
        raise Failed(f"while the agent of {node} is not there: {report}\n{s.mesh_logs()}")
    s.expect_unbroken(f"while the agent of {node} did not start")
    s.helm("rollback", "weft", "-n", MESH, "--wait", "--timeout", "150s", timeout=170)
    for name in COMPONENTS:
        kind = "deployment" if name == "control" else "daemonset"
        s.kubectl("-n", MESH, "rollout", "status", f"{kind}/weft-{name}", "--timeout=120s", timeout=130)
    until("weft check --cluster finds nothing", 60, lambda: weft(s, "check", "--cluster", "-n", MESH)[0] == 0,
          lambda: weft(s, "check", "--cluster", "-n", MESH)[1] + s.mesh_logs())
    # A pod that is told to end is listed until it has.
    until("no pod of the version that does not start is left", 60,
          lambda: not any(broken for found in (*pods(s, "agent").values(), *pods(s, "proxy").values()) for broken, _ in found),
          lambda: f"{pods(s, 'agent')} {pods(s, 'proxy')}")
    return f"the rollout stopped at {node}; back again; " + s.expect_unbroken("while the way back was taken")
