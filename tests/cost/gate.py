#!/usr/bin/env python3
"""What a request costs the proxy's worker: instructions, allocations and system calls per request, counted by callgrind in
weft-engine-cost, printed as JSON and held against cost.json. Run by ctest (engine_cost); by hand:

  tests/cost/gate.py --program build/release/bin/weft-engine-cost --toolchain 'Clang 19' [--update | --profile CASE]
"""
import argparse
import glob
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

import callgrind_file

HERE = os.path.dirname(os.path.abspath(__file__))
RECORDED = os.path.join(HERE, "cost.json")
# Instructions repeat to 0.01 %; the rest is room for another build of the same libraries.
TOLERANCE = 0.03
# A pause of the other thread can cost the loop an empty turn or split a message.
SPARE_SYSTEM_CALLS = 0.1
ALLOCATORS = {"malloc", "calloc", "realloc", "posix_memalign", "aligned_alloc", "memalign"}
SYSTEM_CALLS = {"recv", "recvmsg", "read", "readv", "send", "sendmsg", "write", "writev", "epoll_wait", "epoll_pwait",
                "epoll_pwait2", "epoll_ctl", "accept4", "setsockopt", "getsockopt", "getsockname", "shutdown", "close",
                "socket", "connect", "poll", "splice", "syscall"}


def arguments():
    parser = argparse.ArgumentParser(description="Instructions, allocations and system calls per request of the proxy's worker.")
    parser.add_argument("--program", required=True, help="weft-engine-cost")
    parser.add_argument("--toolchain", required=True, help="compiler and version: what instructions are comparable within")
    parser.add_argument("--update", action="store_true", help="write what was measured to cost.json")
    parser.add_argument("--profile", metavar="CASE", help="print where the instructions of a case are spent, and stop")
    parser.add_argument("--json", metavar="FILE", help="also write the JSON there")
    return parser.parse_args()


def distribution():
    """Libraries are inlined and called: they are part of what is counted."""
    with open("/etc/os-release", encoding="utf-8") as f:
        fields = dict(line.rstrip().split("=", 1) for line in f if "=" in line)
    return " ".join(fields.get(key, "").strip('"') for key in ("ID", "VERSION_ID")).strip()


def run(program):
    """The dumps of all threads, and how many requests each case counted."""
    if not shutil.which("valgrind"):
        sys.exit("engine_cost: valgrind is missing; next: install what tools/packages.txt lists")
    with tempfile.TemporaryDirectory(prefix="weft-cost-") as folder:
        # valgrind 3.19 takes lld's debug sections for corrupt; the symbols are enough.
        stripped = os.path.join(folder, "program")
        subprocess.run(["objcopy", "--strip-debug", program, stripped], check=True)
        out = subprocess.run(["valgrind", "--quiet", "--tool=callgrind", "--separate-threads=yes",
                              f"--callgrind-out-file={folder}/callgrind", stripped],
                             text=True, capture_output=True, check=False, timeout=300)
        if out.returncode != 0:
            sys.exit(f"engine_cost: {program} under valgrind ended with {out.returncode}: {out.stderr}")
        requests = {row["case"]: row["requests"] for row in map(json.loads, out.stdout.splitlines())}
        dumps = [callgrind_file.Dump(path) for path in sorted(glob.glob(folder + "/callgrind*-*"))]
    return dumps, requests


def per_request(dump, requests):
    def count(names):
        return sum(calls for name, calls in dump.calls.items() if name in names) / requests
    return {"instructions": round(dump.instructions / requests), "allocations": round(count(ALLOCATORS), 3),
            "system_calls": round(count(SYSTEM_CALLS), 1)}


def measure(dumps, requests):
    by_case = {dump.trigger: dump for dump in dumps if dump.trigger}
    missing = set(requests) - set(by_case)
    if missing:
        sys.exit(f"engine_cost: callgrind wrote nothing for {', '.join(sorted(missing))}")
    # A count of zero says something only when the names are those of this libc.
    start = [dump for dump in dumps if not dump.trigger]
    if not any(dump.calls[name] for dump in start for name in ALLOCATORS):
        sys.exit("engine_cost: no allocation is seen even at the start; are the symbols of the C library there?")
    return {case: per_request(by_case[case], requests[case]) for case in requests}


def profile(dumps, requests, case):
    dump = next((dump for dump in dumps if dump.trigger == case), None)
    if dump is None:
        sys.exit(f"engine_cost: there is no case '{case}': {', '.join(requests)}")
    for title, table in (("own", dump.own), ("with what it calls", dump.with_callees)):
        print(f"\n{case}: instructions per request, {title}\n{'INSTR':>9} {'%':>6} {'CALLS':>7}  FUNCTION")
        for function, cost in table.most_common(50):
            name = re.sub(r"std::basic_string_view<char, std::char_traits<char> ?>", "string_view", function)
            print(f"{cost / requests[case]:9.0f} {100 * cost / dump.instructions:5.1f}% "
                  f"{dump.calls[function] / requests[case]:7.2f}  {name[:120]}")


def problems_of(measured, recorded):
    """Sentences; empty when nothing costs more than recorded."""
    found = []
    for case, cost in measured.items():
        was = recorded.get(case)
        if was is None:
            found.append(f"{case}: has no recorded cost")
            continue
        for kind, spare in (("allocations", 0), ("system_calls", SPARE_SYSTEM_CALLS)):
            if cost[kind] > was[kind] + spare:
                found.append(f"{case}: {cost[kind]} {kind.replace('_', ' ')} per request, recorded {was[kind]}")
        if cost["instructions"] > was["instructions"] * (1 + TOLERANCE):
            more = 100 * (cost["instructions"] / was["instructions"] - 1)
            found.append(f"{case}: {cost['instructions']} instructions per request, recorded {was['instructions']}: "
                         f"{more:.1f} % more, {100 * TOLERANCE:.0f} % are allowed")
    return found


def main():
    options = arguments()
    dumps, requests = run(options.program)
    if options.profile:
        profile(dumps, requests, options.profile)
        return 0
    measured = measure(dumps, requests)
    toolchain = f"{options.toolchain}, {distribution()}"
    text = json.dumps({"toolchain": toolchain, "per_request": measured}, indent=2)
    print(text)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as f:
            f.write(text + "\n")
    recorded = {}
    if os.path.exists(RECORDED):
        with open(RECORDED, encoding="utf-8") as f:
            recorded = json.load(f)
    if options.update:
        recorded[toolchain] = measured
        with open(RECORDED, "w", encoding="utf-8") as f:
            f.write(json.dumps(recorded, indent=2, sort_keys=True) + "\n")
        print(f"engine_cost: recorded for {toolchain}; say in the commit why a request may cost this")
        return 0
    known = recorded.get(toolchain)
    if known is None:
        # Other compilers and libraries count other instructions; allocations and system calls are the same everywhere.
        print(f"*** engine_cost: no cost is recorded for {toolchain}: instructions are NOT compared ***")
        known = {case: dict(cost, instructions=float("inf")) for case, cost in next(iter(recorded.values()), {}).items()}
    found = problems_of(measured, known)
    for problem in found:
        print(f"engine_cost: {problem}", file=sys.stderr)
    if found:
        print(f"engine_cost: where it goes: {sys.argv[0]} --program {options.program} --toolchain '{options.toolchain}' "
              "--profile CASE\nengine_cost: when it is meant: the same with --update, and commit tests/cost/cost.json",
              file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
