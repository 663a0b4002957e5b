#!/usr/bin/env python3
"""Mixed traffic through a node, for minutes or hours: nothing may fail that must not, nothing may leak. Prints what was done, how
descriptors and memory grew after the warm-up, and a verdict; exit code 0 when all is well. Started by tests/soak/run in a mount
namespace of its own; removes everything it made, also when interrupted."""
import argparse
import json
import os
import re
import signal
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOOLS = os.path.join(os.path.dirname(os.path.dirname(HERE)), "tools")
sys.path[:0] = [os.path.join(TOOLS, "bench/l7.d"), os.path.join(TOOLS, "demo")]

import arms  # noqa: E402
import configs  # noqa: E402
import machine  # noqa: E402

import node as nodes  # noqa: E402
import slopes  # noqa: E402

# Other work goes first: the soak looks for leaks, not for speed.
NICE = 5
CHANGE_SECONDS, RESTART_SECONDS, SAMPLE_SECONDS = 2.0, 7.0, 0.5
SANITIZER_MARKS = ("ERROR: AddressSanitizer", "ERROR: LeakSanitizer", "runtime error: ", "WARNING: ThreadSanitizer")
# Connections that are over are known to be at both ends, idle ones to endpoints go with their pod.
QUIET_SECONDS = 30
# Shorter runs look for errors and for what is left open, not for slopes.
JUDGED_SECONDS = 600


class Interrupted(Exception):
    """A signal asked us to end."""


def on_signal(number, _frame):
    raise Interrupted(number)


def say(text):
    print(text, flush=True)


class Corner(machine.Machine):
    """Processes are not bound to CPUs: others work here too."""

    def start(self, *args, cpu=None, **kwargs):
        del cpu
        return super().start(*args, **kwargs)


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def resident_kib(pid):
    with open(f"/proc/{pid}/statm", encoding="ascii") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024


class Watched:
    """A process whose descriptors and memory are looked at. `connections`: how many of its descriptors are those of connections."""

    def __init__(self, name, pid, connections):
        self.name, self.pid, self.connections = name, pid, connections
        self.descriptors, self.others, self.memory = [], [], []

    def sample(self, at):
        # What comes and goes in between evens out.
        known, held = self.connections(), descriptors(self.pid)
        self.descriptors.append((at, held))
        self.others.append((at, held - known))
        self.memory.append((at, resident_kib(self.pid)))


class World:
    """The machine's corner with the upstreams, and a node for each build."""

    def __init__(self, options):
        self.options = options
        self.machine = Corner("weft-soak-", nice=NICE)
        self.web, self.web_addresses = {}, {}
        self.peer_address = ""
        self.nodes = []

    def build(self):
        self.machine.open()
        self.machine.add_node(1)
        for i, name in enumerate(("web-a", "web-b")):
            self.web_addresses[name] = self.machine.add_pod(1, name, 90 + i)
            root = f"{self.machine.folder}/{name}"
            os.mkdir(root, 0o755)
            with open(root + "/nginx.conf", "w", encoding="ascii") as f:
                f.write(configs.upstream(root))
            self.start_web(name)
        self.peer_address = self.machine.add_pod(1, "peer", 95)
        self.machine.start([sys.executable, "-B", HERE + "/peer.py", self.peer_address, str(nodes.PEER_ECHO_TARGET),
                            str(nodes.PEER_HTTP_TARGET)], "peer", log=self.machine.folder + "/peer.log")
        builds = {"release": self.options.bin_dir, "asan": self.options.asan_bin_dir}
        for i, (name, bin_dir) in enumerate(builds.items()):
            if bin_dir:
                self.nodes.append(nodes.Node(self, f"weft-{name}", 10 + 10 * i, bin_dir))
        for each in self.nodes:
            each.start()
            each.wait_served()
            say(f"==> {each.name} serves")

    def start_web(self, name):
        root = f"{self.machine.folder}/{name}"
        self.web[name] = self.machine.start(["nginx", "-e", "stderr", "-p", root, "-c", root + "/nginx.conf"], name, log=root + ".log")

    def restart_web(self, name):
        """As a deployment does it: what is under way is finished first."""
        process = self.web[name]
        process.send_signal(signal.SIGQUIT)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"{name} does not finish what is under way") from None
        self.machine.processes.remove(process)
        self.start_web(name)
        # Never both away at the same time.
        log = f"{self.machine.folder}/{name}.listens"
        for _ in range(100):
            probe = self.machine.start(["curl", "-s", "-o", log, "--max-time", "5",
                                        f"http://{self.web_addresses[name]}:{configs.UPSTREAM_H1_PORT}/b0"], name)
            self.machine.processes.remove(probe)
            if probe.wait(10) == 0:
                return
            self.pause(0.1)
        raise RuntimeError(f"{name} does not listen again")

    def client_output(self, arm, argv):
        process = self.machine.start(argv, arm.netns, arm.cgroup + "/client", subprocess.PIPE)
        try:
            return process.communicate(timeout=60)[0]
        finally:
            self.machine.processes.remove(process)

    @staticmethod
    def pause(seconds):
        """Until something may have changed of which nothing else tells."""
        signal.sigtimedwait([], seconds)

    def close(self):
        for each in self.nodes:
            each.close()
        self.machine.close()


