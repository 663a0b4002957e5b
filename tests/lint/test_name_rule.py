#!/usr/bin/env python3
"""Tests that the documents name must exist: `Suite`, `Suite.Test`, a further `.Test` of the suite before it on the same line; `*` ends a name."""
import pathlib
import re
import sys

import sources

DEFINED = re.compile(r"^TEST(?:_F|_P)?\(\s*(\w+),\s*(\w+)\s*\)", re.M)
# In a table of parameters a row begins with its name.
ROW = re.compile(r'[{(]\s*"(\w+)(?:\.\w+)?"\s*,')
FIXTURE = re.compile(r"^class (\w+Test)\b", re.M)
NAMED = re.compile(r"\b([A-Z]\w*Test)\b(?!\.(?:cc|h)\b)(?:\.([A-Za-z]\w*\*?|\*))?|(?<=[\s`])\.([A-Za-z]\w+\*?)(?!\w*/)")


def defined_tests(root):
    """Suite to the names of its tests and of the rows that they are run with."""
    suites = {}
    for path in sources.code_files(root):
        if not path.startswith("tests/"):
            continue
        text = sources.read(root, path)
        for fixture in FIXTURE.findall(text):
            suites.setdefault(fixture, set())
        here = DEFINED.findall(text)
        rows = set(ROW.findall(text)) if "INSTANTIATE_TEST_SUITE_P" in text else set()
        for suite, name in here:
            suites.setdefault(suite, set()).update({name} | rows)
    return suites


def unknown_tests(text, suites):
    for number, line in enumerate(text.splitlines(), 1):
        suite = None
        for match in NAMED.finditer(line):
            name = match.group(2) or match.group(3)
            suite = match.group(1) or suite
            if suite is None:
                continue
            if suite not in suites:
                yield number, suite
            elif name and not exists(name, suites[suite]):
                yield number, f"{suite}.{name}"


def exists(name, known):
    return any(test.startswith(name[:-1]) for test in known) if name.endswith("*") else name in known


def main():
    root = sources.root_of(sys.argv)
    suites = defined_tests(root)
    problems = []
    base = pathlib.Path(root)
    for document in sorted([*base.glob("*.md"), *base.glob("docs/*.md")]):
        for number, name in unknown_tests(document.read_text(encoding="utf-8"), suites):
            problems.append(f"{document.relative_to(base)}:{number}: there is no test {name}: name the one that shows it now")
    sources.finish("test_name_rule", problems)


if __name__ == "__main__":
    main()
