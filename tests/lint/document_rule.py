#!/usr/bin/env python3
"""Paths that the documents name must exist: `folder/file.ext` in backticks, and the targets of relative links."""
import pathlib
import re
import sys

FOLDERS = ("agent/", "base/", "bpf/", "control-plane/", "docs/", "examples/", "helm/", "proto/", "tests/", "tools/", "userspace-proxy/", "xds/")
IN_BACKTICKS = re.compile(r"`([\w./-]+)`")
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")


def missing_paths(root, document):
    text = document.read_text(encoding="utf-8")
    for number, line in enumerate(text.splitlines(), 1):
        for name in IN_BACKTICKS.findall(line):
            # A last part in capitals stands for any name.
            if name.rsplit("/", 1)[-1].isupper():
                continue
            if name.startswith(FOLDERS) and not (root / name).exists():
                yield number, name
        for name in LINK.findall(line):
            if not (document.parent / name).exists():
                yield number, name


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).resolve().parents[2])
    failed = False
    for document in sorted([*root.glob("*.md"), *root.glob("docs/*.md"), *root.glob("helm/*/*.md")]):
        for number, name in missing_paths(root, document):
            print(f"{document.relative_to(root)}:{number}: {name} does not exist: name the file that does this now")
            failed = True
    print("document_rule:", "FAILED" if failed else "ok")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
