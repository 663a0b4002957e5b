#!/usr/bin/env python3
"""A folder includes only what stands left of it (ARCHITECTURE.md, Folders). Repo-rooted includes only; tests may include all."""
import os
import re
import sys

import sources

# Folder -> folders it may include besides itself. A name ending in .h is one public header.
PROXY = "userspace-proxy/"
MAY = {
    "bpf/abi": set(),
    "bpf/lib": {"bpf/abi"},
    "bpf": {"bpf/abi", "bpf/lib"},
    "base": {"bpf/abi"},
    "bpf/user": {"bpf/abi", "base"},
    "proto": set(),
    "xds": {"base", "proto"},
    "control-plane": {"base", "bpf/abi", "bpf/user", "proto", "xds"},
    "agent": {"base", "bpf/abi", "bpf/user", "proto", "control-plane/control_plane.h",
              "control-plane/kubernetes/kubernetes_control_plane.h", "control-plane/remote/remote_control_plane.h", "control-plane/remote/istio_authority.h", "control-plane/remote/node_certificate.h", "control-plane/policy_manifest.h", "control-plane/discovery/ads_service.h", "control-plane/source/fetch_keys.h", "control-plane/identity/certificate_service.h",
              PROXY + "config/explain.h", PROXY + "config/explain_policy.h"},
    "tools/weft": {"base", "bpf/abi", "proto", "agent/dataplane/dataplane.h", "control-plane/control_plane.h",
                   "control-plane/kubernetes/cluster_check.h", "control-plane/kubernetes/agent_pods.h", "control-plane/join/token_store.h"},
    "tools/bench": {"base", "proto", "agent", "control-plane", PROXY.rstrip("/")},
}
# Inside the proxy: every step may include the steps before it.
STEPS = [["net"], ["tls"], ["http"], ["route", "policy"], ["config"], ["upstream"], ["exchange"], ["session"],
         ["handover", "worker", ""]]
SHARED = {"base", "bpf/abi", "proto", "xds"}


def proxy_rules():
    rules = {}
    before = set(SHARED) | {PROXY + "telemetry"}
    for step in STEPS:
        for name in step:
            rules[(PROXY + name).rstrip("/")] = before | {(PROXY + other).rstrip("/") for other in step}
        before = before | {(PROXY + name).rstrip("/") for name in step}
    # A leaf: open to everybody, so it may itself see only the snapshot whose names it prints.
    rules[PROXY + "telemetry"] = SHARED | {PROXY + "config/snapshot.h"}
    # The one file that names routes to the pure matcher without the rest of config.
    rules[PROXY + "route"] = rules[PROXY + "route"] | {PROXY + "config/snapshot.h"}
    rules[PROXY + "policy"] = rules[PROXY + "policy"] | {PROXY + "config/snapshot.h", "agent/policy/l4_policy.h"}
    # One evaluator of L4 policies, whoever asks: the agent for the kernel, the proxy for tunnels.
    rules[PROXY + "config"] = rules[PROXY + "config"] | {"agent/policy/l4_policy.h"}
    return rules


MAY.update(proxy_rules())
TOP = {"base", "bpf", "proto", "xds", "control-plane", "agent", "userspace-proxy", "tools", "tests"}


def folder_of(path):
    """The longest folder that has a rule; the root files of the proxy (main, proxy, worker) are userspace-proxy itself."""
    folder = os.path.dirname(path)
    while folder and folder not in MAY:
        folder = os.path.dirname(folder)
    return folder


def allowed(folder, include):
    if include.startswith("gen/"):
        return True
    target = folder_of(include)
    if target == folder:
        return True
    for permitted in MAY[folder]:
        if include == permitted or target == permitted or include.startswith(permitted.rstrip("/") + "/") and \
                not permitted.endswith(".h") and target.startswith(permitted.rstrip("/")) and "/" not in permitted:
            return True
    return False


def generated(include):
    return re.match(r"(gen/)?bpf/[\w.]+\.skel\.h$", include) is not None


def check(root):
    problems = []
    for path in sources.code_files(root):
        folder = folder_of(path)
        for number, line in enumerate(sources.read(root, path).splitlines(), 1):
            match = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
            if not match or path.startswith("tests/"):
                continue
            include = match.group(1)
            top = include.split("/")[0]
            if top not in TOP and top != "gen":
                if "/" not in include or include.startswith("."):
                    # System headers in quotes, such as absl's, have a folder; ours must be repo-rooted.
                    local = os.path.join(root, os.path.dirname(path), include)
                    if os.path.exists(local) or include.startswith("."):
                        problems.append(f"{path}:{number}: {include} is not repo-rooted; write the path from the root")
                continue
            if generated(include):
                continue
            if folder not in MAY:
                problems.append(f"{path}:{number}: {path} is in no known folder; add it to tests/lint/include_rule.py")
            elif not allowed(folder, include):
                problems.append(f"{path}:{number}: {folder} may not include {include} (ARCHITECTURE.md, Folders)")
    return problems


if __name__ == "__main__":
    sources.finish("include_rule", check(sources.root_of(sys.argv)))
