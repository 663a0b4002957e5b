#!/usr/bin/env python3
"""The canary on one machine: two nodes, a client pod, product-service v1 and v2 as nginx, weft-agent and weft-proxy on node1.
Started by tools/demo/run. It never attaches to the root cgroup, and removes everything it made, also when interrupted."""
import argparse
import json
import os
import queue
import re
import signal
import socket
import subprocess
import sys
import threading

import machine
import table

HERE = os.path.dirname(os.path.abspath(__file__))
SERVICE_IP = "10.97.0.10"
# Title, percent of v2. The first is tools/demo/canary.yaml as it is in the repository.
STEPS = [("canary.yaml as it is", 5), ("shift to 25 %", 25), ("shift to 50 %", 50), ("all to v2", 100), ("rollback", 0)]
START_ATTEMPTS = 150


class Interrupted(Exception):
    """A signal asked us to end."""


class Failed(Exception):
    """The demo cannot go on; the message says why and where to look."""


def on_signal(number, _frame):
    raise Interrupted(number)


def arguments():
    parser = argparse.ArgumentParser(prog="tools/dev demo", description="A canary release on this machine, end to end.")
    parser.add_argument("--fast", action="store_true", help="short steps, for CI")
    parser.add_argument("--rate", type=float, default=3000, help="requests per second")
    parser.add_argument("--bin-dir", default=os.path.join(os.path.dirname(os.path.dirname(HERE)), "build/release/bin"))
    parser.add_argument("--sweep", action="store_true", help="only remove what killed demos left behind")
    return parser.parse_args()


