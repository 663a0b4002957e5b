#!/usr/bin/env python3
"""Prints the table of values of helm/weft/README.md, from the schema and values.yaml; --write puts it there."""
import json
import os
import sys

import chart
import yaml


def default_of(path):
    value = yaml.safe_load(chart.read("helm/weft/values.yaml"))
    for name in path.split("."):
        value = value[name]
    return "`" + json.dumps(value, ensure_ascii=False) + "`"


def table():
    rows = ["| value | default | meaning |", "|---|---|---|"]
    for path, node in chart.described(chart.schema()):
        if "properties" in node or path == "global":
            continue
        rows.append(f"| `{path}` | {default_of(path)} | {node['description']} |")
    return "\n".join(rows)


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        readme = os.path.join(chart.CHART, "README.md")
        text = chart.read("helm/weft/README.md")
        head, rest = text.split("## Values\n", 1)
        tail = rest.split("\n## ", 1)
        with open(readme, "w", encoding="utf-8") as f:
            f.write(f"{head}## Values\n\n{table()}\n" + (f"\n## {tail[1]}" if len(tail) > 1 else ""))
    else:
        print(table())
