"""Weft on the test cluster, as its users have it: images, installation by the chart, a canary by kubectl, restarts, uninstallation. The steps
of mesh_test.py and of tools/demo/kubernetes.py."""
import json
import math
import os
import re
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import definitions  # noqa: E402 pylint: disable=wrong-import-position
import images  # noqa: E402 pylint: disable=wrong-import-position
import pki  # noqa: E402 pylint: disable=wrong-import-position
from cluster import Cluster, ClusterError  # noqa: E402 pylint: disable=wrong-import-position

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
CHART = ROOT + "/helm/weft"
CANARY = ROOT + "/tools/demo/canary.yaml"
MESH = "weft-system"
SHOP = "shop"
SERVICE = "10.96.10.10:80"  # product-service of shop.yaml
VAULT = "10.96.10.11:80"
SAMPLE = 4000
REPOSITORY = "weft.test"
COMPONENTS = ("agent", "proxy", "control")
# What the chart makes carries its label; kinds that are not namespaced among them.
KINDS_OF_CHART = ("all,configmaps,secrets,serviceaccounts,roles,rolebindings,leases,networkpolicies,poddisruptionbudgets,clusterroles,"
                  "clusterrolebindings,gatewayclasses,validatingwebhookconfigurations")
# A random share is further off than this many standard deviations less than once in a million runs.
DEVIATIONS = 5.5


class Failed(Exception):
    """What was expected did not come about."""


def until(what, seconds, condition, detail=lambda: ""):
    """Asks until it is so; an answer that is not the one is no reason to wait longer than it takes to ask again."""
    deadline = time.monotonic() + seconds
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > deadline:
            raise Failed(f"not within {seconds} s: {what}\n{detail()}")
        time.sleep(0.2)


def canary(v2_percent):
    """tools/demo/canary.yaml with these weights; the subsets first, which the routes to them need (kubectl sends one after the other)."""
    weights = iter([100 - v2_percent, v2_percent])
    with open(CANARY, encoding="utf-8") as f:
        text = re.sub(r"(weight: )\d+", lambda m: m.group(1) + str(next(weights)), f.read())
    return "\n---\n".join(reversed(text.split("\n---\n")))


