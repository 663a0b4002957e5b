"""Weft with weft-control, on the cluster that the first story left without a mesh: it reads the API server, tells the agents, signs for them, writes
status and answers the webhook. Steps of mesh_test.py; each needs the ones before."""
import json
import os
import re
import subprocess
import tempfile

from cluster import ClusterError
from scenario import MESH, SHOP, Failed, canary, until

# Of the services' network: the cluster has no DNS.
CONTROL_ADDRESS = "10.96.0.20"
PODS = {"n1": 3, "n2": 2}
# What is wrong with it shows without other objects, so the webhook sees it too.
WRONG = """apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: cart, namespace: shop}
spec:
  hosts: [cart]
  http: [{route: []}]
"""
# One of its two backends is nobody.
ROUTE = """apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: vault, namespace: shop}
spec:
  parentRefs: [{group: "", kind: Service, name: vault, port: 80}]
  rules: [{backendRefs: [{name: vault, port: 80}, {name: BACKEND, port: 80}]}]
"""


def forget_annotations(s):
    """From here on no pod says itself that it takes tunnels."""
    s.kubectl("-n", SHOP, "patch", "deployment", "vault", "--type=json", "-p", '[{"op": "remove", "path": "/spec/template/metadata/annotations"}]')
    s.kubectl("-n", SHOP, "rollout", "status", "deployment/vault", "--timeout=60s")
    said = ("-n", SHOP, "get", "pods", "-o", "jsonpath={.items[*].metadata.annotations}")
    until("no pod is annotated", 30, lambda: "redirection" not in s.kubectl(*said), lambda: s.kubectl(*said))
    return "no pod has the annotation"


def install_control(s):
    s.install_chart("control.enabled=true", "control.tunnels=captured", f"control.clusterIP={CONTROL_ADDRESS}", "control.resources.requests.cpu=20m", "webhook.enabled=true")
    for node in s.cluster.nodes():
        until(f"{PODS[node.name]} pods of {node.name} are captured", 30, lambda: s.captured(node.name) == PODS[node.name], s.mesh_logs)
        source = json.loads(s.weft(node.name, "-o", "json", "status"))["configSource"]
        if CONTROL_ADDRESS not in source or not s.metric(node.address, "weft_control_connected"):
            raise Failed(f"{node.name} is told by {source}, connected: {s.metric(node.address, 'weft_control_connected')}")
    # What an agent knows it has from weft-control: it may not read the cluster.
    account = f"system:serviceaccount:{MESH}:weft-agent"
    try:
        s.kubectl("auth", "can-i", "list", "pods", "-A", "--as", account)
        raise Failed(f"{account} may list pods of the cluster")
    except ClusterError as refused:
        if "no" not in str(refused):
            raise
    return s.expect_unbroken("while the mesh was installed with weft-control")


def check_cluster(s):
    """`weft check --cluster`, as an administrator runs it outside of the cluster."""
    out = subprocess.run(s.cluster.command([os.path.abspath(s.bin_dir + "/weft"), "check", "--cluster"]), text=True, capture_output=True,
                         check=False, timeout=60)
    if out.returncode != 0:
        raise Failed(f"weft check --cluster: {out.returncode}\n{out.stdout}{out.stderr}")
    return out.stdout.strip().splitlines()[-1]


def weft_outside(s, *arguments):
    """(exit code, output, words) of `weft` on a desk: it has a kubeconfig and no agent."""
    out = subprocess.run(s.cluster.command([os.path.abspath(s.bin_dir + "/weft"), "--context", "test", *arguments]), text=True, capture_output=True,
                         check=False, timeout=60)
    return out.returncode, out.stdout, out.stderr