def load(node, *more):
    return [node.world.binary("weft-bench-load"), *more, "--interval", "0", "--timeout", "30"]


def h2load(seconds, rate, url, *more):
    return ["h2load", "-c", "4", "-m", "8", f"--rps={rate}", "-D", str(int(seconds)), "--warm-up-time", "0", *more, url]


def clients(node, seconds):
    """Name -> (argv, pod): everything that goes on at the same time."""
    web, grpc = f"{arms.weft_manifests.SERVICE_IP}:{nodes.HTTP_PORT}", f"{arms.weft_manifests.SERVICE_IP}:{nodes.GRPC_PORT}"
    body = f"{node.world.machine.folder}/web-a/grpc"
    argv = {
        "keep-alive": (load(node, web, "-c", "16", "--rate", "300", "-d", str(seconds), "--path", "/b1k"), node.netns),
        "short connections": (load(node, web, "-c", "8", "--rate", "40", "-d", str(seconds), "--new-connections", "--path", "/b1k"),
                              node.second),
        "large answers": (load(node, web, "-c", "4", "--rate", "10", "-d", str(seconds), "--path", "/b1m"), node.second),
        "HTTP/2": (h2load(seconds, 20, f"http://{web}/b1k"), node.netns),
        "gRPC": (h2load(seconds, 20, f"http://{grpc}{configs.GRPC_PATH}", "-d", body, "-H", "content-type: application/grpc",
                        "-H", "te: trailers"), node.second),
    }
    for pod in (node.netns, node.second):
        argv[f"odd clients of {pod}"] = ([sys.executable, "-B", HERE + "/traffic.py", f"{nodes.PEER_IP}:{nodes.PEER_HTTP_PORT}",
                                          f"{nodes.PEER_IP}:{nodes.TCP_PORT}", str(seconds)], pod)
    return argv


H2LOAD = re.compile(r"requests: (\d+) total, (\d+) started, (\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout")


def result_of(name, out):
    """(what was done, problems) of a client's output."""
    if name.startswith("odd"):
        counts = json.loads(out.splitlines()[-1])
        return (", ".join(f"{kind} {row['done']}" for kind, row in counts.items()),
                [f"{kind}: {row['wrong']} wrong, the first: {row['first']}" for kind, row in counts.items() if row["wrong"]]
                + [f"{kind}: never done" for kind, row in counts.items() if not row["done"]])
    if name in ("HTTP/2", "gRPC"):
        found = H2LOAD.search(out)
        if not found:
            return "", [f"h2load said: {out[-300:]}"]
        succeeded, failed, errored, timeout = (int(found.group(i)) for i in (4, 5, 6, 7))
        lost = failed + errored + timeout
        return f"{succeeded} requests", ([f"{lost} requests lost"] if lost else []) + ([] if succeeded else ["no request succeeded"])
    figures = json.loads(out.splitlines()[-1])
    failures = {kind: count for kind, count in figures["failures"].items() if count}
    return f"{figures['requests']} requests", ([f"failures: {failures}"] if failures else []) + ([] if figures["requests"] else ["nothing done"])


