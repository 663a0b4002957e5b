#!/usr/bin/env python3
"""Every source file opens with a comment that says what it is, and every word of the outcome list is documented."""
import os
import re
import sys

import sources

OUTCOMES = "userspace-proxy/telemetry/outcome.h"


def check(root):
    problems = []
    for path in sources.code_files(root):
        text = sources.read(root, path)
        # C files of the kernel side start with a licence line.
        first = re.sub(r"^// SPDX[^\n]*\n|^/\* SPDX[^\n]*\n", "", text).lstrip()
        if not first.startswith(("//", "/*")):
            problems.append(f"{path}:1: opens with no comment; say what it is, who calls it, what it never does")
    if os.path.exists(os.path.join(root, OUTCOMES)):
        for match in re.finditer(r'X\((k\w+), "(\w*)", (\d+), "([^"]*)"\)', sources.read(root, OUTCOMES)):
            name, label, status, text = match.groups()
            if not label or len(text) < 10 or not text.endswith("."):
                problems.append(f"{OUTCOMES}: outcome {name} needs a label and a sentence that says what happened")
            if int(status) != 0 and not 400 <= int(status) <= 599:
                problems.append(f"{OUTCOMES}: outcome {name} has status {status}, which is no error status")
    return problems


if __name__ == "__main__":
    sources.finish("comment_rule", check(sources.root_of(sys.argv)))
