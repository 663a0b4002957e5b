#!/usr/bin/env python3
"""clang-format agrees with every source file. `tools/dev lint --fix` makes it so."""
import os
import shutil
import subprocess
import sys

import sources


def check(root):
    tool = next((t for t in ("clang-format-19", "clang-format-18", "clang-format") if shutil.which(t)), None)
    if tool is None:
        return ["clang-format is not installed; tools/dev installs it from tools/packages.txt"]
    files = sources.code_files(root)
    if not files:
        return []
    out = subprocess.run([tool, "--dry-run", "-Werror", *files], cwd=root, text=True, capture_output=True)
    broken = sorted({line.split(":")[0] for line in out.stderr.splitlines() if ": error:" in line})
    return [f"{path}: not formatted; tools/dev lint --fix formats it" for path in broken]


if __name__ == "__main__":
    sources.finish("format_rule", check(sources.root_of(sys.argv)))
