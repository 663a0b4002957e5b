#!/usr/bin/env python3
"""What pods of one node take from each other in the shared proxy; see docs/benchmarks.md. Started by tools/bench/fairness in a mount
namespace of its own; removes everything it made, also when interrupted."""
import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
BENCH = os.path.dirname(HERE)
sys.path[:0] = [os.path.join(BENCH, "l7.d"), os.path.join(os.path.dirname(BENCH), "demo")]

import arms  # noqa: E402
import configs  # noqa: E402
import environment  # noqa: E402
import figures  # noqa: E402
import machine  # noqa: E402
import pairing  # noqa: E402
import priority  # noqa: E402
import slices  # noqa: E402
from figures import Figure  # noqa: E402

import closing  # noqa: E402
import pods  # noqa: E402

NICE = -15
SMALL_CONNECTIONS, MANY_CONNECTIONS = 50, 64
# How long a bulk flow runs before and after the slice that is measured beside it.
LEAD_SECONDS = 0.15


class Interrupted(Exception):
    """A signal asked us to end."""


def on_signal(number, _frame):
    raise Interrupted(number)


def say(text):
    print(text, flush=True)


def arguments():
    parser = argparse.ArgumentParser(prog="tools/dev bench fairness", description=__doc__.split(";")[0] + ".")
    parser.add_argument("--bin-dir", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--json", metavar="FILE", help="the figures as [{figure, value, unit, low, high, bar, met}]")
    parser.add_argument("--quick", action="store_true", help="half a minute for each backend, wide intervals")
    parser.add_argument("--io", metavar="A,B", default="epoll,uring", help="backends of the proxy")
    return parser.parse_args()


class World:
    """The machine's corner, the upstreams and a node for each backend."""

    def __init__(self, options):
        self.options = options
        self.machine = machine.Machine("weft-fair-", nice=NICE)
        self.upstream = self.loud_upstream = None
        self.upstream_address = self.loud_address = ""
        self.nodes = []
        self.direct = None

    def binary(self, name):
        return os.path.join(self.options.bin_dir, name)

    @staticmethod
    def pause(seconds):
        """Until a node may have changed; nothing tells when."""
        signal.sigtimedwait([], seconds)

    def client_output(self, client, argv):
        """What a short-lived client in the pod prints."""
        process = self.machine.start(argv, client.netns, client.cgroup + "/client", subprocess.PIPE, cpu=arms.other_cpu())
        try:
            out, _ = process.communicate(timeout=60)
            return out
        finally:
            self.machine.processes.remove(process)

    def start_upstream(self, netns, host, nice=None):
        address = self.machine.add_pod(1, netns, host)
        root = f"{self.machine.folder}/{netns}"
        os.mkdir(root, 0o755)
        with open(root + "/nginx.conf", "w", encoding="ascii") as f:
            f.write(configs.upstream(root))
        return address, self.machine.start(["nginx", "-e", "stderr", "-p", root, "-c", root + "/nginx.conf"], netns,
                                           log=root + ".log", cpu=arms.other_cpu(), nice=nice)

    def build(self):
        self.machine.open()
        self.machine.add_node(1)
        self.upstream_address, self.upstream = self.start_upstream("upstream", 98)
        self.loud_address, self.loud_upstream = self.start_upstream("upstream-loud", 99, pods.LOUD_NICE)
        self.machine.start([sys.executable, "-B", HERE + "/closing.py", "serve", self.upstream_address, str(pods.CLOSING_TARGET_PORT)],
                           "upstream", log=f"{self.machine.folder}/closing.log", cpu=arms.other_cpu())
        self.direct = pods.Direct(self, 30)
        for i, io in enumerate(self.options.io.split(",")):
            node = pods.Node(self, f"weft-{io}", 10 + i, io)
            self.nodes.append(node)
            node.start()
            node.wait_served()
            say(f"==> {node.name} serves both pods")

    def close(self):
        for node in self.nodes:
            node.close()
        self.machine.close()


class Plan:
    def __init__(self, quick):
        self.rounds = 4 if quick else 12
        self.seconds = 0.5 if quick else 1.0
        self.endings = 50 if quick else 400


class Bulk:
    """What the loud pod does meanwhile, as fast as it goes."""

    def __init__(self, client, connections, path, protocol="h1", more=()):
        self.load = slices.Load(client, connections, path, protocol, more, nice=pods.LOUD_NICE)

    def beside(self, run, seconds):
        self.load.begin(seconds + 2 * LEAD_SECONDS)
        World.pause(LEAD_SECONDS)
        measured = run()
        return measured, self.load.finish()


def alone_and_beside(quiet, bulk, plan, rate):
    """[(figures alone, figures beside, the bulk's figures)] of each round, in an order drawn anew."""
    rounds, order = [], random.Random()
    for _ in range(plan.rounds):
        got = {}
        for what in order.sample(("alone", "beside"), 2):
            if what == "alone":
                got[what] = quiet.run(plan.seconds, rate)
            else:
                got[what], got["bulk"] = bulk.beside(lambda: quiet.run(plan.seconds, rate), plan.seconds)
        rounds.append((got["alone"], got["beside"], got["bulk"]))
    return rounds


# What the loud pod may do beside small requests: name, connections, path, protocol, more options, bytes of a request.
LOUD = (("1 MB answers", 1, "/b1m", "h1", (), 0),
        ("1 MB requests", 1, "/b0", "h1", ("--method", "POST", "--body-bytes", str(1 << 20)), 1 << 20),
        ("a TCP stream", 1, "/b1m", "tcp", (), 0),
        ("8 TCP streams", 8, "/b1m", "tcp", (), 0))


def small_beside_bulk(node, plan):
    rows, notes = [], []
    quiet = slices.Load(node, SMALL_CONNECTIONS, "/b1k")
    try:
        quiet.run(0.3)
        with priority.first(quiet.process, node.upstream):
            rate = int(round(quiet.run(plan.seconds)["rps"] / 2, -2))
        for name, connections, path, protocol, more, sent in LOUD:
            bulk = Bulk(node.loud, connections, path, protocol, more)
            try:
                for pace, each in (("half load", rate), ("full load", 0)):
                    with priority.first(quiet.process, node.upstream) if each else contextlib.nullcontext():
                        rounds = alone_and_beside(quiet, bulk, plan, each)
                    rows.append(ratio_row(f"p99 of {SMALL_CONNECTIONS} small flows beside {name} / alone, {pace}: {node.name}", rounds,
                                          lambda f: f["p99"], 2 if node.proxy else None))
                    notes.append(note_of(node, name, pace, rounds, sent))
            finally:
                bulk.load.close()
    finally:
        quiet.close()
    return rows, notes


def ratio_row(title, rounds, pick, bar, at_most=True):
    samples = pairing.ratios([pick(beside) for _, beside, _ in rounds], [pick(alone) for alone, _, _ in rounds])
    return Figure(title, pairing.Interval(samples), "", bar, at_most)


def note_of(node, name, pace, rounds, sent):
    def median(values):
        return pairing.Interval(list(values)).value
    moved = median((bulk["body_bytes"] + sent * bulk["requests"]) / bulk["seconds"] / 1e6 for _, _, bulk in rounds)
    return (f"{node.name}, {name}, {pace}: p99 {median(a['p99'] for a, _, _ in rounds):.0f} -> {median(b['p99'] for _, b, _ in rounds):.0f} us, "
            f"p50 {median(a['p50'] for a, _, _ in rounds):.0f} -> {median(b['p50'] for _, b, _ in rounds):.0f} us, "
            f"{median(a['rps'] for a, _, _ in rounds):.0f} -> {median(b['rps'] for _, b, _ in rounds):.0f} requests/s, bulk {moved:.0f} MB/s")


def one_beside_many(node, plan):
    """A pod with one connection beside a pod with many, both as fast as they get answers."""
    quiet = slices.Load(node, 1, "/b1k")
    bulk = Bulk(node.loud, MANY_CONNECTIONS, "/b1k")
    try:
        quiet.run(0.3)
        with priority.first(quiet.process, node.upstream):
            rounds = alone_and_beside(quiet, bulk, plan, 0)
    finally:
        quiet.close()
        bulk.load.close()
    share = [beside["rps"] / (beside["rps"] + many["rps"]) for _, beside, many in rounds]
    return [ratio_row(f"requests/s of 1 connection beside {MANY_CONNECTIONS} of another pod / alone: {node.name}", rounds, lambda f: f["rps"],
                      0.5 if node.proxy else None, at_most=False),
            Figure(f"its share of all requests (1/{MANY_CONNECTIONS + 1} is {1 / (MANY_CONNECTIONS + 1):.3f}): {node.name}",
                   pairing.Interval(share))], [note_of(node, "64 connections", "full load", rounds, 0)]


def endings(node, plan):
    """How long after one side's FIN or RST the other side has it."""
    target = [str(part) for part in node.closing]
    log = f"{node.world.machine.folder}/closing.log"
    with open(log, encoding="ascii") as f:
        f.seek(0, os.SEEK_END)
        out = node.world.client_output(node, [sys.executable, "-B", HERE + "/closing.py", "dial", *target, str(plan.endings)])
        seen = [line.split() for line in (out + f.read()).splitlines()]
    rows = []
    for end in closing.ENDS:
        kind = end.split("-")[1]
        caused = [int(at) for name, at in seen if name == end]
        noticed = [int(at) for name, at in seen if name == f"{end}-seen-as-{kind}"]
        if len(caused) != plan.endings or len(noticed) != plan.endings:
            raise RuntimeError(f"{node.name}: {len(noticed)} of {plan.endings} ends '{end}' were seen as they were: {out[-300:]}")
        delays = sorted((b - a) / 1e6 for a, b in zip(caused, noticed))
        p99 = delays[len(delays) * 99 // 100]
        rows.append(Figure(f"{end.replace('-', ' ').upper()} to the other side, p99: {node.name}", pairing.Interval([p99]), "ms",
                           5 if node.proxy else None))
    return rows


def measure(world, plan):
    rows, notes = [], []
    for node in [world.direct, *world.nodes]:
        say(f"==> {node.name}: small flows beside bulk")
        for more_rows, more_notes in (small_beside_bulk(node, plan), one_beside_many(node, plan), (endings(node, plan), [])):
            rows += more_rows
            notes += more_notes
    return rows, notes


def run(options):
    world = World(options)
    code = 1
    try:
        say("    " + environment.one_line(environment.facts(world.binary("weft-bench-load"))))
        world.build()
        rows, notes = measure(world, Plan(options.quick))
        say("\n" + "\n".join(notes) + "\n\n" + figures.table(rows))
        if options.json:
            figures.write_json(rows, options.json)
        code = 0 if all(row.met is not False for row in rows) else 2
    except Interrupted as interrupted:
        code = 128 + interrupted.args[0]
        say("\n==> interrupted")
    except (arms.Unavailable, RuntimeError, OSError, subprocess.SubprocessError) as failed:
        say(f"\ntools/dev bench fairness: {failed}")
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
    return run(options)


if __name__ == "__main__":
    sys.exit(main())