class Run:
    """Traffic, changes, restarts and samples until the time is over."""

    def __init__(self, world, seconds):
        self.world, self.seconds = world, seconds
        self.watched = [Watched(f"{each.name} {what}", process.pid, connections) for each in world.nodes
                        for what, process, connections in (("proxy", each.proxy, each.connections), ("agent", each.agent, lambda: 0))]
        self.before = {each.name: descriptors(each.proxy.pid) for each in world.nodes}
        self.running = []
        self.problems = []
        self.changes = self.restarts = 0

    def start(self):
        for each in self.world.nodes:
            for name, (argv, pod) in clients(each, self.seconds).items():
                process = self.world.machine.start(argv, pod, f"{each.cgroup}/{pod}", subprocess.PIPE)
                self.running.append((f"{each.name}: {name}", name, process))

    def go_on(self):
        start = time.monotonic()
        next_change, next_restart = CHANGE_SECONDS, RESTART_SECONDS
        while (now := time.monotonic() - start) < self.seconds:
            for watched in self.watched:
                watched.sample(now)
            if now >= next_change:
                for each in self.world.nodes:
                    each.change()
                self.changes += 1
                next_change += CHANGE_SECONDS
            if now >= next_restart:
                # In turns: by chance one would at times serve long, and what is open would wander.
                self.world.restart_web(list(self.world.web)[self.restarts % len(self.world.web)])
                self.restarts += 1
                next_restart += RESTART_SECONDS
            for each in self.world.nodes:
                if each.proxy.poll() is not None or each.agent.poll() is not None:
                    raise RuntimeError(f"{each.name}: proxy {each.proxy.poll()}, agent {each.agent.poll()}: {each.log()}")
            World.pause(SAMPLE_SECONDS)

    def collect(self):
        for label, name, process in self.running:
            try:
                out, _ = process.communicate(timeout=120)
                self.world.machine.processes.remove(process)
                done, problems = result_of(name, out)
            except subprocess.TimeoutExpired:
                done, problems = "", ["does not end"]
            except (ValueError, IndexError, KeyError):
                done, problems = "", [f"said nothing of use: {out[-300:]!r}"]
            say(f"    {label}: {done}")
            self.problems += [f"{label}: {problem}" for problem in problems]

    def quiet_down(self):
        """With the pods go their listeners and connections: no more descriptors are open than before the traffic."""
        for each in self.world.nodes:
            each.leave()
        for each in self.world.nodes:
            left = 0
            for _ in range(QUIET_SECONDS * 4):
                left = descriptors(each.proxy.pid)
                if left <= self.before[each.name]:
                    break
                World.pause(0.25)
            say(f"    {each.name}: {self.before[each.name]} descriptors before the traffic, {left} when its pods had left")
            if left > self.before[each.name]:
                self.problems.append(f"{each.name}: {left - self.before[each.name]} descriptors are left")

    def judge_growth(self, warm_up):
        say(f"{'PROCESS':<24} {'FDS':>6} {'FDS/H':>8} {'NO CONNS/H':>10} {'RSS MIB':>9} {'KIB/H':>9}  after {warm_up:.0f} s of warm-up")
        for watched in self.watched:
            per_hour, gained, seconds = slopes.growth(watched.descriptors, warm_up)
            others_per_hour, others, _ = slopes.growth(watched.others, warm_up)
            kib_per_hour, kib, _ = slopes.growth(watched.memory, warm_up)
            say(f"{watched.name:<24} {watched.descriptors[-1][1]:>6} {per_hour:>8.1f} {others_per_hour:>10.1f} "
                f"{watched.memory[-1][1] / 1024:>9.1f} {kib_per_hour:>9.0f}")
            # Before idle connections begin to time out, all that there is still grows.
            if self.seconds < JUDGED_SECONDS:
                continue
            if slopes.descriptors_leak(others):
                self.problems.append(f"{watched.name}: {others:.1f} descriptors gained in {seconds:.0f} s that are of no connection")
            if slopes.connections_leak(gained):
                self.problems.append(f"{watched.name}: {gained:.1f} descriptors gained in {seconds:.0f} s")
            # A sanitizer keeps what is freed; it finds leaks by itself.
            if "asan" not in watched.name and slopes.memory_leaks(kib, seconds):
                self.problems.append(f"{watched.name}: {kib:.0f} KiB gained in {seconds:.0f} s")

    def stop(self):
        """Sanitizers speak at the end."""
        for each in self.world.nodes:
            for what, process, patience in (("proxy", each.proxy, 60), ("agent", each.agent, 60)):
                code = machine.stop(process, patience)
                if code != 0:
                    self.problems.append(f"{each.name}: the {what} ended with code {code}")
            for path in (each.root + ".log", each.root + ".agent.log"):
                with open(path, encoding="utf-8", errors="replace") as f:
                    text = f.read()
                self.problems += [f"{path}: {text[text.index(mark):][:3000]}" for mark in SANITIZER_MARKS if mark in text]


