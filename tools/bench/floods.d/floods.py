#!/usr/bin/env python3
"""Attackers of one pod on the node proxy while a client of another pod works at a steady rate; see docs/benchmarks.md. For each attack:
the client's p99 against its value alone, the growth of the proxy's memory, how fast attackers are closed. Started by tools/bench/floods in
a mount namespace of its own; removes everything it made, also when interrupted."""
import argparse
import json
import os
import signal
import subprocess
import sys
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
TOOLS = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [os.path.join(TOOLS, "bench", "l7.d"), os.path.join(TOOLS, "demo")]

import arms  # noqa: E402
import bench  # noqa: E402
import measures  # noqa: E402
import priority  # noqa: E402
import slices  # noqa: E402
import weft_manifests  # noqa: E402
from attacks import ATTACKS  # noqa: E402

ATTACKER_POD = "attacker"
VICTIM_CONNECTIONS = 16
RATE = 1000
MOST_RATIO, MOST_GROWTH_MB, MOST_SECONDS = 2.0, 64, 1.0


def arguments():
    parser = argparse.ArgumentParser(prog="tools/dev bench floods", description=__doc__.split(";", maxsplit=1)[0] + ".")
    parser.add_argument("--bin-dir", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, default=30, help="of each attack (30)")
    parser.add_argument("--attackers", type=int, default=10, help="processes, one connection each at a time (10)")
    parser.add_argument("--only", metavar="A,B", help="attacks whose names contain one of these")
    parser.add_argument("--io", default="", help="auto (default), uring or epoll")
    parser.add_argument("--json", metavar="FILE", help="the figures as [{figure, value, unit, low, high, bar, met}]")
    options = parser.parse_args()
    wanted = options.only.split(",") if options.only else [""]
    options.attacks = [name for name in ATTACKS if any(part in name for part in wanted)]
    if not options.attacks:
        parser.error(f"no attack is called like '{options.only}': {', '.join(ATTACKS)}")
    # What the world of `bench l7` asks of its options.
    options.arms, options.envoy, options.left_out = [], None, {}
    return options


class Victim(arms.Weft):
    """The arm of `bench l7`, and a second pod on the same node."""

    def start(self):
        attacker = self.world.machine.add_pod(1, ATTACKER_POD, 50)
        super().start()
        with open(self.root + "/config/mesh.yaml", "a", encoding="utf-8") as f:
            f.write(weft_manifests.pod(ATTACKER_POD, attacker, 1, {"app": "attacker", "weft.dev/mesh": "enabled"}, ATTACKER_POD))


class Memory:
    """Watches the resident set of the proxy while a piece of work runs."""

    def __init__(self, pid):
        self.pid = pid
        self.before = self.most = measures.memory_kb(pid)[0]
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()

    def watch(self):
        while not self.over.wait(0.1):
            self.most = max(self.most, measures.memory_kb(self.pid)[0])

    @property
    def growth_mb(self):
        return (self.most - self.before) / 1024


def attack(world, victim, name, options):
    """What the attackers report, added up."""
    script = os.path.join(HERE, "attacker.py")
    processes = [world.machine.start([sys.executable, "-B", script, name, victim.targets["h1"], str(options.seconds)], ATTACKER_POD,
                                     victim.cgroup + "/attackers", subprocess.PIPE, cpu=arms.other_cpu())
                 for _ in range(options.attackers)]
    for process in processes:
        priority.after_all_else(process)
    return processes


def collect(world, processes):
    total = {"connections": 0, "closed": 0, "slowest_close_s": 0.0, "sent_bytes": 0, "refused": 0}
    for process in processes:
        out, _ = process.communicate(timeout=60)
        world.machine.processes.remove(process)
        for key, value in json.loads(out).items():
            total[key] = max(total[key], value) if key == "slowest_close_s" else total[key] + value
    return total


def run_one(world, victim, name, options):
    load = slices.Load(victim, VICTIM_CONNECTIONS, "/b1k")
    try:
        priority.before_all_else(load.process, priority.CLIENT)
        load.run(1, RATE)
        alone = load.run(max(2, options.seconds / 3), RATE)
        with Memory(victim.proxy.pid) as memory:
            processes = attack(world, victim, name, options)
            beside = load.run(options.seconds, RATE)
            attackers = collect(world, processes)
    finally:
        load.close()
    return {"name": name, "alone": alone["p99"], "beside": beside["p99"], "ratio": beside["p99"] / max(1, alone["p99"]),
            "failed": beside["failed"], "growth_mb": memory.growth_mb, **attackers}


def rows_of(result):
    def row(figure, value, unit, bar):
        return {"figure": f"{result['name']}: {figure}", "value": round(value, 3), "unit": unit, "low": round(value, 3),
                "high": round(value, 3), "bar": bar, "met": value <= bar}
    rows = [row("victim p99 beside / alone", result["ratio"], "", MOST_RATIO),
            row("memory growth", result["growth_mb"], "MiB", MOST_GROWTH_MB),
            row("victim requests that failed", result["failed"], "", 0)]
    if ATTACKS[result["name"]].closed:
        rows.append(row("slowest close of an attacker", result["slowest_close_s"], "s", MOST_SECONDS))
    return rows


HEADING = f"{'ATTACK':36} {'P99 ALONE':>10} {'BESIDE':>10} {'RATIO':>6} {'GROWTH':>8} {'FAILED':>7} {'CLOSED':>13} {'SLOWEST':>8} {'SENT':>9}"


def line_of(result):
    closed = f"{result['closed']}/{result['connections']}"
    slowest = f"{result['slowest_close_s']:.2f} s" if ATTACKS[result["name"]].closed else "-"
    return (f"{result['name']:36} {result['alone']:>7.0f} us {result['beside']:>7.0f} us {result['ratio']:>6.2f} "
            f"{result['growth_mb']:>4.1f} MiB {result['failed']:>7} {closed:>13} {slowest:>8} {result['sent_bytes'] / 1e6:>6.1f} MB")


def main():
    options = arguments()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, bench.on_signal)
    world = bench.World(options)
    rows = []
    try:
        world.build()
        victim = Victim(world, "weft", 10, options.io)
        world.started.append(victim)
        victim.start()
        victim.wait_served()
        priority.before_all_else(victim.upstream, priority.SERVICE)
        print(HEADING, flush=True)
        for name in options.attacks:
            result = run_one(world, victim, name, options)
            rows += rows_of(result)
            print(line_of(result), flush=True)
    except arms.Unavailable as missing:
        print(f"tools/dev bench floods: {missing}", file=sys.stderr)
        return 1
    except bench.Interrupted:
        return 130
    finally:
        world.close()
    missed = [row for row in rows if not row["met"]]
    for row in missed:
        print(f"not met: {row['figure']}: {row['value']} {row['unit']}, bar {row['bar']}")
    if options.json:
        with open(options.json, "w", encoding="utf-8") as f:
            json.dump(rows, f, indent=1)
            f.write("\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
