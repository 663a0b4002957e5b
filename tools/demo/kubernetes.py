#!/usr/bin/env python3
"""The canary on a Kubernetes of two nodes, with live numbers: tools/dev demo --kubernetes. Makes the cluster (tests/kubernetes), installs Weft by
its chart, labels a namespace, applies canary.yaml and other weights with kubectl, takes everything out again; also when interrupted."""
import argparse
import json
import os
import signal
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
# That folder first: both have a machine.py.
sys.path[:0] = [ROOT + "/tests/kubernetes", HERE]
import table  # noqa: E402 pylint: disable=wrong-import-position
from machine import ClusterError  # noqa: E402 pylint: disable=wrong-import-position
from scenario import SERVICE, SHOP, Failed, Scenario, canary  # noqa: E402 pylint: disable=wrong-import-position

# Title, percent of v2. The first is tools/demo/canary.yaml as it is in the repository.
WEIGHTS = [("canary.yaml as it is", 5), ("shift to 25 %", 25), ("shift to 50 %", 50), ("all to v2", 100), ("rollback", 0)]
# While a change is on its way, an interval has both weights.
SETTLING = 3


class Interrupted(Exception):
    """A signal asked us to end."""


def on_signal(number, _frame):
    raise Interrupted(number)


def said(title, command, text):
    table.say(f"==> {title}\n    {table.paint('2', '$ ' + command)}\n    {text}")


def run_step(scenario, load, title, percent, intervals):
    step = table.Step(title, percent)
    table.say("")
    table.say(table.paint("1", f"{title}: v1 {100 - percent} %, v2 {percent} %") + table.paint("2", "    $ kubectl apply -f canary.yaml"))
    scenario.kubectl("-n", SHOP, "apply", "-f", "-", stdin=canary(percent))
    table.header()
    for number in range(SETTLING + intervals):
        line = load.stdout.readline()
        interval = json.loads(line) if line else {"final": True}
        if interval["final"]:
            raise Failed("the load generator ended\n" + scenario.mesh_logs())
        table.row(interval, percent)
        step.failed += interval["failed"]
        if number >= SETTLING:
            step.add(interval)
    return step


def demo(scenario, options):
    table.say("==> a Kubernetes of two nodes: etcd, API server, controllers, scheduler, kubelets, containerd")
    scenario.start()
    table.say(f"    look inside from another terminal: sudo tests/kubernetes/cluster --name {scenario.cluster.name} run kubectl get pods -A -o wide")
    said("product-service v1 on n2, v2 on n1, a client on n1", "kubectl apply -f shop.yaml", scenario.deploy())
    said("Weft, under running traffic", "helm install weft helm/weft -n weft-system --wait", scenario.install())
    scenario.kubectl("-n", SHOP, "apply", "-f", "-", stdin=canary(WEIGHTS[0][1]))
    said("the namespace joins the mesh", "kubectl label namespace shop weft.dev/mesh=enabled", scenario.enrol())
    argv = ["kubectl", "-n", SHOP, "exec", "client", "--", "weft-bench-load", SERVICE, "-c", "8", "--rate",
            str(options.rate), "-d", "600", "--interval", "1", "--version-header", "x-version"]
    with subprocess.Popen(scenario.cluster.command(argv), stdout=subprocess.PIPE, text=True) as load:
        try:
            steps = [run_step(scenario, load, title, percent, 2 if options.fast else 5) for title, percent in WEIGHTS]
        finally:
            load.kill()
    table.summary(steps)
    table.say("")
    said("and out again, under running traffic", "helm uninstall weft -n weft-system --wait", scenario.uninstall())
    return all(step.ok for step in steps)


def main():
    parser = argparse.ArgumentParser(prog="tools/dev demo --kubernetes", description="A canary on a Kubernetes of two nodes, made for it.")
    parser.add_argument("--fast", action="store_true", help="short steps")
    parser.add_argument("--rate", type=float, default=1000, help="requests per second")
    parser.add_argument("--bin-dir", default=ROOT + "/build/release/bin")
    options = parser.parse_args([argument for argument in sys.argv[1:] if argument])
    if os.geteuid() != 0:
        print("tools/dev demo --kubernetes: root is needed for namespaces and BPF; run: sudo tools/dev demo --kubernetes", file=sys.stderr)
        return 77
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, on_signal)
    scenario = Scenario("weft-k8s-demo", options.bin_dir)
    started, code = time.monotonic(), 1
    try:
        code = 0 if demo(scenario, options) else 1
    except Interrupted as interrupted:
        code = 128 + interrupted.args[0]
        table.say("\n==> interrupted")
    except (Failed, ClusterError, subprocess.SubprocessError, OSError, ValueError) as failed:
        table.say(f"\ndemo failed: {failed}")
    finally:
        # From here on a second Ctrl-C would leave things behind: it waits.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        scenario.cluster.down()
    table.say(f"==> the machine is as it was before, after {time.monotonic() - started:.0f} s" if code == 0 else f"==> done, exit code {code}")
    return code


if __name__ == "__main__":
    sys.exit(main())
