"""What is measured, section by section; see docs/benchmarks.md. Each returns plain numbers per arm and round; figures.py makes rows
of them. Used by bench.py."""
import re
import signal
import subprocess

import arms
import configs
import pairing
import slices
import tls_clients

# Of the slowest proxy's capacity: at saturation latency says only how deep the queue is, and CPU how well it batches.
OFFERED_SHARE = 0.5
OPENING_RATE = 5000


class Plan:
    """How long and how often; --quick is for trying, its intervals are wide."""

    def __init__(self, quick, possible):
        self.rounds = 3 if quick else 12
        self.few_rounds = 2 if quick else 8
        self.seconds = 0.3 if quick else 0.8
        self.idle_connections = min(4000, possible)
        self.idle_tls_connections = min(400 if quick else 1000, possible)
        self.many_connections = min(2000 if quick else 10000, possible)


def with_loads(chosen, make, work):
    """Runs `work` with a load per arm; all are closed whatever happens."""
    loads = {}
    try:
        for arm in chosen:
            loads[arm.name] = make(arm)
        return work(loads)
    finally:
        for load in loads.values():
            load.close()


def warm(loads, rate=0):
    for load in loads.values():
        load.run(0.2, rate)


def closed_loop(chosen, plan, rounds, connections, path):
    """As fast as answers come."""
    def work(loads):
        warm(loads)
        return pairing.in_turns(loads, rounds, lambda load: load.run(plan.seconds))
    return with_loads(chosen, lambda arm: slices.Load(arm, connections, path), work)


def offered(chosen, plan, rounds, connections, path, rate):
    """At one rate for all arms; latency counts from when a request was due."""
    def work(loads):
        warm(loads, rate)
        return pairing.in_turns(loads, rounds, lambda load: load.run(plan.seconds, rate))
    return with_loads(chosen, lambda arm: slices.Load(arm, connections, path), work)


def offered_rate(saturated):
    """From the closed loop at 64 connections; the direct arm is no proxy."""
    slowest = min(pairing.Interval(pairing.series(rounds, lambda f: f["rps"])).value
                  for name, rounds in saturated.items() if name != "direct")
    return max(500, int(round(OFFERED_SHARE * slowest, -2)))


def http2(chosen, plan, protocol, grpc_body=None):
    speaking = [arm for arm in chosen if arm.speaks(protocol)]
    path = configs.GRPC_PATH if grpc_body else "/b1k"

    def work(loads):
        for load in loads.values():
            load.run(0.2)
        return pairing.in_turns(loads, plan.few_rounds, lambda load: load.run(plan.seconds))
    return with_loads(speaking, lambda arm: slices.H2Load(arm, protocol, path, grpc_body), work)


STRACE_ROW = re.compile(r"^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?(\w+)$")


def system_calls(chosen, plan, connections, path="/b1k"):
    """{arm: {system call: per request}}: strace slows a process five times, so it has a slice of its own and only counts."""
    counted = {}
    for arm in chosen:
        if not arm.proxy:
            continue
        load = slices.Load(arm, connections, path)
        try:
            load.run(0.3)
            counted[arm.name] = trace(arm, load, max(1.0, plan.seconds))
        finally:
            load.close()
    return counted


def count_calls(arm, work):
    """{system call: count} of the proxy while `work` runs, and what that returns."""
    report = f"{arm.root}.strace"
    tracer = arm.world.machine.start(["strace", "-c", "-f", "-o", report, "-p", str(arm.proxy.pid)], cgroup="strace",
                                     stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        if "attached" not in tracer.stdout.readline():
            raise arms.Unavailable(f"strace cannot attach to {arm.name}")
        result = work()
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.wait(20)
        tracer.stdout.close()
        arm.world.machine.processes.remove(tracer)
    with open(report, encoding="utf-8") as f:
        rows = [STRACE_ROW.match(line) for line in f]
    return {row.group(2): int(row.group(1)) for row in rows if row and row.group(2) != "total"}, result


def trace(arm, load, seconds):
    """Per request, beyond what the idle proxy calls in the same time."""
    idle, _ = count_calls(arm, lambda: arm.world.pause(seconds))
    busy, figures = count_calls(arm, lambda: load.run(seconds))
    return {call: max(0, count - idle.get(call, 0)) / figures["requests"] for call, count in busy.items()}


def memory_kb(pid):
    """Resident and anonymous memory (/proc/PID/smaps_rollup)."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
        fields = {line.split(":")[0]: int(line.split()[1]) for line in f if line.split(":")[0] in ("Rss", "Anonymous")}
    return fields["Rss"], fields["Anonymous"]


def open_all(load, connections):
    """Every connection has made a request; few at a time, so that the connections to the upstream stay few."""
    opened = 0
    for _ in range(60):
        opened += load.run(0.5, OPENING_RATE)["connections"]
        if opened >= connections:
            return
    raise arms.Unavailable(f"{load.arm.name}: {opened} of {connections} connections were opened")


def idle_memory(chosen, plan):
    """{arm: anonymous KB per idle client connection}, beyond what a warm proxy has."""
    cost = {}
    for arm in chosen:
        if not arm.proxy:
            continue
        warm_load = slices.Load(arm, 64, "/b1k")
        load = slices.Load(arm, plan.idle_connections, "/b1k")
        try:
            warm_load.run(0.5)
            before = memory_kb(arm.proxy.pid)[1]
            open_all(load, plan.idle_connections)
            cost[arm.name] = (memory_kb(arm.proxy.pid)[1] - before) / plan.idle_connections
        finally:
            warm_load.close()
            load.close()
    return cost


def idle_tls_memory(chosen, plan):
    """{arm: anonymous KB per idle client connection with TLS}, beyond what a warm gateway has."""
    return tls_clients.idle_memory(chosen, plan.idle_tls_connections, lambda pid: memory_kb(pid)[1])


def many_connections(chosen, plan, rate):
    """{arm: [(CPU with 100 connections, with many) of each round]}, at one rate."""
    def one(arm):
        few, many = slices.Load(arm, 100, "/b1k"), slices.Load(arm, plan.many_connections, "/b1k")
        try:
            few.run(0.3, rate)
            open_all(many, plan.many_connections)
            pairs = pairing.in_turns({"few": few, "many": many}, plan.few_rounds, lambda load: load.run(plan.seconds, rate))
            return [(a["cpu"]["proxy"], b["cpu"]["proxy"]) for a, b in zip(pairs["few"], pairs["many"])]
        finally:
            few.close()
            many.close()
    return {arm.name: one(arm) for arm in chosen if arm.proxy}
