"""One machine of the test cluster seen from outside: namespaces of its own (mount, network, host name, IPC, cgroup), in cgroups of its own. Used by cluster.py. Nothing is made in the network of the real machine."""
import json
import os
import re
import select
import shutil
import signal
import subprocess
import time

HERE = os.path.dirname(os.path.abspath(__file__))
# What may be removed by name: its processes are killed, whoever they are of.
CLUSTER_NAME = re.compile(r"weft-[a-z0-9-]+")
HIERARCHY_OPTION = re.compile(r"^(cpu|cpuacct|cpuset|memory|devices|freezer|blkio|pids|net_cls|net_prio|perf_event|hugetlb|rdma|misc|name=.+)$")


class ClusterError(Exception):
    """The cluster cannot go on; the message says why and where to look."""


def hierarchies():
    """The cgroup mounts of the real machine, with what it takes to mount the same again."""
    found = []
    with open("/proc/mounts", encoding="utf-8") as mounts:
        for line in mounts:
            _, at, kind, options, *_ = line.split()
            if kind not in ("cgroup", "cgroup2") or not (at + "/").startswith("/sys/fs/cgroup/"):
                continue
            kept = [o for o in options.split(",") if HIERARCHY_OPTION.match(o)]
            if any(o.startswith("name=") for o in kept):
                kept.insert(0, "none")
            found.append({"at": at, "type": kind, "options": ",".join(kept) if kind == "cgroup" else ""})
    if not found:
        raise ClusterError("no cgroups are mounted below /sys/fs/cgroup")
    return found


def make_group(hierarchy, path):
    """`path` below the root of a hierarchy, ready to take processes and to have children with limits."""
    at = hierarchy["at"]
    for part in path.split("/"):
        if hierarchy["type"] == "cgroup2":
            enable_controllers(at)
        parent, at = at, f"{at}/{part}"
        os.makedirs(at, exist_ok=True)
        for name in ("cpuset.cpus", "cpuset.mems"):
            if hierarchy["type"] == "cgroup" and os.path.exists(f"{at}/{name}"):
                with open(f"{parent}/{name}", encoding="ascii") as f:
                    value = f.read()
                with open(f"{at}/{name}", "w", encoding="ascii") as f:
                    f.write(value)
    return at


def enable_controllers(at):
    try:
        with open(at + "/cgroup.controllers", encoding="ascii") as f:
            controllers = f.read().split()
        if controllers:
            with open(at + "/cgroup.subtree_control", "w", encoding="ascii") as f:
                f.write(" ".join("+" + c for c in controllers))
    except OSError as error:
        # EBUSY: this is a container, whose processes are in the group that stands at /sys/fs/cgroup.
        raise ClusterError(f"{at}: its controllers cannot be given to groups below it: {error.strerror}; a machine of its own can, or a "
                           "container whose processes were moved to a group below") from error


def refusal():
    """Why this machine cannot have a cluster, as far as a trial of its cgroups says; None when it can."""
    name = f"weft-trial-{os.getpid()}"
    try:
        found = hierarchies()
        try:
            for hierarchy in found:
                make_group(hierarchy, name + "/node")
        finally:
            kill_groups(name)
    except (ClusterError, OSError) as error:
        return str(error)
    return None


def checked_name(cluster):
    if not CLUSTER_NAME.fullmatch(cluster):
        raise ClusterError(f"'{cluster}' is no name of a cluster: weft- and then lower case letters, digits and hyphens")
    return cluster


def groups_below(path):
    """Cgroups at and below `path` of every hierarchy, children first."""
    for hierarchy in hierarchies():
        for folder, _, _ in os.walk(f"{hierarchy['at']}/{path}", topdown=False):
            yield folder


def kill_groups(path, seconds=20):
    """Kills what lives in these cgroups of a cluster, however it came there, and removes them."""
    checked_name(path.split("/")[0])
    deadline = time.monotonic() + seconds
    while True:
        for folder in groups_below(path):
            try:
                with open(folder + "/cgroup.procs", encoding="ascii") as f:
                    for pid in f.read().split():
                        # 0 is a process of another PID namespace, which cannot be ours.
                        if pid != "0":
                            os.kill(int(pid), signal.SIGKILL)
                os.rmdir(folder)
            except OSError:
                pass
        left = list(groups_below(path))
        if not left:
            return
        if time.monotonic() > deadline:
            raise ClusterError("cgroups that cannot be removed: " + " ".join(left))
        # A cgroup says in no file of every version that it is empty.
        time.sleep(0.05)