class Scenario:
    def __init__(self, name, bin_dir, drain_seconds=5):
        self.cluster = Cluster(name)
        self.bin_dir = bin_dir
        self.drain_seconds = drain_seconds

    # --- helpers of the steps

    def kubectl(self, *arguments, **more):
        return self.cluster.kubectl(*arguments, **more)

    def helm(self, *arguments, timeout=180):
        out = subprocess.run(self.cluster.command(["helm", *arguments]), text=True, capture_output=True, timeout=timeout, check=False)
        if out.returncode != 0:
            raise Failed(f"helm {' '.join(arguments)}: {out.stderr}\n{self.mesh_logs()}")
        return out.stdout

    def in_client(self, *argv, timeout=60):
        return self.kubectl("-n", SHOP, "exec", "client", "--", *argv, timeout=timeout)

    def ask(self, count, service=SERVICE):
        """So many requests of the client pod, each on a connection of its own: the load generator's report."""
        out = self.in_client("weft-bench-load", service, "-n", str(count), "-c", "8", "--new-connections", "--interval", "0",
                             "--timeout", "10", "--version-header", "x-version")
        return json.loads(out)

    def share_of_v2(self, report):
        versions = report["versions"]
        return versions.get("v2", 0) / max(1, sum(versions.values()))

    def expect_share(self, wanted):
        report = self.ask(SAMPLE)
        share = self.share_of_v2(report)
        allowed = DEVIATIONS * math.sqrt(wanted * (1 - wanted) / SAMPLE)
        if report["failed"] or abs(share - wanted) > allowed:
            raise Failed(f"wanted {wanted:.1%} of v2, allowed ±{allowed:.1%}, got {share:.2%}, {report['failed']} failed: {report}\n{self.mesh_logs()}")
        return f"{share:.2%} of {SAMPLE} requests went to v2, wanted {wanted:.0%} ± {allowed:.1%}"

    def watcher(self):
        """(requests, failed) of the client that never stops, up to now."""
        done = failed = 0
        for line in self.kubectl("-n", SHOP, "logs", "watcher").splitlines():
            if line.startswith("{"):
                interval = json.loads(line)
                done += sum(interval["statuses"].values())
                failed += interval["failed"]
        return done, failed

    def expect_unbroken(self, during):
        before, _ = self.watcher()
        # Two more intervals, so that what is counted includes now.
        done, failed = until("the watcher goes on", 30, lambda: (lambda now: now if now[0] > before + 100 else None)(self.watcher()))
        if failed:
            lines = [line for line in self.kubectl("-n", SHOP, "logs", "watcher").splitlines() if '"failed":0' not in line.replace(" ", "")]
            raise Failed(f"{failed} of {done} requests failed {during}\n" + "\n".join(lines[-5:]) + "\n" + self.mesh_logs())
        return f"{done} requests so far, none failed"

    def mesh_logs(self):
        text = ""
        for name in self.cluster.try_output("-n", MESH, "get", "pods", "-o", "name").split():
            text += f"--- {name}\n" + self.cluster.try_output("-n", MESH, "logs", name, "--tail=40")
        return text + self.cluster.try_output("-n", MESH, "get", "pods", "-o", "wide") + self.cluster.try_output(
            "-n", MESH, "get", "events", "--sort-by=.lastTimestamp")

    def weft(self, node, *arguments):
        """The CLI inside the agent of a node."""
        pod = self.kubectl("-n", MESH, "get", "pods", "-l", "app.kubernetes.io/component=agent", "--field-selector", f"spec.nodeName={node}",
                           "-o", "jsonpath={.items[0].metadata.name}")
        return self.kubectl("-n", MESH, "exec", pod, "-c", "agent", "--", "weft", *arguments)

    def metric(self, address, name, **labels):
        """The sum of the rows of a metric of an agent (at its node's address) or of a weft-control whose labels match these expressions."""
        text = subprocess.run(self.cluster.command(["curl", "-sS", "--max-time", "10", f"http://{address}:15020/metrics"]), text=True,
                              capture_output=True, check=True).stdout
        rows = (line.rsplit(" ", 1) for line in text.splitlines() if re.match(re.escape(name) + r"[ {]", line))
        return sum(float(value) for row, value in rows if all(re.search(f'[{{,]{key}="{wanted}"', row) for key, wanted in labels.items()))

    # --- the steps, in order

    def start(self):
        subprocess.run([ROOT + "/tools/image/build", "--bin-dir", self.bin_dir, "--out", images.OUT, "--repository", REPOSITORY], check=True)
        archives = [images.pause(), images.application(self.bin_dir), *(f"{images.OUT}/weft-{name}.tar" for name in COMPONENTS)]
        self.cluster.up(2, archives, print)
        return "two nodes are ready"

    def deploy(self):
        self.kubectl("apply", "-f", "-", stdin=definitions.manifest())
        # A pod is refused until its namespace has a ServiceAccount.
        self.kubectl("apply", "-f", HERE + "/shop.yaml", attempts=50)
        for name in ("product-v1", "product-v2", "vault"):
            self.kubectl("-n", SHOP, "rollout", "status", "deployment/" + name, "--timeout=60s")
        self.kubectl("-n", SHOP, "wait", "--for=condition=Ready", "pod/client", "pod/watcher", "--timeout=60s")
        # kube-proxy learns of endpoints in its own time.
        until("both versions are served without a mesh", 20, lambda: len(self.ask(100)["versions"]) == 2)
        report = self.ask(400)
        if report["failed"] or set(report["versions"]) != {"v1", "v2"}:
            raise Failed(f"without a mesh: {report}")
        until("the watcher is served", 30, lambda: self.watcher()[0] > 50)
        return f"without a mesh: {report['versions']}"

    def install(self):
        self.kubectl("create", "namespace", MESH)
        folder = self.cluster.folder + "/authority"
        pki.make_authority(folder)
        self.kubectl("-n", MESH, "create", "secret", "generic", "weft-ca", f"--from-file=ca.crt={folder}/ca.crt",
                     f"--from-file=ca.key={folder}/ca.key", f"--from-file=roots.crt={folder}/ca.crt")
        self.install_chart("agent.authority.secretName=weft-ca")
        return self.expect_unbroken("while the mesh was installed")

    def install_chart(self, *values):
        values = [*(f"{name}.image.repository={REPOSITORY}/weft-{name}" for name in COMPONENTS), "image.pullPolicy=Never",
                  f"proxy.drainTimeoutSeconds={self.drain_seconds}", *values]
        self.helm("install", "weft", CHART, "-n", MESH, "--values", CHART + "/values-small.yaml", "--wait", "--timeout", "120s",
                  *(part for value in values for part in ("--set", value)))

    def enrol(self):
        self.kubectl("label", "namespace", SHOP, "weft.dev/mesh=enabled")
        for node, pods in (("n1", 3), ("n2", 2)):
            until(f"{pods} pods of {node} are captured", 30, lambda: self.captured(node) == pods, lambda: self.weft(node, "-n", SHOP, "get", "workloads") + self.mesh_logs())
        return self.expect_unbroken("while the namespace was enrolled")

    def captured(self, node):
        return json.loads(self.weft(node, "-o", "json", "status"))["podsCaptured"]

    def encrypt(self):
        """Between the nodes: identities of the pods that are there and no others, and connections in tunnels."""
        account = "spiffe://cluster.local/ns/shop/sa/{}".format
        for node, wanted in (("n1", {account("default"), account("product")}), ("n2", {account("product"), account("vault")})):
            issued = until(f"{node} has certificates for {wanted}", 20, lambda: (lambda now: now if now >= wanted else None)(self.identities(node)),
                           lambda: self.weft(node, "cert", "list"))
            if issued != wanted:
                raise Failed(f"{node} has certificates for {issued}, wanted {wanted}")
        until("the vault answers", 20, lambda: not self.ask(1, VAULT)["failed"], self.mesh_logs)
        report = self.ask(1000, VAULT)
        node = self.cluster.node(2)
        tunnels = [line for namespace in node.run("ls", "/run/netns").split() for line in node.run(
            "nsenter", "--net=/run/netns/" + namespace, "--", "ss", "-Htn", "state", "established", "sport", "=", ":15008").splitlines()]
        if report["failed"] or not tunnels:
            raise Failed(f"{len(tunnels)} tunnels to the vault, {report}\n{self.mesh_logs()}")
        return f"{report['requests']} requests to the other node through {len(tunnels)} tunnels of mutual TLS"

    def identities(self, node):
        listed = json.loads(self.weft(node, "-o", "json", "cert", "list"))
        return {leaf["identity"] for leaf in listed["issued"]}

    def apply_canary(self):
        with open(CANARY, encoding="utf-8") as f:
            self.kubectl("-n", SHOP, "apply", "-f", "-", stdin=f.read())  # as it is
        until("v2 gets less than a fifth", 20, lambda: self.share_of_v2(self.ask(200)) < 0.2, self.mesh_logs)
        return self.expect_share(0.05)

    def change_weights(self):
        self.kubectl("-n", SHOP, "apply", "-f", "-", stdin=canary(70))
        until("v2 gets more than half", 20, lambda: self.share_of_v2(self.ask(200)) > 0.5, self.mesh_logs)
        return self.expect_share(0.70)

    def restart(self, component):
        self.kubectl("-n", MESH, "rollout", "restart", "daemonset/weft-" + component)
        self.kubectl("-n", MESH, "rollout", "status", "daemonset/weft-" + component, "--timeout=150s", timeout=180)
        self.expect_share(0.70)
        return self.expect_unbroken(f"while weft-{component} was restarted on both nodes")

    def restart_agent(self):
        return self.restart("agent")

    def restart_proxy(self):
        return self.restart("proxy")

    def lose_api_server(self):
        control = self.cluster.control
        before = self.watcher()[0]
        control.stop("kube-apiserver", 9)
        until("kube-apiserver has ended", 20, lambda: not control.runs("kube-apiserver"))
        # Without it there are no logs to read: that the traffic went on shows afterwards.
        time.sleep(5)
        self.cluster.start_apiserver()
        until("the API server answers", 60, lambda: self.cluster.try_kubectl("get", "--raw", "/readyz"))
        self.expect_unbroken("while the API server was away")
        self.kubectl("-n", SHOP, "apply", "-f", "-", stdin=canary(5))
        until("a change comes through again", 60, lambda: self.share_of_v2(self.ask(200)) < 0.2, self.mesh_logs)
        # That is the client's node. An agent that still waits for its next attempt would not hear of an uninstallation.
        for node in self.cluster.nodes():
            until(f"the agent of {node.name} hears the API server again", 60, lambda: "Kubernetes API" not in self.weft(node.name, "status"),
                  self.mesh_logs)
        return f"a change came through again, {self.watcher()[0] - before} requests meanwhile"

    def uninstall(self):
        self.helm("uninstall", "weft", "-n", MESH, "--wait", "--timeout", "120s")
        until("no pod of the mesh is left", 90, lambda: not self.kubectl("-n", MESH, "get", "pods", "-o", "name").strip(),
              lambda: self.kubectl("-n", MESH, "get", "pods"))
        objects = self.kubectl("get", KINDS_OF_CHART, "-A", "-l", "app.kubernetes.io/name=weft", "--ignore-not-found", "-o", "name").split()
        if objects:
            raise Failed("the cluster still has: " + ", ".join(objects))
        for node in self.cluster.nodes():
            left = self.left_on(node)
            if left:
                raise Failed(f"{node.name} still has: " + ", ".join(left))
        report = self.ask(400)
        if report["failed"] or not 0.2 < self.share_of_v2(report) < 0.8:
            raise Failed(f"the canary is still in force without a mesh: {report}")
        return self.expect_unbroken("while the mesh was taken out")

    def left_on(self, node):
        """What Weft made on a node, and in the pods on it."""
        left = []
        for path in ("/sys/fs/bpf/weft", "/opt/cni/bin/weft-cni"):
            if node.run("sh", "-c", f"ls -d {path} 2>/dev/null || true").strip():
                left.append(path)
        # The folders themselves are the kubelet's: it makes what a pod mounts of the node.
        for path in ("/run/weft", "/var/lib/weft"):
            left += node.run("sh", "-c", f"find {path} -mindepth 1 2>/dev/null || true").split()
        if "weft" in node.run("sh", "-c", "cat /etc/cni/net.d/*"):
            left.append("a plugin in the CNI configuration")
        left += [name for name in node.commands() if name.startswith("weft-") and name != "weft-bench-load"]
        namespaces = node.run("ls", "/run/netns").split()
        for namespace in namespaces:
            rules = node.run("nsenter", f"--net=/run/netns/{namespace}", "--", "ip", "rule")
            if "0x570c" in rules:
                left.append(f"a rule in {namespace}")
        return left
