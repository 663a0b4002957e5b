"""What a pod's first moments are with the CNI plugin: a client whose first instruction is a request, and a server that nobody may ask, both started
while their agents stand still, so that nothing but the plugin can keep them from running unmeshed. A step of mesh_test.py."""
import os
import signal
import subprocess
import sys
import threading

from scenario import HERE, MESH, SHOP, Failed, until

PODS = 4
FORT = "fort"
# Each pod's only program is one request.
CLIENTS = f"""apiVersion: batch/v1
kind: Job
metadata: {{name: first, namespace: {SHOP}}}
spec:
  completions: {PODS}
  parallelism: {PODS}
  backoffLimit: 0
  template:
    spec:
      nodeName: n1
      restartPolicy: Never
      terminationGracePeriodSeconds: 1
      containers:
      - {{name: first, image: "weft.test/application:1", imagePullPolicy: Never, command: [wget, -q, -O, /dev/null, "http://10.96.10.10/"]}}
"""
POLICY = f"""apiVersion: v1
kind: Namespace
metadata: {{name: {FORT}, labels: {{weft.dev/mesh: enabled}}}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: nobody, namespace: {FORT}}}
spec: {{}}
"""
SERVERS = f"""apiVersion: apps/v1
kind: Deployment
metadata: {{name: fort, namespace: {FORT}}}
spec:
  replicas: {PODS}
  selector: {{matchLabels: {{app: fort}}}}
  template:
    metadata: {{labels: {{app: fort}}}}
    spec:
      nodeName: n2
      terminationGracePeriodSeconds: 1
      containers:
      - name: server
        image: weft.test/application:1
        imagePullPolicy: Never
        ports: [{{containerPort: 8080}}]
        readinessProbe: {{httpGet: {{path: /, port: 8080}}, periodSeconds: 1}}
"""


class Prober:
    """prober.py in the network of a machine. `seen`: address -> how it answered, one after the other."""

    def __init__(self, machine, addresses):
        self.seen = {address: [] for address in addresses}
        self.process = subprocess.Popen(machine.on_its_network([sys.executable, "-B", HERE + "/prober.py", *addresses]), stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            address, outcome = line.split()
            self.seen[address].append(outcome)

    def last(self, outcome):
        return {address for address, outcomes in self.seen.items() if outcomes and outcomes[-1] == outcome}

    def end(self):
        self.process.stdin.close()
        self.process.wait(timeout=30)


def next_addresses(node):
    """Those that the network plugin of the node gives out next, and some more."""
    last = node.run("cat", "/var/lib/cni/networks/cluster/last_reserved_ip.0").strip()
    network, number = last.rsplit(".", 1)
    return [f"{network}.{int(number) + step}" for step in range(1, 2 * PODS + 1)]


def agents(nodes):
    return [pid for node in nodes for pid, name in node.processes().items() if name == "weft-agent"]


def hold(s, nodes, prober):
    """Starts the pods while the agents stand still, until every one has its address and waits for its agent."""
    stopped = agents(nodes)
    try:
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        s.kubectl("apply", "-f", "-", stdin=CLIENTS + "---\n" + SERVERS)
        # A refusal comes from a pod's own network, in which nothing listens yet: the prober reaches it, and the mesh does not have it.
        until("the servers have addresses", 20, lambda: len(prober.last("closed")) == PODS, lambda: f"{prober.seen}")
        until("the plugin holds the clients", 20, lambda: "weft-cni" in nodes[0].commands())
        made = ("-o", "jsonpath={.items[*].status.containerStatuses[*].containerID}")
        started = s.kubectl("-n", FORT, "get", "pods", *made) + s.kubectl("-n", SHOP, "get", "pods", "-l", "job-name=first", *made)
        if started.strip():
            raise Failed(f"containers were made without their agents: {started}")
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)


def first_moments(s):
    nodes = s.cluster.nodes()
    s.kubectl("apply", "-f", "-", stdin=POLICY)
    until("the plugin knows the namespace", 20, lambda: FORT in nodes[1].run("cat", "/run/weft/cni-namespaces").split(), s.mesh_logs)
    for control in s.kubectl("-n", MESH, "get", "pods", "-l", "app.kubernetes.io/component=control", "-o", "jsonpath={.items[*].status.podIP}").split():
        until("weft-control has the policy", 20, lambda: s.metric(control, "weft_kubernetes_objects", kind="AuthorizationPolicy"), s.mesh_logs)
    before = [s.metric(node.address, "weft_pods_captured_before_start_total") for node in nodes]
    asked = s.metric(nodes[0].address, "weft_requests_total", source_workload="first-.*?")
    prober = Prober(nodes[0], next_addresses(nodes[1]))
    try:
        hold(s, nodes, prober)
        s.kubectl("-n", SHOP, "wait", "--for=condition=Complete", "job/first", "--timeout=60s")
        s.kubectl("-n", FORT, "rollout", "status", "deployment/fort", "--timeout=60s")
        until("every first request is measured", 20, lambda: s.metric(nodes[0].address, "weft_requests_total", source_workload="first-.*?") - asked == PODS,
              s.mesh_logs)
        guard(s, prober)
    finally:
        prober.end()
    told = [s.metric(node.address, "weft_pods_captured_before_start_total") - was for node, was in zip(nodes, before)]
    if told != [PODS, PODS]:
        raise Failed(f"captured before their start by the plugin: {told}, wanted {PODS} on each node")
    s.kubectl("delete", "namespace", FORT, "--wait=false")
    s.kubectl("-n", SHOP, "delete", "job", "first")
    return f"{PODS} clients' first requests are measured; {PODS} servers answered nobody before the policy went; " + s.expect_unbroken("meanwhile")


def guard(s, prober):
    """The servers run and are ready. Nobody was served, and who asked would have been: without the policy it is."""
    addresses = set(s.kubectl("-n", FORT, "get", "pods", "-o", "jsonpath={.items[*].status.podIP}").split())
    if len(addresses) != PODS or not addresses <= set(prober.seen):
        raise Failed(f"the servers are at {addresses}, and {set(prober.seen)} were watched")
    served = {address: outcomes for address, outcomes in prober.seen.items() if "served" in outcomes}
    if served:
        raise Failed(f"answers came through, with a policy that lets nobody in: {served}\n{s.mesh_logs()}")
    s.kubectl("-n", FORT, "delete", "authorizationpolicy", "nobody")
    until("without the policy everybody is served", 20, lambda: prober.last("served") == addresses, lambda: f"{prober.seen}\n{s.mesh_logs()}")
