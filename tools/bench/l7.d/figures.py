"""From numbers to figures: ratios against the better rival with intervals, each beside its bar. Rows are what the table, the JSON and
the page show. Pure. Used by bench.py."""
import json

import pairing


class Figure:
    """One row. `bar` None: shown for orientation. `limit_high`: the interval must end below it too. `best`: the ratio of the best
    slices, which must agree with the median of ratios."""

    def __init__(self, name, interval, unit="", bar=None, at_most=True, limit_high=None, best=None):
        self.best = best
        self.name = name
        self.interval = interval
        self.unit = unit
        self.bar = bar
        self.at_most = at_most
        self.limit_high = limit_high

    @property
    def met(self):
        if self.bar is None:
            return None
        said = [self.interval.value] + ([] if self.best is None else [self.best])
        good = max(said) <= self.bar if self.at_most else min(said) >= self.bar
        return good and (self.limit_high is None or self.interval.high < self.limit_high)

    def row(self):
        return {"figure": self.name, "value": round(self.interval.value, 4), "unit": self.unit,
                "low": round(self.interval.low, 4), "high": round(self.interval.high, 4), "bar": self.bar, "met": self.met,
                "best": self.best and round(self.best, 4)}


RIVALS = ("haproxy", "nginx")


def ours_of(results):
    return [name for name in results if name.startswith("weft")]


def rivals_of(results):
    return {name: results[name] for name in RIVALS if name in results}


def proxy_cpu(figures):
    return figures["cpu"]["proxy"]


def against_rival(results, title, pick, bar, at_most=True, limit_high=None, smallest=True):
    """A row per arm of ours: the median of per-round ratios to the better rival."""
    rival = pairing.better(rivals_of(results), pick, smallest)
    if rival is None:
        return []
    rows = []
    for name in ours_of(results):
        ours, theirs = pairing.series(results[name], pick), pairing.series(results[rival], pick)
        samples = pairing.ratios(ours, theirs)
        choose = min if smallest else max
        if samples and choose(theirs) > 0:
            rows.append(Figure(f"{title}: {name} / {rival}", pairing.Interval(samples), "", bar, at_most, limit_high,
                               choose(ours) / choose(theirs)))
    return rows


def latency_rows(results):
    """What a proxy adds to the direct path, ours over the better rival's."""
    rivals = rivals_of(results)
    if "direct" not in results or not rivals:
        return []
    rows = []
    direct = pairing.series(results["direct"], lambda f: f["p50"])
    added = {name: [p50 - base for p50, base in zip(pairing.series(results[name], lambda f: f["p50"]), direct)]
             for name in results if name != "direct"}
    rival = min(rivals, key=lambda name: pairing.Interval(added[name]).value)
    for name in ours_of(results):
        samples = pairing.ratios(added[name], added[rival])
        if samples:
            rows.append(Figure(f"added p50 at 1 connection: {name} / {rival}", pairing.Interval(samples), "", 0.75,
                               best=min(added[name]) / max(1, min(added[rival]))))
    return rows


def single_rows(title, values, unit, bar):
    return [Figure(f"{title}: {name}", pairing.Interval([values[name]]), unit, bar) for name in ours_of(values)]


def rows_of(measured):
    """Every figure of issue and page, in order; what was not measured has no row."""
    rows = []
    for key, title in (("offered_64", "CPU per request at 64 connections, 1 KB, half load"),
                       ("closed_64", "CPU per request at 64 connections, 1 KB, full load")):
        rows += against_rival(measured.get(key, {}), title, proxy_cpu, 0.65, limit_high=0.75)
    for key, title in (("processes", "CPU of client, proxy and upstream"), ("machine", "CPU of the whole machine")):
        rows += against_rival(measured.get("offered_64", {}), f"{title} per request, half load", lambda f, k=key: f["cpu"][k], None)
    rows += against_rival(measured.get("closed_64", {}), "requests per second at 64 connections", lambda f: f["rps"], None,
                          at_most=False, smallest=False)
    rows += latency_rows(measured.get("closed_1", {}))
    for connections in (64, 512):
        rows += against_rival(measured.get(f"offered_{connections}", {}), f"p99 at {connections} connections, half load",
                              lambda f: f["p99"], None)
    for connections, bar in ((1, 6), (64, 1.5)):
        # One decimal: what the control threads do at another moment than in the idle slice is no part of a request.
        totals = {name: round(sum(calls.values()), 1) for name, calls in measured.get(f"syscalls_{connections}", {}).items()}
        rows += single_rows(f"system calls per request at {connections} connection{'s' if connections > 1 else ''}", totals, "", bar)
    for body, results in measured.get("bodies", {}).items():
        nginx_only = {name: rounds for name, rounds in results.items() if name != "haproxy"}
        rows += against_rival(nginx_only, f"requests per second, body {body}", lambda f: f["rps"], 0.95, at_most=False,
                              smallest=False)
    for key, title in (("h2_to_h1", "HTTP/2 to HTTP/1"), ("h2_to_h2", "HTTP/2 to HTTP/2"), ("grpc", "gRPC unary")):
        rows += against_rival(measured.get(key, {}), f"{title}, requests per CPU second", lambda f: 1e6 / max(0.01, proxy_cpu(f)),
                              1.3 if key != "grpc" else None, at_most=False, smallest=False)
    rows += single_rows("anonymous memory per idle connection", measured.get("idle_kb", {}), "KB", 1)
    rows += single_rows("anonymous memory per idle connection with TLS", measured.get("idle_tls_kb", {}), "KB", 20)
    rows += single_rows("resident memory, fresh", {name: kb / 1024 for name, kb in measured["fresh_rss_kb"].items()}, "MB", 12)
    for name in ours_of(measured.get("many", {})):
        samples = [many / few for few, many in measured["many"][name] if few > 0]
        rows.append(Figure(f"CPU per request, {measured['many_connections']} / 100 connections: {name}",
                           pairing.Interval(samples), "", 1.15))
    return rows


