"""What a cluster may change on the real machine, as lines, to compare before and after."""
import os
import subprocess

import machine


def lines_of(*argv):
    return subprocess.run(argv, text=True, capture_output=True, check=False).stdout.splitlines()


def state(cluster):
    found = []
    for line in lines_of("ip", "-o", "link"):
        found.append("link: " + line.split(" mtu ")[0])
    for argv in (("ip", "-o", "addr"), ("ip", "rule"), ("ip", "-6", "rule"), ("ip", "route", "show", "table", "all"), ("ip", "netns", "list"),
                 ("iptables-save",),
                 ("sysctl", "net.ipv4.ip_forward", "vm.overcommit_memory", "vm.panic_on_oom", "kernel.panic", "kernel.panic_on_oops")):
        found += [" ".join(argv) + ": " + line for line in lines_of(*argv) if not line.startswith("#")]
    with open("/proc/mounts", encoding="utf-8") as mounts:
        found += ["mount: " + line.strip() for line in mounts]
    found += ["cgroup: " + path for path in machine.groups_below(cluster)]
    for folder in ("/run", "/etc/cni", "/opt/cni", "/var/lib/kubelet", "/var/lib/etcd", "/run/containerd", "/sys/fs/bpf"):
        if os.path.isdir(folder):
            # Folders of other tests come and go.
            found += [f"{folder}: {name}" for name in os.listdir(folder) if not name.startswith("weft-") or name == cluster]
    found += ["process: " + line for line in lines_of("pgrep", "-a", "-f", f"/run/{cluster}/")]
    return sorted(found)


def difference(before, after):
    return [f"gone: {line}" for line in before if line not in after] + [f"left: {line}" for line in after if line not in before]
