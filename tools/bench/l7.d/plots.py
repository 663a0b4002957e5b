"""The page's plots as inline SVG text: no script, colours from the page's style sheet. Pure. Used by page.py."""
import html
import math

import pairing

WIDTH = 470
LABEL = 92
RIGHT = 64
ROW = 26
TOP = 26


def escape(text):
    return html.escape(str(text), quote=True)


def short(value):
    """Three digits, with k for thousands."""
    if value is None:
        return ""
    if abs(value) >= 10000:
        return f"{value / 1000:.3g}k"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def nice_ticks(top):
    """0, and at most five round steps up to the first one above `top`."""
    if top <= 0:
        return [0, 1]
    raw = top / 4
    power = 10 ** math.floor(math.log10(raw))
    step = next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= raw)
    return [i * step for i in range(math.ceil(top / step) + 1)]


def frame(title, rows, ticks, body, unit, note=""):
    """Axis, grid and title around `body`; the x axis starts at zero."""
    height = TOP + rows * ROW + 24
    plot = WIDTH - LABEL - RIGHT
    grid = ""
    for tick in ticks:
        x = LABEL + plot * tick / ticks[-1]
        grid += (f'<line class="grid" x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{TOP + rows * ROW}"/>'
                 f'<text class="tick" x="{x:.1f}" y="{TOP + rows * ROW + 14}" text-anchor="middle">{short(tick)}</text>')
    heading = escape(title) + (f' <tspan class="unit">{escape(unit)}</tspan>' if unit else "")
    caption = f'<figcaption>{escape(note)}</figcaption>' if note else ""
    return (f'<figure><svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}">'
            f'<text class="title" x="0" y="14">{heading}</text>{grid}{body}</svg>{caption}</figure>')


def row_label(name, row):
    return f'<text class="arm" x="{LABEL - 8}" y="{TOP + row * ROW + ROW / 2 + 4}" text-anchor="end">{escape(name)}</text>'


def value_label(text, row):
    return f'<text class="value" x="{WIDTH}" y="{TOP + row * ROW + ROW / 2 + 4}" text-anchor="end">{escape(text)}</text>'


def strips(title, unit, samples, note=""):
    """Every round as a dot, the median as a bar across, its 95 % interval as a band. `samples`: {arm: [number]}."""
    samples = {name: values for name, values in samples.items() if values}
    if not samples:
        return ""
    # One stray round must not squeeze the rest; what is cut off is said.
    ordered = sorted(value for values in samples.values() for value in values)
    top = min(ordered[-1], 2.5 * max(pairing.Interval(values).high for values in samples.values()) or ordered[-1])
    ticks = nice_ticks(top)
    scale = (WIDTH - LABEL - RIGHT) / ticks[-1]
    body, cut = "", 0
    for row, (name, values) in enumerate(samples.items()):
        interval = pairing.Interval(values)
        y = TOP + row * ROW + ROW / 2
        colour = f"arm-{escape(name)}"
        body += row_label(name, row) + value_label(short(interval.value), row)
        body += (f'<rect class="band {colour}" x="{LABEL + interval.low * scale:.1f}" y="{y - 7}" '
                 f'width="{max(1, (interval.high - interval.low) * scale):.1f}" height="14" rx="3"/>')
        for i, value in enumerate(values):
            if value > ticks[-1]:
                cut += 1
                continue
            body += (f'<circle class="dot {colour}" cx="{LABEL + value * scale:.1f}" cy="{y + (i % 5 - 2) * 2.2:.1f}" r="2.2">'
                     f'<title>round {i + 1}: {short(value)} {escape(unit)}</title></circle>')
        x = LABEL + interval.value * scale
        body += f'<line class="median {colour}" x1="{x:.1f}" y1="{y - 9}" x2="{x:.1f}" y2="{y + 9}"/>'
    if cut:
        note = f"{note} {cut} of {len(ordered)} rounds lie to the right of the plot.".strip()
    return frame(title, len(samples), ticks, body, unit, note)


def stacks(title, unit, parts, note=""):
    """Bars of named parts. `parts`: {arm: [(part, number)]}; equal parts have equal shades in all arms."""
    parts = {name: row for name, row in parts.items() if row}
    if not parts:
        return ""
    sums = {}
    for row in parts.values():
        for part, number in row:
            sums[part] = sums.get(part, 0) + number
    order = sorted(sums, key=sums.get, reverse=True)
    shade = {part: min(i, 6) for i, part in enumerate(order)}
    ticks = nice_ticks(max(sum(number for _, number in row) for row in parts.values()))
    scale = (WIDTH - LABEL - RIGHT) / ticks[-1]
    body = ""
    for line, (name, row) in enumerate(parts.items()):
        x = LABEL
        body += row_label(name, line) + value_label(short(sum(number for _, number in row)), line)
        for part, number in sorted(row, key=lambda item: shade[item[0]]):
            width = number * scale
            body += (f'<rect class="shade-{shade[part]}" x="{x:.1f}" y="{TOP + line * ROW + 5}" width="{width:.1f}" '
                     f'height="{ROW - 10}"><title>{escape(part)}: {short(number)} {escape(unit)}</title></rect>')
            x += width
    shown = [part for part in order if sums[part] >= 0.01 * sum(sums.values())][:7]
    legend = "".join(f'<span><i class="shade-{shade[part]}"></i>{escape(part)}</span>' for part in shown) if len(order) > 1 else ""
    figure = frame(title, len(parts), ticks, body, unit, note)
    return figure.replace("</figure>", f'<div class="legend">{legend}</div></figure>') if legend else figure


FOREST = 240


def forest(row):
    """One figure against its bar: 1 is the bar, left of it is better, on a logarithmic axis from a quarter to four times."""
    if row.bar is None:
        return ""

    def relative(value):
        value = max(value, 1e-9)
        return value / row.bar if row.at_most else row.bar / value

    def x(value):
        return FOREST / 2 + FOREST / 2 * max(-1, min(1, math.log(max(value, 1e-9)) / math.log(4)))

    low, high = sorted((relative(row.interval.low), relative(row.interval.high)))
    state = "met" if row.met else "missed"
    ticks = "".join(f'<line class="grid" x1="{x(t):.1f}" y1="2" x2="{x(t):.1f}" y2="18"/>' for t in (0.25, 0.5, 2, 4))
    return (f'<svg class="forest" viewBox="0 0 {FOREST} 20" role="img" aria-label="{state}">{ticks}'
            f'<line class="bar-line" x1="{x(1):.1f}" y1="0" x2="{x(1):.1f}" y2="20"/>'
            f'<line class="whisker {state}" x1="{x(low):.1f}" y1="10" x2="{max(x(high), x(low) + 1):.1f}" y2="10"/>'
            f'<circle class="point {state}" cx="{x(relative(row.interval.value)):.1f}" cy="10" r="4.5"/></svg>')
