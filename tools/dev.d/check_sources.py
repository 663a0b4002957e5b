#!/usr/bin/env python3
"""check_sources.py BUILD_DIR: runs each command of BUILD_DIR/compile_commands.json without code generation, but those of tests.

Exits 1 when the compiler refuses a file; its words are printed. Takes about half the time of a build.
"""

import concurrent.futures
import json
import os
import pathlib
import shlex
import subprocess
import sys


def check(entry):
    argv = shlex.split(entry["command"])
    if os.path.basename(argv[0]) == "ccache":
        argv = argv[1:]
    at = argv.index("-o")
    del argv[at : at + 2]
    done = subprocess.run(argv + ["-fsyntax-only"], cwd=entry["directory"], capture_output=True, text=True)
    return entry["file"], done.returncode, done.stderr


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    commands = json.loads(pathlib.Path(sys.argv[1], "compile_commands.json").read_text())
    # Generated sources are not ours to mend, and who builds with gcc builds what runs.
    left_out = os.path.realpath(os.path.join(os.path.dirname(__file__), "../../tests")) + "/"
    entries = [entry for entry in commands
               if not entry["file"].endswith((".pb.cc", "/precompiled.cc")) and not entry["file"].startswith(left_out)]
    # The later version that upgrade tests run is the same sources again.
    entries = list({entry["file"]: entry for entry in entries}.values())
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for number, (name, status, words) in enumerate(pool.map(check, entries), 1):
            if number % 50 == 0 or number == len(entries):
                print(f"{number} of {len(entries)} files", flush=True)
            if status != 0:
                failed += 1
                print(f"{name}: refused\n{words}", flush=True)
    print(f"{failed} of {len(entries)} files refused")
    sys.exit(1 if failed or not entries else 0)


if __name__ == "__main__":
    main()
