"""The arms: each is a client pod on node 1 and, but for the direct one, a proxy that serves it. Every proxy accepts and dials
inside its client's namespace, where Weft captures, so that all of them pass the same links: client, loopback, proxy, veth, bridge, veth,
upstream. Proxies have one CPU, client and upstream another. Used by bench.py."""
import json
import os
import re
import shutil
import socket
import subprocess

import configs
import machine
import weft_manifests

START_SECONDS = 30
PROXY_CPU = 0


class Unavailable(Exception):
    """An arm cannot run here; the message says why and what would help."""


def other_cpu():
    """Where client and upstream run."""
    return min(1, (os.cpu_count() or 1) - 1)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Arm:
    """`targets`: protocol pair -> IP:PORT in the client's namespace. `proxy`: the process that is measured."""

    def __init__(self, world, name, host):
        self.world = world
        self.name = name
        self.netns = name
        self.address = world.machine.add_pod(1, self.netns, host)
        self.cgroup = name
        self.proxy = None
        self.own_upstream = None
        self.targets = {}
        self.fresh_rss_kb = 0
        # Of an arm that can have a gateway.
        self.gateway_flags = []
        self.version = ""

    @property
    def upstream(self):
        return self.own_upstream or self.world.upstream

    @property
    def root(self):
        return f"{self.world.machine.folder}/{self.name}"

    def log(self):
        path = self.root + ".log"
        with open(path, encoding="utf-8", errors="replace") as f:
            return f.read()[-2000:]

    def start(self):
        pass

    def close(self):
        """What machine.close() does not do."""

    def speaks(self, protocol):
        return protocol in self.targets

    def run_proxy(self, argv, **place):
        self.proxy = self.world.machine.start(argv, cgroup=self.cgroup + "/proxy", log=self.root + ".log", cpu=PROXY_CPU,
                                              **place)
        return self.proxy

    def wait_served(self):
        """The first 200 through the arm, asked for by the load generator in the client's namespace."""
        deadline = START_SECONDS * 5
        for _ in range(deadline):
            if self.proxy and self.proxy.poll() is not None:
                raise Unavailable(f"{self.name} ended with code {self.proxy.returncode}: {self.log()}")
            out = self.world.client_output(self, [self.world.binary("weft-bench-load"), self.targets["h1"], "--path", "/b1k",
                                                  "-n", "1", "--interval", "0", "--timeout", "1"])
            if '"200":1' in out:
                return
            self.world.pause(0.2)
        raise Unavailable(f"{self.name} answers nothing: {self.log()}")


class Direct(Arm):
    """No proxy: the client dials the upstream."""

    def start(self):
        self.targets = {"h1": f"{self.world.upstream_address}:{configs.UPSTREAM_H1_PORT}",
                        "h2_to_h2": f"{self.world.upstream_address}:{configs.UPSTREAM_H2_PORT}"}