def free_port():
    """A port of the machine that was free a moment ago: the demo must not collide with an installed agent."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def pod_yaml(name, address, node, labels, netns=None):
    annotation = f"  annotations: {{weft.dev/netns: /run/netns/{netns}}}\n" if netns else ""
    return (f"---\napiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}\n  namespace: default\n{annotation}"
            f"  labels: {{{', '.join(f'{k}: {v}' for k, v in labels.items())}}}\n"
            f"spec:\n  nodeName: node{node}\n  serviceAccountName: default\n"
            f"status:\n  phase: Running\n  podIP: {address}\n  podIPs:\n  - ip: {address}\n"
            "  conditions:\n  - type: Ready\n    status: \"True\"\n")


def service_yaml():
    return (f"---\napiVersion: v1\nkind: Service\nmetadata:\n  name: product-service\n  namespace: default\n"
            f"spec:\n  clusterIP: {SERVICE_IP}\n  clusterIPs:\n  - {SERVICE_IP}\n  selector:\n    app: product-service\n"
            "  ports:\n  - name: http\n    port: 80\n    targetPort: 8080\n")


class Demo:
    def __init__(self, options):
        self.options = options
        self.machine = machine.Machine()
        self.agent = self.proxy = self.load = None
        self.intervals = queue.Queue()
        with open(os.path.join(HERE, "canary.yaml"), encoding="utf-8") as f:
            self.canary = f.read()

    def binary(self, name):
        return os.path.join(self.options.bin_dir, name)

    def write(self, name, text):
        """As an editor does it: whole, by rename."""
        path = f"{self.machine.folder}/config/{name}"
        with open(path + ".new", "w", encoding="utf-8") as f:
            f.write(text)
        os.rename(path + ".new", path)

    def set_weights(self, v2_percent):
        weights = iter([100 - v2_percent, v2_percent])
        self.write("canary.yaml", re.sub(r"(weight: )\d+", lambda m: m.group(1) + str(next(weights)), self.canary))

    def build(self):
        m = self.machine
        m.open()
        table.say("==> two nodes and three pods (network namespaces)")
        m.add_node(1)
        m.add_node(2)
        m.join_nodes()
        client = m.add_pod(1, "client", 10)
        v1, v2 = m.add_pod(2, "product-v1", 10), m.add_pod(2, "product-v2", 11)
        m.start_nginx("product-v1", "v1")
        m.start_nginx("product-v2", "v2")
        self.write("mesh.yaml",
                   pod_yaml("client", client, 1, {"app": "client", "weft.dev/mesh": "enabled"}, "client")
                   + pod_yaml("product-v1", v1, 2, {"app": "product-service", "version": "v1"})
                   + pod_yaml("product-v2", v2, 2, {"app": "product-service", "version": "v2"}) + service_yaml())
        self.write("canary.yaml", self.canary)

    def start_weft(self):
        folder = self.machine.folder
        table.say("==> weft-agent and weft-proxy on node1")
        self.agent = self.machine.start(
            [self.binary("weft-agent"), "--config-dir", folder + "/config", "--run-dir", folder + "/run", "--pin-root",
             folder + "/bpf/weft", "--cgroup", self.machine.cgroup, "--node-name", "node1", "--proxy-user", "nobody",
             "--metrics-address", f"127.0.0.1:{free_port()}", "--health-address", f"127.0.0.1:{free_port()}"],
            cgroup="agent", log=folder + "/agent.log")
        self.proxy = self.machine.start(
            [self.binary("weft-proxy"), "--run-dir", folder + "/run", "--user", "nobody", "--workers", "1",
             "--access-log", "off", "--drain-timeout", "2"],
            cgroup="proxy", log=folder + "/proxy.log")
        table.say(f"    look inside from another terminal: {self.binary('weft')} --run-dir {folder}/run status")

    def logs(self):
        text = ""
        for name in ("agent", "proxy", "load"):
            path = f"{self.machine.folder}/{name}.log"
            if os.path.exists(path):
                with open(path, encoding="utf-8", errors="replace") as f:
                    text += f"--- {name}\n" + f.read()[-3000:]
        return text

    def wait_until_served(self):
        """The first answer through the mesh; bounded, and over at once when a process has died."""
        for _ in range(START_ATTEMPTS):
            probe = self.machine.start([self.binary("weft-bench-load"), f"{SERVICE_IP}:80", "-n", "1", "--interval", "0",
                                        "--timeout", "1"], "client", stdout=subprocess.PIPE)
            out, _ = probe.communicate()
            self.machine.processes.remove(probe)
            if json.loads(out or "{}").get("statuses", {}).get("200"):
                table.say(f"==> product-service ({SERVICE_IP}) answers in the client pod, through the proxy")
                return
            for name, process in (("weft-agent", self.agent), ("weft-proxy", self.proxy)):
                if process.poll() is not None:
                    raise Failed(f"{name} ended with code {process.returncode}\n{self.logs()}")
            threading.Event().wait(0.2)
        raise Failed(f"product-service never answered through the mesh\n{self.logs()}")

    def start_load(self):
        interval = 0.5 if self.options.fast else 1
        self.load = self.machine.start(
            [self.binary("weft-bench-load"), f"{SERVICE_IP}:80", "-c", "16", "--rate", str(self.options.rate), "-d", "3600",
             "--interval", str(interval), "--version-header", "x-version"],
            "client", stdout=subprocess.PIPE, log=self.machine.folder + "/load.log")
        reader = threading.Thread(target=self.read_intervals, args=(self.load.stdout,), daemon=True)
        reader.start()

    def read_intervals(self, pipe):
        for line in pipe:
            self.intervals.put(json.loads(line))
        self.intervals.put(None)

    def run_step(self, title, v2_percent):
        step = table.Step(title, v2_percent)
        wanted = 3 if self.options.fast else 5
        table.say("")
        table.say(table.paint("1", f"{title}: v1 {100 - v2_percent} %, v2 {v2_percent} %"))
        if title != STEPS[0][0]:
            self.set_weights(v2_percent)
        table.header()
        # The interval in which the file changed has both weights; so may the next, while the change is on its way.
        settling = 2
        while wanted > 0:
            interval = self.intervals.get(timeout=30)
            if interval is None or interval["final"]:
                raise Failed(f"the load generator ended\n{self.logs()}")
            table.row(interval, v2_percent)
            step.failed += interval["failed"]
            if settling > 0:
                settling -= 1
                continue
            step.add(interval)
            wanted -= 1
        return step

    def run(self):
        self.build()
        self.start_weft()
        self.wait_until_served()
        self.start_load()
        steps = [self.run_step(title, percent) for title, percent in STEPS]
        table.summary(steps)
        return all(step.ok for step in steps)

    def close(self):
        if self.load:
            machine.stop(self.load, 5)
        clean = True
        for name, process in (("weft-proxy", self.proxy), ("weft-agent", self.agent)):
            if process:
                code = machine.stop(process, 15)
                if code not in (0, -signal.SIGTERM):
                    table.say(f"{name} ended with code {code}\n{self.logs()}")
                    clean = False
        if self.agent:
            out = subprocess.run([self.binary("weft-agent"), "cleanup", "--run-dir", self.machine.folder + "/run",
                                  "--pin-root", self.machine.folder + "/bpf/weft"], capture_output=True, text=True,
                                 check=False, timeout=60)
            if out.returncode != 0:
                table.say(f"weft-agent cleanup: {out.stderr}")
                clean = False
        self.machine.close()
        return clean


def main():
    options = arguments()
    if options.sweep:
        machine.sweep()
        return 0
    for number in machine.END_SIGNALS:
        signal.signal(number, on_signal)
    code = 1
    demo = Demo(options)
    try:
        code = 0 if demo.run() else 1
    except Interrupted as interrupted:
        code = 128 + interrupted.args[0]
        table.say("\n==> interrupted")
    except (Failed, RuntimeError, OSError, queue.Empty) as failed:
        table.say(f"\ndemo failed: {failed or 'the load generator says nothing any more'}")
    finally:
        # From here on a second Ctrl-C would leave things behind: it waits.
        for number in machine.END_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        table.say("==> cleaning up")
        if not demo.close():
            code = code or 1
        table.say("==> the machine is as it was before" if code == 0 else f"==> done, exit code {code}")
    return code


if __name__ == "__main__":
    sys.exit(main())
