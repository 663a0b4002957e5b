"""The node of `tools/dev bench fairness`: one weft-agent, one weft-proxy with one worker, and two enrolled client pods that share it.
`quiet` is the pod whose figures count, `loud` the one beside it; each has a service and an upstream pod of its own. Used by
bench.py."""
import arms
import configs
import weft_manifests

LOUD_SERVICE_IP = "10.97.0.11"
HTTP_PORT, TCP_PORT, CLOSING_PORT = 80, 82, 83
# Where the upstream pod of `quiet` has closing.py.
CLOSING_TARGET_PORT = 8083
# The loud pod and its upstream give way on the CPU that all but the proxy share: what is looked at is the proxy.
LOUD_NICE = 10


def service(name, address, ports):
    lines = "".join(f"  - name: {port_name}\n    port: {port}\n    targetPort: {target}\n" for port_name, port, target in ports)
    return (f"---\napiVersion: v1\nkind: Service\nmetadata:\n  name: {name}\n  namespace: default\nspec:\n"
            f"  clusterIP: {address}\n  clusterIPs:\n  - {address}\n  selector:\n    app: {name}\n  ports:\n{lines}")


class Client:
    """One client pod as slices.py sees an arm."""

    def __init__(self, node, name, address, targets):
        self.world, self.name, self.netns, self.cgroup = node.world, name, name, node.cgroup + "/" + name
        self.address, self.targets, self.node = address, targets, node

    @property
    def proxy(self):
        return self.node.proxy

    @property
    def upstream(self):
        return self.world.loud_upstream


class Direct:
    """Two pods without a proxy: what CPUs, kernel and upstreams that they share do to them by themselves."""

    proxy = None

    def __init__(self, world, host):
        self.world, self.name, self.netns, self.cgroup = world, "no proxy", "direct", "direct"
        world.machine.add_pod(1, self.netns, host)
        self.targets = {"h1": f"{world.upstream_address}:{configs.UPSTREAM_H1_PORT}"}
        loud = f"{world.loud_address}:{configs.UPSTREAM_H1_PORT}"
        self.loud = Client(self, "direct-loud", world.machine.add_pod(1, "direct-loud", host + 50), {"h1": loud, "tcp": loud})
        self.closing = world.upstream_address, CLOSING_TARGET_PORT

    @property
    def upstream(self):
        return self.world.upstream


class Node(arms.Weft):
    """The arm: its own client pod is `quiet`."""

    def __init__(self, world, name, host, io):
        super().__init__(world, name, host, io)
        self.closing = weft_manifests.SERVICE_IP, CLOSING_PORT
        loud = f"{name}-loud"
        self.loud = Client(self, loud, world.machine.add_pod(1, loud, host + 50),
                           {"h1": f"{LOUD_SERVICE_IP}:{HTTP_PORT}", "tcp": f"{LOUD_SERVICE_IP}:{TCP_PORT}"})

    def manifests(self):
        enrolled = {"app": "client", "weft.dev/mesh": "enabled"}
        quiet_ports = (("http", HTTP_PORT, configs.UPSTREAM_H1_PORT), ("tcp-closing", CLOSING_PORT, CLOSING_TARGET_PORT))
        loud_ports = (("http", HTTP_PORT, configs.UPSTREAM_H1_PORT), ("tcp", TCP_PORT, configs.UPSTREAM_H1_PORT))
        return (weft_manifests.pod(self.netns, self.address, 1, enrolled, self.netns)
                + weft_manifests.pod(self.loud.netns, self.loud.address, 1, enrolled, self.loud.netns)
                + weft_manifests.pod("upstream", self.world.upstream_address, 1, {"app": "web"})
                + weft_manifests.pod("upstream-loud", self.world.loud_address, 1, {"app": "loud"})
                + service("web", weft_manifests.SERVICE_IP, quiet_ports)
                + service("loud", LOUD_SERVICE_IP, loud_ports))

    def wait_served(self):
        arms.Arm.wait_served(self)
        self.wait_answer(self.loud, "h1")
        self.wait_answer(self.loud, "tcp")

    def wait_answer(self, client, protocol):
        for _ in range(100):
            out = self.world.client_output(client, [self.world.binary("weft-bench-load"), client.targets[protocol], "--path", "/b1k",
                                                    "-n", "1", "--interval", "0", "--timeout", "1"])
            if '"200":1' in out:
                return
            self.world.pause(0.2)
        raise arms.Unavailable(f"{client.name} gets no answer from {client.targets[protocol]}: {self.log()}")
