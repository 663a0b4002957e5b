#!/usr/bin/env python3
"""No source file over 500 lines, no function over 60. Functions are found by counting braces, which is right for our style."""
import re
import sys

import sources

MAX_FILE = 500
MAX_FUNCTION = 60
NOT_A_FUNCTION = re.compile(r"\b(namespace|class|struct|union|enum|extern)\b[^;()]*$")


def functions(code):
    """(first line, last line) of every outermost brace block that follows a parameter list."""
    depth_kinds = []
    start = 0
    statement = 0
    for offset, char in enumerate(code):
        if char == "{":
            head = code[statement:offset]
            in_function = any(kind == "function" for kind, _ in depth_kinds)
            is_function = not in_function and ")" in head and not NOT_A_FUNCTION.search(head.rsplit("}", 1)[-1])
            depth_kinds.append(("function" if is_function else "other", offset))
            statement = offset + 1
        elif char == "}":
            if depth_kinds:
                kind, start = depth_kinds.pop()
                if kind == "function":
                    yield sources.line_of(code, start), sources.line_of(code, offset)
            statement = offset + 1
        elif char == ";":
            statement = offset + 1


def check(root):
    problems = []
    for path in sources.code_files(root):
        text = sources.read(root, path)
        lines = text.count("\n")
        if lines > MAX_FILE:
            problems.append(f"{path}: {lines} lines, the limit is {MAX_FILE}; split it by what it does")
        code = sources.blank_literals(text)
        code = re.sub(r"^[ \t]*#(?:[^\n\\]|\\.|\\\n)*", lambda m: re.sub(r"[^\n]", " ", m.group(0)), code, flags=re.M)
        for first, last in functions(code):
            if last - first + 1 > MAX_FUNCTION:
                problems.append(f"{path}:{first}: function of {last - first + 1} lines, the limit is {MAX_FUNCTION}")
    return problems


if __name__ == "__main__":
    sources.finish("size_rule", check(sources.root_of(sys.argv)))