def median_of(results, name, pick):
    return pairing.Interval(pairing.series(results[name], pick)).value if name in results else None


def user_of(rounds):
    """Share of the proxy's time that is spent in user space."""
    user = sum(f["cpu"]["user_ticks"] for f in rounds)
    total = user + sum(f["cpu"]["system_ticks"] for f in rounds)
    return user / total if total else 0


def absolute(measured):
    """[(what, {arm: number})]: medians, for orientation: they move with the machine."""
    def each(key, pick, results=None):
        results = measured.get(key, {}) if results is None else results
        return {name: median_of(results, name, pick) for name in results}
    out = [("proxy CPU us/request, 64 connections, full load", each("closed_64", proxy_cpu)),
           ("  of it in user space, %", {name: 100 * user_of(rounds) for name, rounds in measured.get("closed_64", {}).items()}),
           (f"proxy CPU us/request, 64 connections, {measured.get('rate', 0):.0f}/s", each("offered_64", proxy_cpu)),
           ("  of it in user space, %", {name: 100 * user_of(rounds) for name, rounds in measured.get("offered_64", {}).items()}),
           ("proxy CPU us/request, 1 connection", each("closed_1", proxy_cpu)),
           ("client, proxy and upstream us/request, half load", each("offered_64", lambda f: f["cpu"]["processes"])),
           ("upstream us/request, half load (canary of noise)", each("offered_64", lambda f: f["cpu"]["upstream"])),
           ("whole machine us/request, half load", each("offered_64", lambda f: f["cpu"]["machine"])),
           ("requests/s, 64 connections, full load", each("closed_64", lambda f: f["rps"])),
           ("p50 us, 1 connection", each("closed_1", lambda f: f["p50"])),
           ("p99 us, 1 connection", each("closed_1", lambda f: f["p99"]))]
    for connections in (64, 512):
        for quantile in ("p50", "p99"):
            out.append((f"{quantile} us, {connections} connections, half load",
                        each(f"offered_{connections}", lambda f, q=quantile: f[q])))
    for body, results in measured.get("bodies", {}).items():
        out.append((f"requests/s, body {body}", each("", lambda f: f["rps"], results)))
        out.append((f"proxy CPU us/request, body {body}", each("", proxy_cpu, results)))
    for key in ("h2_to_h1", "h2_to_h2", "grpc"):
        out.append((f"{key} proxy CPU us/request", each(key, proxy_cpu)))
    for connections in (1, 64):
        out.append((f"system calls/request, {connections} connections",
                    {name: sum(calls.values()) for name, calls in measured.get(f"syscalls_{connections}", {}).items()}))
    out.append(("anonymous KB per idle connection", measured.get("idle_kb", {})))
    out.append(("anonymous KB per idle connection with TLS", measured.get("idle_tls_kb", {})))
    out.append(("resident MB, fresh", {name: kb / 1024 for name, kb in measured["fresh_rss_kb"].items()}))
    out.append((f"proxy CPU us/request, {measured['many_connections']} connections",
                {name: pairing.Interval([many for _, many in pairs]).value for name, pairs in measured.get("many", {}).items()}))
    return [(what, numbers) for what, numbers in out if numbers]


def absolute_table(measured):
    names = list(measured.get("closed_64", {}))
    lines = [f"{'MEDIAN':<58}" + "".join(f"{name:>12}" for name in names)]
    for what, numbers in absolute(measured):
        cells = "".join(f"{'-' if numbers.get(name) is None else format(numbers[name], '.4g'):>12}" for name in names)
        lines.append(f"{what:<58}{cells}")
    return "\n".join(lines)


def table(rows):
    lines = [f"{'FIGURE':<84} {'VALUE':>10} {'95 %':>18} {'BEST':>7} {'BAR':>9}  MET"]
    for row in rows:
        i = row.interval
        bar = "" if row.bar is None else f"{'<=' if row.at_most else '>='} {row.bar:g}"
        met = {None: "", True: "yes", False: "NO"}[row.met]
        lines.append(f"{row.name:<84} {i.value:7.3g} {row.unit:<2} {f'{i.low:.3g} .. {i.high:.3g}':>18} "
                     f"{'' if row.best is None else format(row.best, '.3g'):>7} {bar:>9}  {met}")
    return "\n".join(lines)


def write_json(rows, path):
    with open(path, "w", encoding="utf-8") as f:
        f.write(json.dumps([row.row() for row in rows], indent=2) + "\n")