class Machine:
    def __init__(self, cluster, name, address):
        self.cluster = cluster
        self.name = name
        self.address = address
        self.folder = f"/run/{cluster}/{name}"
        self.group = f"{cluster}/{name}"

    @property
    def pid(self):
        """Of its first process."""
        with open(self.folder + "/pid", encoding="ascii") as f:
            return int(f.read())

    def open(self, binds, sysctls=()):
        """Makes the machine. binds: (folder outside, folder inside, "ro" or "rw")."""
        for folder in ("root", "log"):
            os.makedirs(f"{self.folder}/{folder}")
        os.mkfifo(self.folder + "/log/orders")
        spec = {"name": self.name, "address": self.address, "root": self.folder + "/root", "cgroups": hierarchies(),
                "binds": [(self.folder + "/log", "/var/log/cluster", "rw"), *binds], "sysctls": list(sysctls)}
        groups = [make_group(h, self.group) for h in spec["cgroups"]]

        def join():
            for group in groups:
                with open(group + "/cgroup.procs", "w", encoding="ascii") as f:
                    f.write("0")

        with open(self.folder + "/log/init.log", "ab") as log:
            # No PID namespace: kernel programs know processes by their ids on the real machine, and so must an agent on the node.
            first = subprocess.Popen(
                ["unshare", "--mount", "--net", "--ipc", "--uts", "--cgroup", "--", "/usr/bin/python3", "-B", HERE + "/machine_init.py",
                 json.dumps(spec)],
                preexec_fn=join, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, start_new_session=True, cwd="/")
        with open(self.folder + "/pid", "w", encoding="ascii") as f:
            f.write(str(first.pid))
        if not select.select([first.stdout], [], [], 30)[0] or first.stdout.readline() != b"ready\n":
            raise ClusterError(f"{self.name} did not start\n{self.log('init')}")

    def start(self, name, argv):
        self.order({"name": name, "argv": argv})

    def stop(self, name, number=signal.SIGTERM):
        self.order({"name": name, "signal": int(number)})

    def order(self, order):
        try:
            # Blocking, this would wait forever for a first process that is gone.
            orders = os.open(self.folder + "/log/orders", os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            raise ClusterError(f"{self.name} takes no orders: {error.strerror}\n{self.log('init')}") from error
        with open(orders, "w", encoding="utf-8") as f:
            f.write(json.dumps(order) + "\n")

    def runs(self, name):
        """False when it was never started, or has ended."""
        try:
            with open(self.folder + "/log/programs", encoding="ascii") as f:
                lines = [line.strip() for line in f if line.startswith(name + " ")]
        except FileNotFoundError:
            return False
        return bool(lines) and lines[-1].endswith(" started")

    def log(self, name, length=2500):
        try:
            with open(f"{self.folder}/log/{name}.log", encoding="utf-8", errors="replace") as f:
                return f"--- {self.name}: {name}\n" + f.read()[-length:]
        except FileNotFoundError:
            return f"--- {self.name}: {name} wrote no log"

    def inside(self, argv):
        """What to run for `argv` to run on the machine, with its files and processes."""
        return ["nsenter", "--target", str(self.pid), "--all", "--", *argv]

    def on_its_network(self, argv):
        """What to run for `argv` to run here, with the machine's network."""
        return ["nsenter", "--target", str(self.pid), "--net", "--", *argv]

    def run(self, *argv, check=True, timeout=60):
        try:
            out = subprocess.run(self.inside(argv), text=True, capture_output=True, timeout=timeout, check=False)
        except subprocess.TimeoutExpired as error:
            raise ClusterError(f"{self.name}: {' '.join(argv)}: no end after {timeout} s") from error
        if check and out.returncode != 0:
            raise ClusterError(f"{self.name}: {' '.join(argv)}: {out.stderr.strip()}")
        return out.stdout

    def processes(self):
        """Id -> name of what runs in its cgroups, in containers too."""
        found = {}
        for folder in groups_below(self.group):
            try:
                with open(folder + "/cgroup.procs", encoding="ascii") as f:
                    pids = f.read().split()
                for pid in pids:
                    with open(f"/proc/{pid}/comm", encoding="utf-8") as f:
                        found[int(pid)] = f.read().strip()
            except OSError:
                # It, or its group, ended meanwhile.
                pass
        return found

    def commands(self):
        """Their names."""
        return set(self.processes().values())

    def wait_for(self, program, seconds, ready):
        """Until ready() is true; over at once when the program has died."""
        deadline = time.monotonic() + seconds
        while not ready():
            if time.monotonic() > deadline:
                raise ClusterError(f"{self.name}: {program} was not ready after {seconds} s\n{self.log(program)}")
            if os.path.exists(self.folder + "/log/programs") and f"{program} ended" in self.programs():
                raise ClusterError(f"{self.name}: {program} ended\n{self.log(program)}")
            time.sleep(0.05)

    def programs(self):
        with open(self.folder + "/log/programs", encoding="ascii") as f:
            return f.read()


def remove(cluster):
    """Everything of a cluster of this name, whoever made it and however that ended."""
    kill_groups(checked_name(cluster))
    shutil.rmtree("/run/" + cluster, ignore_errors=True)
