"""What the demo prints: one row per second while it runs, and the summary. Used by demo.py; knows nothing of meshes."""
import math
import os
import sys

TTY = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
COLOR = TTY and "NO_COLOR" not in os.environ
BAR = 20


def paint(code, text):
    return f"\033[{code}m{text}\033[0m" if COLOR else text


def say(text):
    print(text, flush=True)


def header():
    say(paint("1", f"{'TIME':>6}  {'WANTED':>7}  {'REQ/S':>7}  {'V1':>7}  {'V2':>7}  {'V2 %':>6}  {'FAILED':>6}  "
                   f"{'P50':>8}  {'P99':>8}  SPLIT"))


def milliseconds(us):
    return f"{us / 1000:.2f}ms"


def row(interval, wanted):
    v1, v2 = interval["versions"].get("v1", 0), interval["versions"].get("v2", 0)
    share = v2 / max(1, v1 + v2)
    filled = round(share * BAR)
    bar = paint("34", "1" * (BAR - filled)) + paint("33", "2" * filled)
    failed = str(interval["failed"])
    if interval["failed"]:
        failed = paint("31", failed)
    say(f"{interval['t']:5.0f}s  {wanted:6d}%  {interval['rps']:7.0f}  {v1:7d}  {v2:7d}  {100 * share:5.1f}%  "
        f"{failed:>6}  {milliseconds(interval['p50_us']):>8}  {milliseconds(interval['p99_us']):>8}  {bar}")


class Step:
    """One weight of the canary and what was measured under it."""

    def __init__(self, title, v2_percent):
        self.title = title
        self.v2_percent = v2_percent
        self.v1 = self.v2 = self.failed = 0
        self.p50 = []
        self.p99 = []

    def add(self, interval):
        self.v1 += interval["versions"].get("v1", 0)
        self.v2 += interval["versions"].get("v2", 0)
        self.p50.append(interval["p50_us"])
        self.p99.append(interval["p99_us"])

    @property
    def requests(self):
        return self.v1 + self.v2

    @property
    def share(self):
        return 100 * self.v2 / max(1, self.requests)

    @property
    def tolerance(self):
        """Four standard deviations of a random split, in percent; a weight of 0 or 100 must hold exactly."""
        p = self.v2_percent / 100
        return 400 * math.sqrt(p * (1 - p) / max(1, self.requests))

    @property
    def ok(self):
        return self.requests > 0 and self.failed == 0 and abs(self.share - self.v2_percent) <= self.tolerance + 1e-9


def median(values):
    return sorted(values)[len(values) // 2] if values else 0


def summary(steps):
    say("")
    say(paint("1", f"{'STEP':<22}  {'REQUESTS':>8}  {'V2 WANTED':>9}  {'V2 GOT':>8}  {'ALLOWED':>8}  {'FAILED':>6}  "
                   f"{'P50':>8}  {'P99':>8}  RESULT"))
    for step in steps:
        result = paint("32", "ok") if step.ok else paint("31", "WRONG")
        say(f"{step.title:<22}  {step.requests:8d}  {step.v2_percent:8d}%  {step.share:7.2f}%  {step.tolerance:6.2f}%+-  "
            f"{step.failed:6d}  {milliseconds(median(step.p50)):>8}  {milliseconds(median(step.p99)):>8}  {result}")
    total = sum(step.requests for step in steps)
    failed = sum(step.failed for step in steps)
    say(f"{'total':<22}  {total:8d}  {'':>9}  {'':>8}  {'':>8}  {failed:6d}")