def ask_agents(s):
    """All agents through the API server, one of them, that of a pod's node; and who may not."""
    nodes = [node.name for node in s.cluster.nodes()]
    code, status, words = weft_outside(s, "status")
    if code or any(f"\n{node} " not in status for node in nodes):
        raise Failed(f"weft status: {code}\n{status}{words}")
    code, services, words = weft_outside(s, "-n", SHOP, "get", "services")
    if code or not any(line.startswith("all ") for line in services.splitlines()):
        raise Failed(f"weft get services: {code}\n{services}{words}")
    code, alone, words = weft_outside(s, "--node", nodes[1], "-n", SHOP, "get", "workloads")
    if code or "captured" not in alone or "AGENT" in alone:
        raise Failed(f"weft --node {nodes[1]} get workloads: {code}\n{alone}{words}")
    refuse_without_exec(s)
    return f"{len(nodes)} agents, {len(services.splitlines()) - 1} services"


def refuse_without_exec(s):
    """A user who may list pods and not exec is told which verbs are missing."""
    s.kubectl("-n", MESH, "create", "serviceaccount", "looker")
    s.kubectl("-n", MESH, "create", "role", "looker", "--verb=list", "--resource=pods")
    s.kubectl("-n", MESH, "create", "rolebinding", "looker", "--role=looker", f"--serviceaccount={MESH}:looker")
    try:
        token = s.kubectl("-n", MESH, "create", "token", "looker").strip()
        with tempfile.NamedTemporaryFile("w", suffix=".kubeconfig") as file:
            with open(s.cluster.kubeconfig, encoding="ascii") as own:
                text = own.read()
            file.write(re.sub(r"user: {client-certificate.*}}", f"user: {{token: {token}}}}}", text))
            file.flush()
            code, _, words = weft_outside(s, "--kubeconfig", file.name, "status")
        if code != 77 or "the verbs get and create of pods/exec" not in words:
            raise Failed(f"weft status of who may not exec: {code}\n{words}")
    finally:
        s.kubectl("-n", MESH, "delete", "serviceaccount/looker", "role/looker", "rolebinding/looker")


def scale(s, replicas):
    s.kubectl("-n", MESH, "scale", "deployment/weft-control", f"--replicas={replicas}")
    if replicas:
        s.kubectl("-n", MESH, "rollout", "status", "deployment/weft-control", "--timeout=90s")
    else:
        until("no weft-control is left", 60, lambda: not s.kubectl("-n", MESH, "get", "pods", "-l", "app.kubernetes.io/component=control",
                                                                  "-o", "name").strip())


def restart_control(s):
    s.kubectl("-n", MESH, "rollout", "restart", "deployment/weft-control")
    s.kubectl("-n", MESH, "rollout", "status", "deployment/weft-control", "--timeout=90s")
    until("both agents are told again", 30, lambda: all(s.metric(node.address, "weft_control_connected") for node in s.cluster.nodes()), s.mesh_logs)
    s.kubectl("-n", SHOP, "apply", "-f", "-", stdin=canary(20))
    until("a change comes through the new replicas", 30, lambda: s.share_of_v2(s.ask(200)) < 0.4, s.mesh_logs)
    return s.expect_unbroken("while weft-control was restarted")


def dry_run(s, manifest):
    """(admitted, what was said): by the API server and its webhooks, with nothing changed."""
    out = subprocess.run(s.cluster.command(["kubectl", "apply", "--dry-run=server", "-f", "-"]), text=True, input=manifest, capture_output=True,
                         check=False, timeout=30)
    return out.returncode == 0, out.stderr


def words_of_analyze(s, manifest):
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(manifest)
        file.flush()
        out = subprocess.run([s.bin_dir + "/weft", "analyze", file.name], text=True, capture_output=True, check=False).stdout
    found = re.search(r": (error WF\d+) \w+ \S+ (.*)", out)
    if not found:
        raise Failed(f"weft analyze says nothing of it: {out}")
    return found.groups()


def refuse_wrong(s):
    """The webhook, in the words of `weft analyze`."""
    code, words = words_of_analyze(s, WRONG)
    until("the webhook refuses what is wrong", 60, lambda: not dry_run(s, WRONG)[0], s.mesh_logs)
    said = dry_run(s, WRONG)[1]
    if "objects.weft.dev" not in said or code not in said or words not in said:
        raise Failed(f"wanted '{code}' and '{words}', the webhook said: {said}")
    right = WRONG.replace("route: []", "route: [{destination: {host: product-service}}]")
    admitted, said = dry_run(s, right)
    if not admitted:
        raise Failed(f"what is right is refused: {said}")
    return f"refused with {code}: {words}"


