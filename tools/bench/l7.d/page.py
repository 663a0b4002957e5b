"""The page of a run: one file, inline style and SVG, readable in light and dark, printable. Used by bench.py."""
import collections
import datetime
import os

import figures
import plots

HERE = os.path.dirname(os.path.abspath(__file__))


def samples_of(results, pick):
    return {name: [pick(f) for f in rounds] for name, rounds in results.items()}


def proxies_only(samples):
    return {name: values for name, values in samples.items() if name != "direct"}


def cpu_parts(results):
    """User and system time of the proxy per request: the median, divided as the ticks of all rounds divide."""
    parts = {}
    for name, rounds in results.items():
        if name == "direct":
            continue
        total = figures.median_of(results, name, figures.proxy_cpu)
        user = figures.user_of(rounds)
        parts[name] = [("kernel", total * (1 - user)), ("user space", total * user)]
    return parts


def sections(m):
    """[(heading, sentence, [plot])]; what was not measured has no plot."""
    m = collections.defaultdict(dict, m)
    rate = f"{m['rate']:.0f} requests per second"
    work = [
        ("CPU per request", f"One worker, 64 kept-alive connections, 1 KB answers. Half load is {rate} for every arm: half of "
         "what the slowest proxy can do. Time that the kernel spends on behalf of others is in the whole machine's figure only.",
         [plots.stacks("Proxy, full load", "µs", cpu_parts(m["closed_64"])),
          plots.stacks("Proxy, half load", "µs", cpu_parts(m["offered_64"])),
          plots.strips("Proxy, full load", "µs", proxies_only(samples_of(m["closed_64"], figures.proxy_cpu))),
          plots.strips("Proxy, half load", "µs", proxies_only(samples_of(m["offered_64"], figures.proxy_cpu))),
          plots.strips("Client, proxy and upstream, half load", "µs", samples_of(m["offered_64"], lambda f: f["cpu"]["processes"])),
          plots.strips("Upstream alone, half load: the canary", "µs", samples_of(m["offered_64"], lambda f: f["cpu"]["upstream"]),
                       "The same program on the same work in every arm: how much it moves is noise.")]),
        ("Latency", f"Closed loop at one connection; at 64 and 512, {rate}, counted from when a request was due.",
         [plots.strips("p50, 1 connection", "µs", samples_of(m["closed_1"], lambda f: f["p50"])),
          plots.strips("p99, 1 connection", "µs", samples_of(m["closed_1"], lambda f: f["p99"]))]
         + [plots.strips(f"{q}, {c} connections, half load", "µs", samples_of(m[f"offered_{c}"], lambda f, q=q: f[q]))
            for c in (64, 512) for q in ("p50", "p99")]),
        ("Throughput by body", "As fast as answers come: 64 connections, 16 for 1 MB. Client and upstream share a CPU, so small "
         "bodies end where that CPU does, not where the proxy does.",
         [plots.strips(f"Body {body}", "requests/s", samples_of(m["bodies"].get(body, {}), lambda f: f["rps"]))
          for body in ("0", "1 KB", "64 KB", "1 MB")]
         + [plots.strips(f"Proxy CPU, body {body}", "µs/request", proxies_only(samples_of(m["bodies"].get(body, {}), figures.proxy_cpu)))
            for body in ("64 KB", "1 MB")]),
    ]
    h2 = [plots.strips(title, "µs/request", proxies_only(samples_of(m[key], figures.proxy_cpu)))
          for key, title in (("h2_to_h1", "HTTP/2 to HTTP/1"), ("h2_to_h2", "HTTP/2 to HTTP/2"), ("grpc", "gRPC, unary"))]
    work.append(("HTTP/2 and gRPC", "Proxy CPU per request: h2load, 8 connections with 16 streams each. nginx speaks HTTP/2 to an "
                 "upstream only as gRPC, which is used for both.", h2))
    work.append(("System calls and memory", "Counted by strace in a slice of its own. Memory of 4,000 idle connections beyond a warm "
                 "proxy; HAProxy and nginx size their tables at the start for the connections of this run.",
                 [plots.stacks(f"System calls per request, {c} connection{'s' if c > 1 else ''}", "",
                               {name: list(calls.items()) for name, calls in m[f"syscalls_{c}"].items()}) for c in (1, 64)]
                 + [plots.stacks("Anonymous memory per idle connection", "KB",
                                 {name: [("memory", max(0, kb))] for name, kb in m["idle_kb"].items()}),
                    plots.stacks("Resident memory, fresh", "MB",
                                 {name: [("memory", kb / 1024)] for name, kb in m["fresh_rss_kb"].items()}),
                    plots.strips("Proxy CPU, 100 connections", "µs/request",
                                 {name: [few for few, _ in pairs] for name, pairs in m["many"].items()}),
                    plots.strips(f"Proxy CPU, {m['many_connections']} connections", "µs/request",
                                 {name: [many for _, many in pairs] for name, pairs in m["many"].items()})]))
    return work


