#!/usr/bin/env python3
"""check_sources.py BUILD_DIR: compiles what BUILD_DIR/compile_commands.json lists, but tests and what is generated, and links nothing.

Exits as ninja does: 1 when the compiler refuses a file; its words are printed, and the other files are compiled all the same.
"""

import json
import os
import pathlib
import shlex
import subprocess
import sys


def output(entry):
    argv = shlex.split(entry["command"])
    path = os.path.join(entry["directory"], argv[argv.index("-o") + 1])
    return os.path.relpath(path, entry["directory"])


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    commands = json.loads(pathlib.Path(sys.argv[1], "compile_commands.json").read_text())
    # Generated sources are not ours to mend, and who builds with gcc builds what runs.
    left_out = os.path.realpath(os.path.join(os.path.dirname(__file__), "../../tests")) + "/"
    entries = [entry for entry in commands
               if not entry["file"].endswith((".pb.cc", "/precompiled.cc")) and not entry["file"].startswith(left_out)]
    # The later version that upgrade tests run is the same sources again.
    objects = {entry["file"]: output(entry) for entry in entries}
    if not objects:
        sys.exit("check_sources.py: no source is listed")
    print(f"{len(objects)} files")
    sys.exit(subprocess.run(["ninja", "-C", sys.argv[1], "-k", "0", *objects.values()]).returncode)


if __name__ == "__main__":
    main()
