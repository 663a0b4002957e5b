"""A Kubernetes cluster on this machine: a control plane and nodes with real kubelets and containerd, each a machine of machine.py, joined by
a bridge in the control plane's network namespace. Used by ./cluster, by the test and by the demo."""
import functools
import json
import os
import subprocess
import time

import machine
import pki
from machine import ClusterError, Machine

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
CONTROL = "172.30.0.1"
NODE = "172.30.0.1{}"
POD_NETWORK = "10.244.0.0/16"
PODS_OF_NODE = "10.244.{}.0/24"
SERVICE_NETWORK = "10.96.0.0/16"
API = f"https://{CONTROL}:6443"
PAUSE_IMAGE = "weft.test/pause:1"
PROGRAMS = "/opt/kubernetes"
CREDENTIALS = "/etc/kubernetes/pki"


def programs_folder():
    """Builds what is not there yet."""
    out = subprocess.run([HERE + "/programs/build.sh"], stdout=subprocess.PIPE, text=True, check=False)
    if out.returncode != 0:
        raise SystemExit(out.returncode)
    return out.stdout.strip()


@functools.cache
def helm_folder():
    """Helm's, or one that does not matter when it is not there."""
    out = subprocess.run([ROOT + "/tools/helm"], text=True, capture_output=True, check=False)
    return os.path.dirname(out.stdout.strip()) or "/usr/bin"


