"""A corner of the machine: scratch folder, cgroup, bpffs, two nodes and their pods as network namespaces, and processes inside
them. Used by demo.py and by tools/bench/l7; runs in a private mount namespace (tools/demo/run, tools/bench/l7)."""
import ctypes
import os
import select
import shutil
import signal
import subprocess

PREFIX = "weft-demo-"
CLONE_NEWNET = 0x40000000
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None, use_errno=True)
# What ends the demo; see on_signal of demo.py.
END_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def cgroup2_root():
    with open("/proc/mounts", encoding="utf-8") as mounts:
        for line in mounts:
            if line.split()[2] == "cgroup2":
                return line.split()[1]
    raise RuntimeError("no cgroup2 is mounted")


def kill_cgroup(path):
    """Kills what lives in the cgroup and waits until it is gone, at most five seconds."""
    with open(path + "/cgroup.kill", "w", encoding="ascii") as f:
        f.write("1")
    # cgroup.events changes (POLLPRI) when the last process is gone.
    with open(path + "/cgroup.events", encoding="ascii") as events:
        poller = select.poll()
        poller.register(events, select.POLLPRI)
        for _ in range(50):
            events.seek(0)
            if "populated 1" not in events.read():
                return
            poller.poll(100)


def remove_cgroup(path):
    """Kills what lives in the cgroup, then removes it, children first. Again when something joined it meanwhile."""
    for _ in range(10):
        try:
            kill_cgroup(path)
        except OSError:
            pass
        for folder, _, _ in os.walk(path, topdown=False):
            try:
                os.rmdir(folder)
            except OSError:
                pass
        if not os.path.exists(path):
            return


def set_nice(value):
    """Of this process, and of its session where sessions share the CPUs among themselves first (sched(7), autogroups)."""
    os.setpriority(os.PRIO_PROCESS, 0, value)
    try:
        with open("/proc/self/autogroup", "w", encoding="ascii") as f:
            f.write(str(value))
    except OSError:
        pass


def sweep(prefix=PREFIX):
    """What runs left that were killed before they could tidy up."""
    for parent, remove in ((cgroup2_root(), remove_cgroup), ("/run", lambda p: shutil.rmtree(p, ignore_errors=True))):
        for name in os.listdir(parent):
            pid = name[len(prefix):]
            if name.startswith(prefix) and pid.isdigit() and not os.path.exists("/proc/" + pid):
                remove(os.path.join(parent, name))


class Machine:
    """Everything made here is removed by close()."""

    def __init__(self, prefix=PREFIX, nice=0):
        self.prefix = prefix
        self.nice = nice  # of every process
        name = prefix + str(os.getpid())
        self.folder = "/run/" + name
        self.cgroup = os.path.join(cgroup2_root(), name)
        self.processes = []

    def open(self):
        sweep(self.prefix)
        for path in (self.folder, self.cgroup, self.folder + "/bpf", self.folder + "/run", self.folder + "/config"):
            os.mkdir(path, 0o755)
        os.makedirs("/run/netns", exist_ok=True)
        self.command("mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", "/run/netns")
        self.command("mount", "-t", "bpf", "bpffs", self.folder + "/bpf")

    def close(self):
        for process in reversed(self.processes):
            stop(process, 0.5)
        remove_cgroup(self.cgroup)
        for path in (self.folder + "/bpf", "/run/netns"):
            subprocess.run(["umount", "-l", path], stderr=subprocess.DEVNULL, check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    @staticmethod
    def command(*argv):
        out = subprocess.run(argv, text=True, capture_output=True, check=False)
        if out.returncode != 0:
            raise RuntimeError(f"{' '.join(argv)}: {out.stderr.strip()}")
        return out.stdout

    def ip(self, netns, *lines):
        batch = self.folder + "/ip.batch"
        with open(batch, "w", encoding="ascii") as f:
            f.write("\n".join(lines) + "\n")
        self.command("ip", *(["-n", netns] if netns else []), "-batch", batch)

    def add_node(self, number):
        node = f"node{number}"
        self.ip("", f"netns add {node}")
        self.ip(node, "link set lo up", "link add br0 type bridge", "link set br0 up",
                f"addr add 10.78.{number}.1/24 dev br0")
        self.write_in(node, "/proc/sys/net/ipv4/ip_forward", "1")

    def join_nodes(self):
        self.ip("node1", "link add up0 type veth peer name up0 netns node2", "link set up0 up",
                "addr add 10.78.0.1/24 dev up0")
        self.ip("node2", "link set up0 up", "addr add 10.78.0.2/24 dev up0", "route add 10.78.1.0/24 via 10.78.0.1")
        self.ip("node1", "route add 10.78.2.0/24 via 10.78.0.2")

    def add_pod(self, node, name, host):
        """Its address."""
        address = f"10.78.{node}.{host}"
        self.ip("", f"netns add {name}")
        self.ip(f"node{node}", f"link add p{host} type veth peer name eth0 netns {name}", f"link set p{host} master br0 up")
        self.ip(name, "link set lo up", "link set eth0 up", f"addr add {address}/24 dev eth0",
                f"route add default via 10.78.{node}.1")
        return address

    def write_in(self, netns, path, text):
        self.command("ip", "netns", "exec", netns, "sh", "-c", f"echo {text} > {path}")

    def start(self, argv, netns=None, cgroup="pods", stdout=None, log=None, cpu=None, stdin=subprocess.DEVNULL,
              stderr=None, nice=None):
        """A process in a namespace and a child of the scratch cgroup, on one CPU or all; it dies with us. `nice`: if not that of
        the others."""
        nice = self.nice if nice is None else nice
        group = os.path.join(self.cgroup, cgroup)
        os.makedirs(group, exist_ok=True)
        # A signal between fork and the list of processes would leave one behind that nobody ends.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, END_SIGNALS)

        def enter():
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            with open(group + "/cgroup.procs", "w", encoding="ascii") as f:
                f.write("0")
            if netns:
                fd = os.open("/run/netns/" + netns, os.O_RDONLY)
                if LIBC.setns(fd, CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), "setns")
                os.close(fd)
            if cpu is not None:
                os.sched_setaffinity(0, {cpu})
            if nice:
                set_nice(nice)

        try:
            with open(log or os.devnull, "ab") as sink:
                # An own session: Ctrl-C reaches the demo, which ends its processes in order.
                process = subprocess.Popen(argv, stdin=stdin, stdout=stdout or sink, stderr=stderr or sink,
                                           preexec_fn=enter, start_new_session=True, text=True)
            self.processes.append(process)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        return process

    def start_nginx(self, netns, version):
        root = f"{self.folder}/nginx-{version}"
        os.mkdir(root)
        temporary = "".join(f"{kind}_temp_path {root}/{kind};\n" for kind in
                            ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        with open(root + "/nginx.conf", "w", encoding="ascii") as f:
            f.write(f"daemon off; master_process off; user root; pid {root}/pid; error_log stderr warn;\n"
                    "events { worker_connections 4096; }\n"
                    f"http {{ access_log off; keepalive_requests 100000000; {temporary}"
                    f"server {{ listen 8080 backlog=4096; add_header x-version {version} always;\n"
                    f"location / {{ return 200 \"product-service {version}\\n\"; }} }} }}\n")
        return self.start(["nginx", "-e", "stderr", "-p", root, "-c", root + "/nginx.conf"], netns,
                          log=f"{self.folder}/nginx-{version}.log")


def stop(process, patience):
    """SIGTERM, then SIGKILL; the exit code."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)
    return process.returncode
