"""One slice of work on one arm, and what it cost: a load generator on connections that stay open between slices, and the CPU time
that the proxy, all processes of the arm, and the whole machine spent meanwhile. Used by measures.py."""
import json
import os
import re
import subprocess

import arms

TICKS_US = 1e6 / os.sysconf("SC_CLK_TCK")


def process_ns(pid):
    """CPU time of all threads (/proc/PID/task/TID/schedstat, first field)."""
    total = 0
    for tid in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{tid}/schedstat", encoding="ascii") as f:
                total += int(f.read().split()[0])
        except OSError:
            pass
    return total


def machine_us():
    """Busy time of all CPUs, kernel threads and interrupts included (/proc/stat)."""
    with open("/proc/stat", encoding="ascii") as f:
        fields = [int(field) for field in f.readline().split()[1:]]
    user, nice, system, _idle, _iowait, irq, softirq, steal = fields[:8]
    return (user + nice + system + irq + softirq + steal) * TICKS_US


def user_share(pid):
    """(user, system) ticks of the process so far (/proc/PID/stat)."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return int(fields[11]), int(fields[12])


class Meter:
    """Reads the clocks of an arm before and after."""

    def __init__(self, arm, client_pid=None):
        self.arm = arm
        self.pids = {"upstream": arm.upstream.pid}
        if client_pid:
            self.pids["client"] = client_pid
        if arm.proxy:
            self.pids["proxy"] = arm.proxy.pid
        self.before = self.read()
        self.ticks_before = self.ticks()

    def ticks(self):
        return user_share(self.arm.proxy.pid) if self.arm.proxy else (0, 0)

    def read(self):
        clocks = {name: process_ns(pid) / 1000 for name, pid in self.pids.items()}
        clocks["machine"] = machine_us()
        return clocks

    def per_request(self, requests):
        after = self.read()
        spent = {name: (after[name] - self.before[name]) / max(1, requests) for name in after}
        spent["processes"] = sum(spent[name] for name in self.pids)
        spent.setdefault("proxy", 0.0)
        # Too coarse for one slice; over the rounds they say how the time divides.
        spent["user_ticks"], spent["system_ticks"] = (b - a for a, b in zip(self.ticks_before, self.ticks()))
        return spent


class Load:
    """weft-bench-load in the client pod of an arm; its connections stay open until close(). `more`: options of its own, `nice`: if
    not that of all."""

    def __init__(self, arm, connections, path, protocol="h1", more=(), nice=None):
        self.arm = arm
        world = arm.world
        self.process = world.machine.start(
            [world.binary("weft-bench-load"), arm.targets[protocol], "--host", "web", "--path", path, "-c", str(connections),
             "--timeout", "10", "--slices", *more],
            arm.netns, arm.cgroup + "/client", subprocess.PIPE, cpu=arms.other_cpu(), stdin=subprocess.PIPE, nice=nice)
        self.empty_syscall_ns = self.line()["empty_syscall_ns"]

    def line(self):
        text = self.process.stdout.readline()
        if not text:
            raise arms.Unavailable(f"{self.arm.name}: the load generator ended")
        return json.loads(text)

    def run(self, seconds, rate=0):
        """Figures of the slice; rate 0: every connection sends as fast as answers come."""
        self.begin(seconds, rate)
        return self.finish()

    def begin(self, seconds, rate=0):
        """Starts a slice; finish() waits for its end."""
        self.meter = Meter(self.arm, self.process.pid)
        self.process.stdin.write(f"{seconds} {rate}\n")
        self.process.stdin.flush()

    def finish(self):
        out = self.line()
        figures = {"cpu": self.meter.per_request(out["requests"]), "requests": out["requests"], "rps": out["rps"],
                   "connections": out["connections"],
                   "p50": out["p50_us"], "p99": out["p99_us"], "failed": out["failed"], "seconds": out["t"],
                   "body_bytes": out["body_bytes"]}
        if out["requests"] == 0:
            raise arms.Unavailable(f"{self.arm.name}: no request was answered: {out['failures']}")
        return figures

    def close(self):
        self.process.stdin.close()
        self.process.wait(20)
        self.arm.world.machine.processes.remove(self.process)
        self.process.stdout.close()


H2LOAD_REQUESTS = re.compile(r"requests: (\d+) total.* (\d+) succeeded, (\d+) failed")
H2LOAD_RATE = re.compile(r"finished in [\d.]+m?s, ([\d.]+) req/s")


class H2Load:
    """h2load in the client pod; new connections for each slice, whose few handshakes are no part of TLS."""

    def __init__(self, arm, protocol, path, grpc_body=None):
        self.arm = arm
        self.argv = ["h2load", "-c", "8", "-m", "16", "--warm-up-time", "0"]
        if grpc_body:
            self.argv += ["-d", grpc_body, "-H", "content-type: application/grpc", "-H", "te: trailers"]
        self.url = f"http://{arm.targets[protocol]}{path}"

    def run(self, seconds, _rate=0):
        meter = Meter(self.arm)
        out = self.arm.world.client_output(self.arm, [*self.argv, "-D", f"{int(seconds * 1000)}ms", self.url])
        done = H2LOAD_REQUESTS.search(out)
        succeeded = int(done.group(2)) if done else 0
        cpu = meter.per_request(succeeded)
        if succeeded == 0:
            raise arms.Unavailable(f"{self.arm.name}: h2load got no answer from {self.url}: {out[-500:]}")
        rate = H2LOAD_RATE.search(out)
        return {"cpu": cpu, "requests": succeeded, "rps": float(rate.group(1)) if rate else 0, "failed": int(done.group(3))}

    def close(self):
        pass