class Cluster:
    def __init__(self, name="weft-k8s"):
        self.name = machine.checked_name(name)
        self.folder = "/run/" + name
        self.kubeconfig = self.folder + "/kubeconfig"
        self.control = Machine(name, "control", CONTROL)
        self.programs = None

    def node(self, number):
        return Machine(self.name, f"n{number}", NODE.format(number))

    def nodes(self):
        names = sorted(n for n in os.listdir(self.folder) if n[0] == "n" and n[1:].isdigit())
        return [self.node(int(n[1:])) for n in names]

    def up(self, count, archives, say):
        machine.remove(self.name)
        started = time.monotonic()

        def done(what):
            say(f"    {time.monotonic() - started:5.1f} s  {what}")

        self.programs = programs_folder()
        started = time.monotonic()
        os.makedirs(self.folder, mode=0o755)
        with open(self.folder + "/programs", "w", encoding="utf-8") as f:
            f.write(self.programs)
        self.make_credentials(count)
        self.start_control_plane(say)
        done("API server ready")
        numbers = range(1, count + 1)
        for number in numbers:
            self.start_node(number)
        for number in numbers:
            self.load_images(self.node(number), archives)
            self.start_kubelet(number)
        done("images loaded, kubelets started")
        self.kubectl("wait", "--for=condition=Ready", *(f"node/n{number}" for number in numbers), "--timeout=60s", attempts=100)
        done(f"{count} nodes ready")

    def down(self):
        machine.remove(self.name)

    # --- what the servers are given

    def make_credentials(self, count):
        folder = self.folder + "/pki"
        pki.make_authority(folder)
        pki.issue(folder, "apiserver", "/CN=kube-apiserver", f"IP:{CONTROL}", "IP:127.0.0.1", "IP:10.96.0.1", "DNS:localhost", "DNS:kubernetes",
                  "DNS:kubernetes.default", "DNS:kubernetes.default.svc")
        pki.issue(folder, "admin", "/O=system:masters/CN=admin")
        pki.issue(folder, "proxy", "/CN=system:kube-proxy")
        pki.make_account_key(folder)
        for number in range(1, count + 1):
            pki.issue(folder, f"n{number}", f"/O=system:nodes/CN=system:node:n{number}", f"IP:{NODE.format(number)}", f"DNS:n{number}")
        pki.write_kubeconfig(self.kubeconfig, API, folder, "admin")
        pki.write_kubeconfig(folder + "/admin.kubeconfig", API, CREDENTIALS, "admin")
        pki.write_kubeconfig(folder + "/proxy.kubeconfig", API, CREDENTIALS, "proxy")

    def binds(self):
        return [(self.programs, PROGRAMS, "ro"), (self.folder + "/pki", CREDENTIALS, "ro")]

    # --- control plane

    def start_control_plane(self, say):
        control = self.control
        control.open(self.binds())
        control.run("ip", "link", "add", "lan0", "type", "bridge")
        control.run("ip", "addr", "add", CONTROL + "/24", "dev", "lan0")
        control.run("ip", "link", "set", "lan0", "up")
        self.start_etcd()
        self.start_apiserver()
        control.wait_for("kube-apiserver", 60, lambda: self.try_kubectl("get", "--raw", "/readyz"))
        admin = CREDENTIALS + "/admin.kubeconfig"
        common = ["--kubeconfig=" + admin, "--authentication-kubeconfig=" + admin, "--authorization-kubeconfig=" + admin,
                  "--bind-address=127.0.0.1", "--leader-elect=false"]
        control.start("kube-controller-manager", [
            PROGRAMS + "/kube-controller-manager", *common, "--cert-dir=/run/controllers", f"--root-ca-file={CREDENTIALS}/ca.crt",
            f"--service-account-private-key-file={CREDENTIALS}/sa.key", "--use-service-account-credentials=false",
            "--concurrent-deployment-syncs=2"])
        control.start("kube-scheduler", [PROGRAMS + "/kube-scheduler", *common, "--cert-dir=/run/scheduler"])
        control.wait_for("kube-controller-manager", 30, lambda: self.try_kubectl("get", "serviceaccount", "default"))

    def start_etcd(self):
        self.control.start("etcd", [
            PROGRAMS + "/etcd", "--data-dir=/var/lib/etcd", "--listen-client-urls=http://127.0.0.1:2379", "--unsafe-no-fsync",
            "--advertise-client-urls=http://127.0.0.1:2379", "--listen-peer-urls=http://127.0.0.1:2380", "--logger=zap",
            "--initial-advertise-peer-urls=http://127.0.0.1:2380", "--initial-cluster=default=http://127.0.0.1:2380"])

    def start_apiserver(self):
        pki_file = (CREDENTIALS + "/{}").format
        self.control.start("kube-apiserver", [
            PROGRAMS + "/kube-apiserver", "--etcd-servers=http://127.0.0.1:2379", "--bind-address=0.0.0.0", "--advertise-address=" + CONTROL,
            "--secure-port=6443", "--tls-cert-file=" + pki_file("apiserver.crt"), "--tls-private-key-file=" + pki_file("apiserver.key"),
            "--client-ca-file=" + pki_file("ca.crt"), "--authorization-mode=Node,RBAC", "--service-cluster-ip-range=" + SERVICE_NETWORK,
            "--service-account-issuer=https://kubernetes.default.svc", "--service-account-key-file=" + pki_file("sa.pub"),
            "--service-account-signing-key-file=" + pki_file("sa.key"), "--kubelet-client-certificate=" + pki_file("admin.crt"),
            "--kubelet-client-key=" + pki_file("admin.key"), "--kubelet-certificate-authority=" + pki_file("ca.crt"),
            "--kubelet-preferred-address-types=InternalIP", "--allow-privileged=true",
            # Webhooks are dialled at their pods: the control plane has a way to them, and no kube-proxy.
            "--enable-aggregator-routing=true"])

    # --- nodes

    def start_node(self, number):
        node = self.node(number)
        archives = self.folder + "/images"
        os.makedirs(archives, exist_ok=True)
        node.open([*self.binds(), (archives, "/opt/images", "ro")], ["net/ipv4/ip_forward=1"])
        port = f"n{number}"
        subprocess.run(self.control.on_its_network(["ip", "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", str(node.pid)]),
                       check=True)
        self.control.run("ip", "link", "set", port, "master", "lan0", "up")
        node.run("ip", "addr", "add", f"{node.address}/24", "dev", "eth0")
        node.run("ip", "link", "set", "eth0", "up")
        # Addresses of services are translated on the way out, so there must be a way. It leads nowhere: the control plane forwards nothing.
        node.run("ip", "route", "add", "default", "via", CONTROL)
        # As the cloud's router does it: every machine knows where the pods of the others are.
        self.control.run("ip", "route", "add", PODS_OF_NODE.format(number), "via", node.address)
        for other in self.nodes():
            if other.name == node.name:
                continue
            other_number = other.name[1:]
            node.run("ip", "route", "add", PODS_OF_NODE.format(other_number), "via", other.address)
            other.run("ip", "route", "add", PODS_OF_NODE.format(number), "via", node.address)
        self.configure_node(node, number)
        node.start("containerd", ["containerd", "--config", "/var/log/cluster/containerd.toml"])

    def configure_node(self, node, number):
        """Files that the node's programs read, in a folder that both sides see."""
        for name, text in (("containerd.toml", CONTAINERD), ("kubelet.yaml", KUBELET.format(node=node.name, address=node.address)),
                           ("kube-proxy.yaml", KUBE_PROXY.format(node=node.name)),
                           ("10-cluster.conflist", json.dumps(network_of_node(number), indent=2))):
            with open(f"{node.folder}/log/{name}", "w", encoding="ascii") as f:
                f.write(text)
        pki.write_kubeconfig(f"{self.folder}/pki/{node.name}.kubeconfig", API, CREDENTIALS, node.name)
        node.run("mkdir", "-p", "/etc/cni/net.d")
        node.run("cp", "/var/log/cluster/10-cluster.conflist", "/etc/cni/net.d/")

    def load_images(self, node, archives):
        node.wait_for("containerd", 20, lambda: subprocess.run(node.inside(["ctr", "version"]), capture_output=True, check=False).returncode == 0)
        for archive in archives:
            linked = f"{self.folder}/images/{os.path.basename(archive)}"
            if not os.path.exists(linked):
                subprocess.run(["cp", "--reflink=auto", archive, linked], check=True)
            node.run("ctr", "-n", "k8s.io", "images", "import", "/opt/images/" + os.path.basename(archive))

    def start_kubelet(self, number):
        node = self.node(number)
        node.start("kubelet", [PROGRAMS + "/kubelet", "--config=/var/log/cluster/kubelet.yaml",
                               f"--kubeconfig={CREDENTIALS}/{node.name}.kubeconfig", "--hostname-override=" + node.name,
                               "--node-ip=" + node.address, "--v=2"])
        node.start("kube-proxy", [PROGRAMS + "/kube-proxy", "--config=/var/log/cluster/kube-proxy.yaml"])

    # --- for those who use it

    def command(self, argv):
        """What to run for `argv` to reach the API server from here."""
        if self.programs is None:
            with open(self.folder + "/programs", encoding="utf-8") as f:
                self.programs = f.read()
        environment = ["KUBECONFIG=" + self.kubeconfig, f"PATH={self.programs}:{helm_folder()}:{os.environ['PATH']}"]
        return self.control.on_its_network(["env", *environment, *argv])

    def try_kubectl(self, *arguments, timeout=10):
        """False when it fails, and when it takes too long: both mean not yet."""
        try:
            return subprocess.run(self.command(["kubectl", *arguments]), capture_output=True, timeout=timeout, check=False).returncode == 0
        except subprocess.TimeoutExpired:
            return False

    def try_output(self, *arguments, timeout=20):
        """Its output, or why there is none; for reports."""
        try:
            out = subprocess.run(self.command(["kubectl", *arguments]), text=True, capture_output=True, timeout=timeout, check=False)
        except subprocess.TimeoutExpired:
            return f"kubectl {' '.join(arguments)}: no answer within {timeout} s\n"
        return out.stdout if out.returncode == 0 else out.stderr

    def kubectl(self, *arguments, stdin=None, timeout=120, attempts=1):
        """Its output. A command that has nothing to look at yet may be tried again, a tenth of a second apart, all within the timeout."""
        deadline = time.monotonic() + timeout
        for attempt in range(attempts):
            out = subprocess.run(self.command(["kubectl", *arguments]), text=True, input=stdin, capture_output=True, timeout=timeout, check=False)
            if out.returncode == 0:
                return out.stdout
            if attempt + 1 == attempts or time.monotonic() > deadline:
                break
            time.sleep(0.1)
        raise ClusterError(f"kubectl {' '.join(arguments)}: {out.stderr.strip() or out.stdout.strip()}")

    def logs(self, length=2500):
        """The end of each log of its machines, as far as they came."""
        machines = [self.control, *self.nodes()] if os.path.isdir(self.folder) else []
        return "\n".join(m.log(p, length) for m in machines
                         for p in ("init", "etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "containerd", "kubelet", "kube-proxy")
                         if os.path.exists(f"{m.folder}/log/{p}.log"))


def network_of_node(number):
    # No masquerading: a mesh knows pods by their addresses.
    return {"cniVersion": "1.0.0", "name": "cluster", "plugins": [
        {"type": "bridge", "bridge": "cni0", "isGateway": True, "ipMasq": False, "hairpinMode": True,
         "ipam": {"type": "host-local", "ranges": [[{"subnet": PODS_OF_NODE.format(number)}]], "routes": [{"dst": "0.0.0.0/0"}]}},
        {"type": "portmap", "capabilities": {"portMappings": True}}]}


CONTAINERD = f"""version = 2
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs", "io.containerd.internal.v1.opt", "io.containerd.tracing.processor.v1.otlp",
  "io.containerd.internal.v1.tracing"]
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  # The machine may not be allowed to lower scores.
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
"""

KUBELET = """apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: {address}
authentication: {{anonymous: {{enabled: false}}, webhook: {{enabled: true}}, x509: {{clientCAFile: /etc/kubernetes/pki/ca.crt}}}}
authorization: {{mode: Webhook}}
tlsCertFile: /etc/kubernetes/pki/{node}.crt
tlsPrivateKeyFile: /etc/kubernetes/pki/{node}.key
cgroupDriver: cgroupfs
failSwapOn: false
# What it would set for the whole kernel; machine_init.py shows it what it wants to see.
protectKernelDefaults: true
failCgroupV1: false
oomScoreAdj: 0
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
resolvConf: ""
healthzBindAddress: 127.0.0.1
nodeStatusUpdateFrequency: 2s
# What the real machine has left of disk is not this cluster's business.
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
evictionHard: {{memory.available: "0%", nodefs.available: "0%", nodefs.inodesFree: "0%", imagefs.available: "0%", imagefs.inodesFree: "0%"}}
"""

KUBE_PROXY = f"""apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clientConnection: {{{{kubeconfig: {CREDENTIALS}/proxy.kubeconfig}}}}
mode: iptables
clusterCIDR: {POD_NETWORK}
hostnameOverride: {{node}}
# These are limits of the real machine.
conntrack: {{{{maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}}}}
"""