def status_of(s, kind, name):
    return json.loads(s.kubectl("-n", SHOP, "get", kind, name, "-o", "json")).get("status", {})


def lose_control(s):
    """Both replicas go: traffic goes on and says so, everything may be applied. They come back: what is wrong gets its status and an Event."""
    scale(s, 0)
    until("the agents say so", 30, lambda: not any(s.metric(node.address, "weft_control_connected") for node in s.cluster.nodes()), s.mesh_logs)
    if not json.loads(s.weft("n1", "-o", "json", "status"))["problems"]:
        raise Failed("`weft status` has nothing to say of weft-control, which is away")
    # As soon as the API server knows that nobody answers.
    until("without weft-control everything may be applied", 30, lambda: dry_run(s, WRONG)[0])
    s.kubectl("apply", "-f", "-", stdin=WRONG)
    s.expect_unbroken("while weft-control was away")
    scale(s, 2)
    code, words = words_of_analyze(s, WRONG)
    code = code.removeprefix("error ")
    messages = until("the object's status says what is wrong", 60, lambda: status_of(s, "virtualservice", "cart").get("validationMessages"), s.mesh_logs)
    if code not in json.dumps(messages):
        raise Failed(f"wanted {code} in {messages}")
    find = ("-n", SHOP, "get", "events", "--field-selector", "involvedObject.kind=VirtualService,involvedObject.name=cart,type=Warning", "-o", "json")
    events = until("there is an Event of it", 30, lambda: json.loads(s.kubectl(*find))["items"], s.mesh_logs)
    # The remedy is said in other words there.
    what = words.split(" (")[0]
    if code != events[0]["reason"] or what not in events[0]["message"]:
        raise Failed(f"wanted {code} and '{what}' in {events[0]}")
    s.kubectl("-n", SHOP, "delete", "virtualservice", "cart")
    until("both agents are told again", 30, lambda: all(s.metric(node.address, "weft_control_connected") for node in s.cluster.nodes()), s.mesh_logs)
    return s.expect_unbroken("while weft-control came back")


def conditions(s, wanted):
    """Waits until the HTTPRoute's conditions of Weft are these: type -> (status, reason)."""
    def found():
        parents = [p for p in status_of(s, "httproute", "vault").get("parents", []) if p["controllerName"] == "weft.dev/gateway-controller"]
        return {c["type"]: (c["status"], c["reason"]) for p in parents for c in p["conditions"]}
    until(f"the conditions of the HTTPRoute are {wanted}", 30, lambda: wanted.items() <= found().items(), lambda: f"{found()}\n{s.mesh_logs()}")


def judge_route(s):
    """Conditions of the Gateway API on the real server."""
    s.kubectl("apply", "-f", "-", stdin=ROUTE.replace("BACKEND", "nobody"))
    conditions(s, {"Accepted": ("True", "Accepted"), "ResolvedRefs": ("False", "BackendNotFound")})
    s.kubectl("apply", "-f", "-", stdin=ROUTE.replace("BACKEND", "product-service"))
    conditions(s, {"Accepted": ("True", "Accepted"), "ResolvedRefs": ("True", "ResolvedRefs")})
    s.kubectl("-n", SHOP, "delete", "httproute", "vault")
    accepted = until("the GatewayClass is judged", 40, lambda: json.loads(s.kubectl("get", "gatewayclass", "weft", "-o", "json")).get("status", {}).get("conditions"))
    if [(c["type"], c["status"]) for c in accepted if c["type"] == "Accepted"] != [("Accepted", "True")]:
        raise Failed(f"the GatewayClass is not accepted: {accepted}")
    return "a backend that nobody is: ResolvedRefs False, BackendNotFound; mended: True; the GatewayClass is accepted"
