"""What a cluster may change on the real machine, as lines, to compare before and after; what changes by itself is left out."""
import os
import re
import subprocess

import machine

COMMANDS = (("ip", "-o", "addr"), ("ip", "rule"), ("ip", "-6", "rule"), ("ip", "route", "show", "table", "all"), ("iptables-save",),
            ("sysctl", "net.ipv4.ip_forward", "vm.overcommit_memory", "vm.panic_on_oom", "kernel.panic", "kernel.panic_on_oops"))
FOLDERS = ("/etc/cni", "/opt/cni", "/var/lib/kubelet", "/var/lib/etcd", "/run/containerd", "/sys/fs/bpf")
# What a machine counts without anybody's doing: the time that is left of addresses and routes, what went through a chain, numbers of namespaces.
COUNTED = re.compile(r"\\?\s+(valid_lft \S+|preferred_lft \S+|expires \d+sec)|\s*\[\d+:\d+\]| \(id: \d+\)")
# Of /run, which everything on a machine writes to, only what the programs of a cluster would make. Namespaces of pods are cni-*.
OF_CLUSTERS = ("kubelet", "containerd", "cni")


def lines_of(*argv):
    return subprocess.run(argv, text=True, capture_output=True, check=False).stdout.splitlines()


def without_counters(line):
    return COUNTED.sub("", line).rstrip()


def of_a_cluster(path, cluster):
    return cluster in path or any(part in path for part in OF_CLUSTERS)


def mounts(lines, cluster):
    """Those in /run only when a cluster might have made them: people who log in and other tests mount there too."""
    return ["mount: " + line.strip() for line in lines if not line.split()[1].startswith("/run/") or of_a_cluster(line.split()[1], cluster)]


def state(cluster):
    found = []
    for line in lines_of("ip", "-o", "link"):
        found.append("link: " + line.split(" mtu ")[0])
    for argv in COMMANDS:
        found += [" ".join(argv) + ": " + without_counters(line) for line in lines_of(*argv) if not line.startswith("#")]
    found += ["namespace: " + name for name in map(without_counters, lines_of("ip", "netns", "list")) if of_a_cluster(name, cluster)]
    with open("/proc/mounts", encoding="utf-8") as lines:
        found += mounts(lines, cluster)
    found += ["cgroup: " + path for path in machine.groups_below(cluster)]
    found += [f"/run: {name}" for name in os.listdir("/run") if of_a_cluster(name, cluster)]
    for folder in FOLDERS:
        if os.path.isdir(folder):
            # Folders of other tests come and go.
            found += [f"{folder}: {name}" for name in os.listdir(folder) if not name.startswith("weft-") or name == cluster]
    found += ["process: " + line for line in lines_of("pgrep", "-a", "-f", f"/run/{cluster}/")]
    return sorted(found)


def difference(before, after):
    return [f"gone: {line}" for line in before if line not in after] + [f"left: {line}" for line in after if line not in before]