def arguments():
    parser = argparse.ArgumentParser(prog="tools/dev soak", description=__doc__.split(":")[0] + ".")
    parser.add_argument("--bin-dir", help=argparse.SUPPRESS)
    parser.add_argument("--asan-bin-dir", help=argparse.SUPPRESS)
    parser.add_argument("--minutes", type=float, default=30, help="how long (30)")
    parser.add_argument("--json", metavar="FILE", help="the samples and the problems")
    options = parser.parse_args()
    if not options.bin_dir and not options.asan_bin_dir:
        parser.error("--bin-dir or --asan-bin-dir is needed")
    return options


def write_json(run, path):
    with open(path, "w", encoding="utf-8") as f:
        json.dump({"problems": run.problems, "changes": run.changes, "restarts": run.restarts,
                   "samples": {w.name: {"descriptors": w.descriptors, "of no connection": w.others, "resident_kib": w.memory} for w in run.watched}}, f)


def soak(options):
    seconds = options.minutes * 60
    world = World(options)
    code = 1
    try:
        world.build()
        run = Run(world, seconds)
        say(f"==> {seconds:.0f} s of traffic, a change of configuration every {CHANGE_SECONDS:.0f} s, a restart of an upstream every "
            f"{RESTART_SECONDS:.0f} s")
        run.start()
        run.go_on()
        run.collect()
        run.quiet_down()
        run.judge_growth(min(300, seconds / 3))
        run.stop()
        if options.json:
            write_json(run, options.json)
        for problem in run.problems:
            say(f"*** {problem}")
        say(f"{'FAILED' if run.problems else 'ok'}: {run.changes} changes, {run.restarts} restarts, {seconds:.0f} s")
        code = 1 if run.problems else 0
    except Interrupted as interrupted:
        code = 128 + interrupted.args[0]
        say("\n==> interrupted")
    except (arms.Unavailable, RuntimeError, OSError, subprocess.SubprocessError) as failed:
        say(f"\ntools/dev soak: {failed}")
    finally:
        # From here on a second Ctrl-C would leave things behind: it waits.
        for number in machine.END_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        world.close()
    return code


def main():
    options = arguments()
    for number in machine.END_SIGNALS:
        signal.signal(number, on_signal)
    return soak(options)


if __name__ == "__main__":
    sys.exit(main())
