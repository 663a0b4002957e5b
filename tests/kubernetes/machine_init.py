"""The first process of a machine of the test cluster. machine.py starts it in new namespaces; it gives the machine a root folder of
its own, says so, and from then on starts and ends the programs that it is told to, and reaps what they leave. With the mount namespace of
its processes goes everything that they have written."""
import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import sys

LIBC = ctypes.CDLL(None, use_errno=True)
PR_SET_CHILD_SUBREAPER = 36
# What is taken from the real /etc: users, and where alternatives and libraries are.
ETC = ("passwd", "group", "nsswitch.conf", "protocols", "services", "alternatives", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "ssl")
LEAF = "system"  # the group of the machine's own programs: with cgroup2, groups that have controllers have no processes
TUNABLES = {"vm/overcommit_memory": 1, "vm/panic_on_oom": 0, "kernel/panic": 10, "kernel/panic_on_oops": 1,
            "kernel/keys/root_maxkeys": 1000000, "kernel/keys/root_maxbytes": 25000000}
ROOT_SIZE = "3g"


def mount(*arguments):
    subprocess.run(["mount", *arguments], check=True)


def make_root(root):
    """Programs and libraries of the real machine, read only; everything else is new and in memory."""
    mount("-t", "tmpfs", "-o", "mode=0755,size=" + ROOT_SIZE, "machine", root)
    for name in ("proc", "sys", "dev", "run", "tmp", "etc", "var/lib", "var/log", "opt/cni", "usr", "root", "mnt"):
        os.makedirs(f"{root}/{name}")
    os.chmod(root + "/tmp", 0o1777)
    os.symlink("/run", root + "/var/run")
    mount("--bind", "/usr", root + "/usr")
    mount("-o", "remount,bind,ro", root + "/usr")
    for name in ("bin", "sbin", "lib", "lib32", "lib64"):
        if os.path.islink("/" + name):
            os.symlink(os.readlink("/" + name), f"{root}/{name}")
    mount("--rbind", "/dev", root + "/dev")
    mount("--make-rslave", root + "/dev")
    mount("-t", "proc", "proc", root + "/proc")
    mount("-t", "sysfs", "sysfs", root + "/sys")
    mount("-t", "bpf", "bpf", root + "/sys/fs/bpf")
    mount("-t", "tmpfs", "-o", "mode=0755", "run", root + "/run")
    for name in ETC:
        if os.path.isdir("/etc/" + name):
            shutil.copytree("/etc/" + name, f"{root}/etc/{name}", symlinks=True)
        elif os.path.exists("/etc/" + name):
            shutil.copy("/etc/" + name, f"{root}/etc/{name}")
    # Nobody is asked for names: nothing of the real machine's network is reachable from here.
    with open(root + "/etc/resolv.conf", "w", encoding="ascii"):
        pass
    # Where plugins of others may be added to those of the distribution.
    shutil.copytree("/usr/lib/cni", root + "/opt/cni/bin", copy_function=os.symlink)


def mount_cgroups(root, hierarchies):
    """The same hierarchies at the same places. In this cgroup namespace their roots are the machine's own groups."""
    top = "/sys/fs/cgroup"
    if not any(h["at"] == top for h in hierarchies):
        mount("-t", "tmpfs", "-o", "mode=0755", "cgroup", root + top)
    for hierarchy in hierarchies:
        at = root + hierarchy["at"]
        os.makedirs(at, exist_ok=True)
        options = ["-o", hierarchy["options"]] if hierarchy["options"] else []
        mount("-t", hierarchy["type"], *options, "cgroup", at)
        if hierarchy["type"] == "cgroup2":
            os.mkdir(f"{at}/{LEAF}")
            with open(f"{at}/{LEAF}/cgroup.procs", "w", encoding="ascii") as f:
                f.write("0")


def pin_tunables(root):
    """A kubelet sets these for the whole kernel, so here it finds them as it wants them: in files that stand before the real ones."""
    for key, value in TUNABLES.items():
        stand_in = f"{root}/etc/tunables/{key}"
        os.makedirs(os.path.dirname(stand_in), exist_ok=True)
        with open(stand_in, "w", encoding="ascii") as f:
            f.write(f"{value}\n")
        mount("--bind", stand_in, f"{root}/proc/sys/{key}")


def enter_root(root):
    os.mkdir(root + "/old")
    os.chdir(root)
    subprocess.run(["pivot_root", ".", "old"], check=True)
    os.chdir("/")
    mount("--make-rprivate", "/old")
    subprocess.run(["umount", "-l", "/old"], check=True)
    os.rmdir("/old")
    # As on a machine that was booted: what is mounted later shows in containers that ask for it.
    mount("--make-rshared", "/")


class Programs:
    """What was started, by name. Logs are in /var/log/cluster."""

    def __init__(self):
        self.pids = {}

    def start(self, name, argv):
        with open(f"/var/log/cluster/{name}.log", "ab") as log:
            child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        self.pids[name] = child.pid
        self.note(f"{name} started")

    def stop(self, name, number):
        if name in self.pids:
            os.kill(self.pids[name], number)

    def reap(self):
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for name, known in list(self.pids.items()):
                if known == pid:
                    del self.pids[name]
                    self.note(f"{name} ended with {os.waitstatus_to_exitcode(status)}")

    def note(self, text):
        """The last line of a program's name in this file says whether it runs."""
        with open("/var/log/cluster/programs", "a", encoding="ascii") as log:
            log.write(text + "\n")


def serve():
    # Orphans, such as the shims that hold containers, become children of this process and not of the real machine's first one.
    if LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
    # Opened for both, so that it never ends when the one who wrote goes away.
    orders = os.open("/var/log/cluster/orders", os.O_RDWR | os.O_NONBLOCK)
    programs = Programs()
    woken, wake = os.pipe()
    for end in (woken, wake):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    rest = b""
    while True:
        ready, _, _ = select.select([orders, woken], [], [])
        if woken in ready:
            os.read(woken, 4096)
            programs.reap()
        if orders in ready:
            *lines, rest = (rest + os.read(orders, 65536)).split(b"\n")
            for line in lines:
                order = json.loads(line)
                if "argv" in order:
                    programs.start(order["name"], order["argv"])
                else:
                    programs.stop(order["name"], order["signal"])


def main():
    spec = json.loads(sys.argv[1])
    root = spec["root"]
    mount("--make-rprivate", "/")
    make_root(root)
    mount_cgroups(root, spec["cgroups"])
    for source, target, mode in spec["binds"]:
        os.makedirs(root + target, exist_ok=True)
        mount("--bind", source, root + target)
        mount("-o", "remount,bind," + mode, root + target)
    for line in spec["sysctls"]:
        key, value = line.split("=")
        with open(f"{root}/proc/sys/{key}", "w", encoding="ascii") as f:
            f.write(value)
    pin_tunables(root)
    enter_root(root)
    subprocess.run(["hostname", spec["name"]], check=True)
    with open("/etc/hosts", "w", encoding="ascii") as hosts:
        hosts.write(f"127.0.0.1 localhost\n{spec['address']} {spec['name']}\n")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    os.write(1, b"ready\n")
    null = os.open("/dev/null", os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)
    serve()


if __name__ == "__main__":
    main()
