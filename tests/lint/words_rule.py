#!/usr/bin/env python3
"""Words that hide what a thing is (in type and file names), unfinished work, and sleeping where an event should be awaited."""
import os
import re
import sys

import sources

GRAB_BAG = re.compile(r"\b(?:class|struct|enum class|enum|union)\s+(?:\[\[\w+\]\]\s*)?(\w*(?:Manager|Helper|Util|Utils|Impl))\b")
FILE_NAME = re.compile(r"(?:^|_)(manager|helpers?|utils?|impl)(?:_|\.|$)")
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
DISABLED = re.compile(r"^\s*#\s*if\s+0\b", re.M)
SLEEP = re.compile(r"\b(sleep_for|sleep_until|usleep|nanosleep|SleepFor)\b|(?<![\w.:>])sleep\s*\(")
# File -> why it may sleep.
THROW = re.compile(r"\bthrow\b")


def check(root):
    problems = []
    for path in sources.code_files(root):
        text = sources.read(root, path)
        code = sources.blank_literals(text)
        name = os.path.basename(path)
        if FILE_NAME.search(name):
            problems.append(f"{path}: the file name says nothing; name it after what it does")
        for match in GRAB_BAG.finditer(code):
            problems.append(f"{path}:{sources.line_of(code, match.start())}: type name {match.group(1)} says nothing")
        for pattern, what in ((UNFINISHED, "unfinished work; open an issue instead"),):
            for match in pattern.finditer(text):
                problems.append(f"{path}:{sources.line_of(text, match.start())}: {match.group(1)}: {what}")
        for match in DISABLED.finditer(text):
            problems.append(f"{path}:{sources.line_of(text, match.start())}: #if 0: delete it, git keeps it")
        for match in SLEEP.finditer(code):
            problems.append(f"{path}:{sources.line_of(code, match.start())}: sleep; wait for the event instead")
        for match in THROW.finditer(code):
            problems.append(f"{path}:{sources.line_of(code, match.start())}: throw; return absl::Status or a closed enum")
    return problems


if __name__ == "__main__":
    sources.finish("words_rule", check(sources.root_of(sys.argv)))
