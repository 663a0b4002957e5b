#!/usr/bin/env python3
"""No capturing lambda and no braced temporary inside a co_await expression: gcc 12 destroys such temporaries twice."""
import re
import sys

import sources

LAMBDA = re.compile(r"\[[^\]\[]+\]\s*(\(|\{|mutable)")
BRACED = re.compile(r"(?:[A-Za-z_]\w*|[(,=]|return)\s*\{")


def expressions(code):
    """Text and offset of every statement part that starts with co_await, up to its ';' or body brace at depth 0."""
    for match in re.finditer(r"\bco_await\b", code):
        depth = 0
        for offset in range(match.end(), len(code)):
            char = code[offset]
            if char in "([{":
                if char == "{" and depth == 0 and not re.search(r"\w\s*$", code[match.end():offset]):
                    break
                depth += 1
            elif char in ")]}":
                depth -= 1
                if depth < 0:
                    break
            elif char == ";" and depth == 0:
                break
        yield match.start(), code[match.end():offset]


def check(root):
    problems = []
    for path in sources.code_files(root):
        code = sources.blank_literals(sources.read(root, path))
        if "co_await" not in code:
            continue
        for start, expression in expressions(code):
            line = sources.line_of(code, start)
            if LAMBDA.search(expression):
                problems.append(f"{path}:{line}: capturing lambda inside co_await; name it first")
            elif BRACED.search(expression):
                problems.append(f"{path}:{line}: braced temporary inside co_await; name it first")
    return problems


if __name__ == "__main__":
    sources.finish("coroutine_rule", check(sources.root_of(sys.argv)))
