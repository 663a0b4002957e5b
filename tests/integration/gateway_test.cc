// Gateways on ports of a node before pods that take tunnels and refuse plaintext: each is somebody in the
// mesh where it dials, on whatever node the pod is.
#include "tests/integration/two_nodes.h"

namespace weft::harness {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kEdgeId[] = "spiffe://cluster.local/ns/default/sa/edge-weft";

// Of the Gateway: the first port is for HTTP, the next for TCP.
std::string gateway_yaml(const std::string& name, int port) {
  return str_cat("apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: ", name,
                 "}\nspec:\n  servers:\n", "  - {port: {number: ", port,
                 ", name: http, protocol: HTTP}, hosts: ['*']}\n", "  - {port: {number: ", port + 1,
                 ", name: tcp, protocol: TCP}, hosts: ['*']}\n---\n",
                 "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: ", name,
                 "}\nspec:\n  hosts: ['*']\n  gateways: [", name, "]\n",
                 "  http: [{route: [{destination: {host: product, port: {number: 80}}}]}]\n",
                 "  tcp: [{match: [{port: ", port + 1,
                 "}], route: [{destination: {host: product, port: {number: 7000}}}]}]\n---\n");
}

constexpr char kStrict[] =
    "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: default, namespace: "
    "default}\nspec: {mtls: {mode: STRICT}}\n---\n";
// Whom no rule names is refused its tunnel, before the application hears of it.
constexpr char kEdgeOnly[] =
    "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: edge-only, namespace: "
    "default}\nspec:\n  selector: {matchLabels: {app: product}}\n  rules:\n"
    "  - from: [{source: {principals: [cluster.local/ns/default/sa/edge-weft]}}]\n"
    "    to: [{operation: {methods: [GET], ports: ['8080']}}]\n"
    "  - from: [{source: {principals: [cluster.local/ns/default/sa/edge-weft]}}]\n"
    "    to: [{operation: {ports: ['7002']}}]\n---\n";

class GatewayMeshTest : public HboneTest {
 protected:
  static constexpr int kEdge = 18741, kOther = 18751;
  static constexpr char kRefused[] = "x-weft-reason: connect_refused";
  // What the server says of a connection, behind what the client says of its own.
  static constexpr char kServed[] = "\npeer=";

  // Each in its node's namespace, so that both can open the ports.
  void authorize(Mesh& node) override {
    HboneTest::authorize(node);
    node.run_in(topology_->host_netns(&node == node1_.get() ? 1 : 2));
  }
  // Of a client outside the mesh, at a port of this node.
  CommandResult at_node(uint32_t node, std::vector<std::string> argv) const {
    Spawn spawn;
    spawn.argv = std::move(argv);
    spawn.netns = topology_->host_netns(node);
    return run(spawn);
  }
  std::string get(uint32_t node, int port) const {
    return at_node(node, {"curl", "-s", "-i", "--max-time", "5", str_cat("http://127.0.0.1:", port, "/")})
        .output;
  }
  std::string connect(uint32_t node, int port) const {
    return at_node(node, {binary("weft-test-peer"), "dial", str_cat("127.0.0.1:", port)}).output;
  }
};

TEST_F(GatewayMeshTest, ReachesPodsThatRefusePlaintextAndIsKnownByItsOwnIdentity) {
  node1_->manifests().write("gateways.yaml", str_cat(kStrict, kEdgeOnly, gateway_yaml("edge", kEdge),
                                                     gateway_yaml("other", kOther)));
  // The pod is on the second node: from there it is no other tunnel, and no other answer.
  for (const uint32_t node : {1u, 2u}) {
    EXPECT_TRUE(wait_until(milliseconds(30'000),
                           [&] {
                             return get(node, kEdge).find(kAnswer) != std::string::npos &&
                                    get(node, kOther).find(kRefused) != std::string::npos;
                           }))
        << node << get(node, kEdge) << get(node, kOther) << logs();
    EXPECT_THAT(connect(node, kEdge + 1), HasSubstr(kServed)) << node << logs();
    EXPECT_THAT(connect(node, kOther + 1), Not(HasSubstr(kServed))) << node;
    EXPECT_THAT(get(node, kOther), Not(HasSubstr(kAnswer))) << node;
  }
  EXPECT_THAT(node2_->log(), HasSubstr(str_cat("identity=", kEdgeId)));
  for (const Mesh* node : {node1_.get(), node2_.get()})
    EXPECT_THAT(node->cli({"-o", "json", "cert", "list"}).output, HasSubstr(kEdgeId));
  EXPECT_THAT(curl(client_, {"--max-time", "3", "-i", "http://10.96.0.10/"}).output, HasSubstr(kRefused))
      << "pods are not the gateway";
}

}  // namespace
}  // namespace weft::harness
