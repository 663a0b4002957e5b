"""The node of the soak: agent and proxy of one build, two enrolled client pods and one that comes and goes, a service of two nginx pods
and one of peer.py, and the configuration in versions that differ in what must not disturb anybody. Used by soak.py."""
import os
import urllib.request

import arms
import configs
import weft_manifests

PEER_IP, CHURN_IP = "10.97.0.12", "10.97.0.20"
HTTP_PORT, GRPC_PORT, TCP_PORT, PEER_HTTP_PORT = 80, 81, 82, 83
PEER_ECHO_TARGET, PEER_HTTP_TARGET = 9001, 9002
CONNECTION_GAUGES = ("weft_proxy_downstream_connections", "weft_proxy_upstream_connections")
BALANCERS = ("ROUND_ROBIN", "LEAST_REQUEST", "RANDOM")


def service(name, address, ports):
    lines = "".join(f"  - name: {port_name}\n    port: {port}\n    targetPort: {target}\n" for port_name, port, target in ports)
    return (f"---\napiVersion: v1\nkind: Service\nmetadata:\n  name: {name}\n  namespace: default\nspec:\n"
            f"  clusterIP: {address}\n  clusterIPs:\n  - {address}\n  selector:\n    app: {name}\n  ports:\n{lines}")


def routing(version):
    """The same way for every request, by other rules."""
    matches = "".join(f"  - name: path-{i}\n    match:\n    - uri:\n        prefix: /only-in-{version}-{i}\n"
                      "    route:\n    - destination:\n        host: web\n" for i in range(version % 5))
    return (f"---\napiVersion: networking.istio.io/v1beta1\nkind: VirtualService\nmetadata:\n  name: web\nspec:\n  hosts:\n  - web\n"
            f"  http:\n{matches}  - name: default-{version % 3}\n    route:\n    - destination:\n        host: web\n"
            # An upstream that closes its listener resets what it had not accepted yet, for all clients at once.
            "    retries:\n      attempts: 2\n      retryOn: reset,connect-failure\n"
            "---\napiVersion: networking.istio.io/v1beta1\nkind: DestinationRule\nmetadata:\n  name: web\nspec:\n  host: web\n"
            "  trafficPolicy:\n    retryBudget:\n      percent: 100\n      minRetryConcurrency: 100\n"
            f"    loadBalancer:\n      simple: {BALANCERS[version % len(BALANCERS)]}\n")


class Node(arms.Weft):
    """`bin_dir`: of the build that it runs."""

    def __init__(self, world, name, host, bin_dir):
        self.bin_dir = bin_dir
        super().__init__(NodeView(world, bin_dir), name, host, "")
        m = world.machine
        self.second = f"{name}-2"
        self.guest = f"{name}-guest"
        self.second_address = m.add_pod(1, self.second, host + 1)
        self.guest_address = m.add_pod(1, self.guest, host + 2)
        self.version = 0
        self.enrolled = True

    def manifests(self):
        client = {"app": "client"}
        meshed = {**client, "weft.dev/mesh": "enabled"} if self.enrolled else client
        guest = {**client, "weft.dev/mesh": "enabled"} if self.enrolled and self.version % 3 == 1 else client
        world = self.world
        text = (weft_manifests.pod(self.netns, self.address, 1, meshed, self.netns)
                + weft_manifests.pod(self.second, self.second_address, 1, meshed, self.second)
                + weft_manifests.pod(self.guest, self.guest_address, 1, guest, self.guest)
                + weft_manifests.pod("peer", world.peer_address, 1, {"app": "peer"})
                + service("web", weft_manifests.SERVICE_IP, (("http", HTTP_PORT, configs.UPSTREAM_H1_PORT),
                                                             ("grpc", GRPC_PORT, configs.UPSTREAM_H2_PORT)))
                + service("peer", PEER_IP, (("tcp", TCP_PORT, PEER_ECHO_TARGET), ("http", PEER_HTTP_PORT, PEER_HTTP_TARGET)))
                + routing(self.version))
        for name, address in world.web_addresses.items():
            text += weft_manifests.pod(name, address, 1, {"app": "web"})
        if self.version % 4 == 2:
            text += service("churn", CHURN_IP, (("http", 80, 80),))
        return text

    def change(self):
        """The next version of the configuration, whole at once."""
        self.version += 1
        self.publish()

    def leave(self):
        """No pod is enrolled any more."""
        self.enrolled = False
        self.publish()

    def publish(self):
        path = self.root + "/config/mesh.yaml"
        with open(self.root + "/next.yaml", "w", encoding="utf-8") as f:
            f.write(self.manifests())
        os.replace(self.root + "/next.yaml", path)

    def wait_served(self):
        arms.Arm.wait_served(self)

    def connections(self):
        """Of the proxy, to clients and to endpoints, as it counts them."""
        with urllib.request.urlopen(f"http://{self.metrics_address}/metrics", timeout=30) as page:
            lines = page.read().decode().splitlines()
        return sum(int(float(line.split()[-1])) for line in lines if line.split(" ")[0] in CONNECTION_GAUGES)


class NodeView:
    """The world, but with the binaries of one build, as far as it has them."""

    def __init__(self, world, bin_dir):
        self.whole, self.bin_dir = world, bin_dir

    def binary(self, name):
        options = self.whole.options
        paths = [os.path.join(folder, name) for folder in (self.bin_dir, options.bin_dir, options.asan_bin_dir) if folder]
        return next((path for path in paths if os.access(path, os.X_OK)), paths[0])

    def __getattr__(self, name):
        return getattr(self.whole, name)