class Rival(Arm):
    program = ""
    package = ""

    def start(self):
        self.targets = {"h1": f"{self.address}:{configs.H1_PORT}", "h2_to_h1": f"{self.address}:{configs.H2_TO_H1_PORT}",
                        "h2_to_h2": f"{self.address}:{configs.H2_TO_H2_PORT}"}
        os.mkdir(self.root)
        self.run_proxy(self.argv(), netns=self.netns)

    def write(self, name, text):
        path = f"{self.root}/{name}"
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        return path

    def executable(self):
        path = shutil.which(self.program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
        if not path:
            raise Unavailable(f"{self.program} is not installed; next: apt-get install {self.package}")
        return path

    def argv(self):
        raise NotImplementedError


class Nginx(Rival):
    program, package = "nginx", "nginx-light"

    def argv(self):
        path = self.executable()
        self.version = subprocess.run([path, "-v"], capture_output=True, text=True, check=False).stderr.split("/")[-1].strip()
        config = self.write("nginx.conf", configs.nginx(self.root, self.world.upstream_address))
        return [path, "-e", "stderr", "-p", self.root, "-c", config]


class Haproxy(Rival):
    program, package = "haproxy", "haproxy"

    def argv(self):
        path = self.executable()
        text = subprocess.run([path, "-v"], capture_output=True, text=True, check=False).stdout
        self.version = text.split()[2].split("-")[0]
        return [path, "-db", "-f", self.write("haproxy.cfg", configs.haproxy(self.world.upstream_address))]


class Envoy(Rival):
    program, package = "envoy", "(none; tools/dev bench l7 --with-envoy, or ENVOY=/path/to/envoy)"

    def executable(self):
        return self.world.options.envoy or super().executable()

    def argv(self):
        path = self.executable()
        text = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
        self.version = next(iter(re.findall(r"/(\d+\.\d+\.\d+)/", text)), "")
        return [path, "--concurrency", "1", "--disable-hot-restart", "--log-level", "error", "-c",
                self.write("envoy.json", configs.envoy(self.world.upstream_address))]


class Weft(Arm):
    """weft-agent and weft-proxy of node 1, in a scratch cgroup of their own; the client pod is enrolled and dials the service."""

    agent_flags = []

    def __init__(self, world, name, host, io):
        super().__init__(world, name, host)
        self.io = io
        self.agent = None
        self.metrics_address = f"127.0.0.1:{free_port()}"
        self.gateway_flags = ["--gateway-address", "127.0.0.1"]

    def start(self):
        m = self.world.machine
        service = weft_manifests.SERVICE_IP
        # One proxy port serves both versions of HTTP: the service's port says what the upstream speaks.
        self.targets = {"h1": f"{service}:{weft_manifests.H1_SERVICE_PORT}"}
        for path in (self.root, self.root + "/run", self.root + "/config"):
            os.mkdir(path, 0o755)
        with open(self.root + "/config/mesh.yaml", "w", encoding="utf-8") as f:
            f.write(self.manifests())
        cgroup = os.path.join(m.cgroup, self.cgroup)
        os.makedirs(cgroup, exist_ok=True)
        self.agent = m.start(
            [self.world.binary("weft-agent"), "--config-dir", self.root + "/config", "--run-dir", self.root + "/run", "--pin-root",
             f"{m.folder}/bpf/{self.name}", "--cgroup", cgroup, "--node-name", "node1", "--proxy-user", "nobody",
             "--metrics-address", self.metrics_address, "--health-address", f"127.0.0.1:{free_port()}"] + self.agent_flags
            + self.gateway_flags,
            cgroup=self.cgroup + "/agent", log=self.root + ".agent.log", cpu=other_cpu())
        # No namespace: it accepts on sockets of the client's namespace that the agent hands over.
        self.run_proxy([self.world.binary("weft-proxy"), "--run-dir", self.root + "/run", "--user", "nobody", "--workers", "1",
                        "--access-log", "off", "--drain-timeout", "1", "--max-connections", str(configs.descriptors),
                        "--pod-max-connections", str(configs.descriptors)] + (["--io", self.io] if self.io else []))

    def manifests(self):
        return weft_manifests.mesh(self.netns, self.address, self.world.upstream_address)

    def wait_served(self):
        super().wait_served()
        out = self.world.client_output(self, ["h2load", "-n", "20", "-c", "1", f"http://{self.targets['h1']}/b1k"])
        if "20 succeeded" in out:
            service = weft_manifests.SERVICE_IP
            self.targets.update({"h2_to_h1": self.targets["h1"],
                                 "h2_to_h2": f"{service}:{weft_manifests.H2_SERVICE_PORT}"})

    def close(self):
        """The agent's own way to leave nothing in the kernel."""
        for process, patience in ((self.proxy, 5), (self.agent, 15)):
            if process:
                machine.stop(process, patience)
        subprocess.run([self.world.binary("weft-agent"), "cleanup", "--run-dir", self.root + "/run", "--pin-root",
                        f"{self.world.machine.folder}/bpf/{self.name}"], capture_output=True, check=False, timeout=60)


class WeftShortcut(Weft):
    """The same, and what pods and proxy send each other goes past TCP (docs/shortcut.md). The upstream has to be a captured pod then,
    of this arm's node: another nginx, with the configuration of the others."""

    agent_flags = ["--shortcut"]

    def start(self):
        self.own_upstream, self.upstream_address = self.world.start_upstream(self.name + "-up", 60 + len(self.world.started), self.cgroup)
        super().start()

    def manifests(self):
        return weft_manifests.mesh(self.netns, self.address, self.upstream_address, upstream_netns=self.name + "-up")

    def wait_served(self):
        super().wait_served()
        out = self.world.client_output(self, [self.world.binary("weft"), "--run-dir", self.root + "/run", "-o", "json", "status"])
        shortcut = json.loads(out)["shortcut"]
        if shortcut["problem"] or not shortcut["messages"]:
            raise Unavailable(f"{self.name}: nothing goes past TCP: {shortcut['problem'] or shortcut['byTcp']}")