def figure_rows(rows):
    out = ""
    for row in rows:
        i = row.interval
        bar = "" if row.bar is None else f"{'≤' if row.at_most else '≥'} {row.bar:g}"
        state = {None: "", True: '<b class="yes">met</b>', False: '<b class="no">missed</b>'}[row.met]
        best = "" if row.best is None else f"{row.best:.3g}"
        width = f"{i.low:.3g} – {i.high:.3g}" if i.low != i.high else ""
        out += (f"<tr><td>{plots.escape(row.name)}</td><td class=n>{i.value:.3g} {row.unit}</td><td class=n>{width}</td>"
                f"<td class=n>{best}</td><td class=n>{bar}</td><td>{plots.forest(row)}</td><td>{state}</td></tr>\n")
    return out


def absolute_rows(measured):
    names = list(measured["closed_64"])
    head = "".join(f"<th class=n>{plots.escape(name)}</th>" for name in names)
    body = ""
    for what, numbers in figures.absolute(measured):
        cells = "".join(f"<td class=n>{'–' if numbers.get(name) is None else plots.short(numbers[name])}</td>" for name in names)
        body += f"<tr><td>{plots.escape(what)}</td>{cells}</tr>\n"
    return f"<table><thead><tr><th>Median</th>{head}</tr></thead><tbody>{body}</tbody></table>"


def facts_table(found, arms, left_out):
    rows = [("Kernel", found["kernel"]), ("Command line", found["cmdline"]),
            ("CPU", f"{found['cpus']} × {found['cpu']}"), ("Mitigations", found["mitigations"] or "none"),
            ("Halt polling of the guest", found["haltpoll"]), ("Congestion control", found["congestion"]),
            ("Load average before, after", f"{found['load_before']}; {found['load_after']}"),
            ("Steal during the run", f"{found['steal_ticks']} ticks"), ("Empty system call", f"{found['empty_syscall_ns']} ns"),
            ("Versions", ", ".join(f"{arm.name} {arm.version}".strip() for arm in arms if arm.proxy))]
    rows += [(f"Left out: {name}", why) for name, why in left_out.items()]
    return "<table>" + "".join(f"<tr><th>{plots.escape(k)}</th><td class=wrap>{plots.escape(v)}</td></tr>" for k, v in rows) + "</table>"


def write(path, rows, measured, found, arms, options):
    with open(os.path.join(HERE, "page.css"), encoding="utf-8") as f:
        style = f.read()
    barred = [row for row in rows if row.bar is not None]
    met = sum(1 for row in barred if row.met)
    when = datetime.datetime.now().strftime("%d %B %Y, %H:%M")
    quick = "<p class=warn>A quick run: few and short rounds, wide intervals. For trying, not for claims.</p>" if options.quick else ""
    body = "".join(f"<section><h2>{plots.escape(heading)}</h2><p>{plots.escape(text)}</p><div class=grid>{''.join(found_plots)}</div></section>"
                   for heading, text, found_plots in sections(measured))
    with open(path, "w", encoding="utf-8") as f:
        f.write(f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Weft: L7 benchmark</title><style>
{style}</style></head><body><main>
<header><h1>The node proxy against its rivals</h1>
<p class=lead><b>{met} of {len(barred)}</b> bars are met. {plots.escape(when)}, kernel {plots.escape(found['kernel'])},
{found['cpus']} CPUs, load {plots.escape(' '.join(found['load_before'].split()[:3]))}.</p>{quick}</header>
<section><h2>Against the bars</h2>
<p>Median of the rounds' ratios to the better of HAProxy and nginx, with its 95 % interval; beside it the ratio of the best slices. A
claim of a ratio holds when both say so. In the plot the line is the bar, left of it is better, the axis runs from a quarter to four times the bar.</p>
<div class=scroll><table class=figures><thead><tr><th>Figure</th><th class=n>Value</th><th class=n>95 %</th><th class=n>Best</th><th class=n>Bar</th>
<th></th><th></th></tr></thead><tbody>{figure_rows(rows)}</tbody></table></div></section>
{body}
<section><h2>Every median</h2><p>For orientation: they move with the machine, the ratios above hardly do.</p>
<div class=scroll>{absolute_rows(measured)}</div></section>
<section><h2>Where and how</h2>{facts_table(found, arms, options.left_out)}
<p>Each arm is a client pod of its own; its proxy accepts and dials inside the client's namespace, as Weft's capture does, and the
upstream is an nginx in another pod of the same node. Proxies have one CPU, client and upstream another. Slices of the arms alternate
in an order drawn anew for each round; no round is discarded.</p></section>
</main></body></html>
""")
