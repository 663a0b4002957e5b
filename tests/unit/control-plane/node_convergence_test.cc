// Whatever came, went and moved in which order: what a node has in the end is what it may see. Nodes come
// late, ask for all or by name, and come back with what they hold.
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <random>

#include "base/strings.h"
#include "control-plane/discovery/ads_service.h"
#include "control-plane/discovery/node_pods.h"
#include "control-plane/discovery/type_resources.h"
#include "proto/istio/workload.pb.h"
#include "proto/weft/mesh/v1/mesh.pb.h"
#include "tests/unit/control-plane/ads_node.h"
#include "tests/unit/control-plane/node_ads.h"

namespace weft::control_plane {
namespace {

namespace xds = envoy::service::discovery::v3;
using test::AdsNode;
using Held = test::AdsNode::Held;

Resource service(const std::string& name, const std::vector<std::string>& export_to, size_t edition) {
  istio::workload::Address address;
  address.mutable_service()->set_name(str_cat(name, "-", edition));
  mesh::v1::ServicePorts ports;
  for (const std::string& ns : export_to) ports.add_export_to(ns);
  auto& extension = *address.mutable_service()->add_extensions();
  extension.set_name("weft.mesh.v1.ServicePorts");
  extension.mutable_config()->set_value(ports.SerializeAsString());
  const std::string body = address.SerializeAsString();
  return {kAddressType, name, str_cat("v", std::hash<std::string>()(body)), body};
}

// The world, and what each node may see of it by the rules alone.
class World {
 public:
  explicit World(uint32_t seed) : random_(seed) {}

  size_t below(size_t limit) { return std::uniform_int_distribution<size_t>(0, limit - 1)(random_); }

  // `many`: of these are for all and stay.
  Change begin(size_t many) {
    Change out{.generation = ++generation_};
    for (size_t i = 0; i < many; ++i) put(str_cat("common-", i), {}, out);
    return out;
  }
  Change next() {
    Change out{.generation = ++generation_};
    for (size_t left = 1 + below(4); left > 0; --left) {
      const std::string name = str_cat("s", below(12));
      switch (below(5)) {
        case 0:
          if (services_.erase(name) > 0) remove(name, out);
          break;
        case 1:
          move_pod(str_cat("p", below(4)), out);
          break;
        case 2:
          put(str_cat("common-", below(20)), {}, out);
          break;
        default:
          put(name, scope(), out);
      }
    }
    return out;
  }
  Held seen_by(const AdsNode& node) const {
    std::set<std::string> namespaces;
    for (const auto& [pod, place] : pods_) {
      if (place.first == node.says().node) namespaces.insert(place.second);
    }
    Held out;
    for (const auto& [name, one] : services_) {
      const bool for_all = one.export_to.empty();
      const bool exported = std::any_of(one.export_to.begin(), one.export_to.end(),
                                        [&](const std::string& ns) { return namespaces.contains(ns); });
      const auto& names = node.says().services;
      const bool wanted = names.empty() || std::find(names.begin(), names.end(), name) != names.end();
      if ((for_all || exported) && wanted) out[{kAddressType, name}] = one.version;
    }
    return out;
  }

 private:
  struct One {
    std::vector<std::string> export_to;
    std::string version;
  };

  std::vector<std::string> scope() {
    const std::vector<std::vector<std::string>> all = {{}, {"x"}, {"y"}, {"x", "y"}, {"y", "z", "y"}};
    return all[below(all.size())];
  }
  void put(const std::string& name, const std::vector<std::string>& export_to, Change& out) {
    std::erase_if(out.removed, [&](const auto& gone) { return gone.second == name; });
    Resource made = service(name, export_to, below(3));
    services_[name] = {export_to, std::string(made.version())};
    std::erase_if(out.upserted, [&](const Resource& other) { return other.name() == name; });
    out.upserted.push_back(std::move(made));
  }
  static void remove(const std::string& name, Change& out) {
    std::erase_if(out.upserted, [&](const Resource& other) { return other.name() == name; });
    out.removed.emplace_back(kAddressType, name);
  }
  void move_pod(const std::string& name, Change& out) {
    const std::string nodes[] = {"a", "b"}, namespaces[] = {"x", "y", "z"};
    const std::pair<std::string, std::string> place(nodes[below(2)], namespaces[below(3)]);
    pods_[name] = place;
    const LocalPod pod{.uid = str_cat("pod-", name),
                       .ns = place.second,
                       .name = name,
                       .wants_capture = true,
                       .node = place.first};
    Change told;
    told.changed_pods = {pod};
    Change made;
    pods_told_.update(told, made);
    for (Resource& resource : made.upserted) {
      std::erase_if(out.upserted, [&](const Resource& other) {
        return other.name() == resource.name() && std::string_view(other.type_url()) == resource.type_url();
      });
      out.upserted.push_back(std::move(resource));
    }
  }

  std::mt19937 random_;
  uint64_t generation_ = 0;
  std::map<std::string, One> services_;
  std::map<std::string, std::pair<std::string, std::string>> pods_;  // node, namespace
  NodePods pods_told_;
};

class NodeConvergenceTest : public testing::TestWithParam<uint32_t> {
 protected:
  test::NodeAds serving_;
  AdsService* const ads_ = serving_.service();
  const std::string address_ = serving_.address();
};

TEST_P(NodeConvergenceTest, EachNodeHasWhatItMaySeeWhateverHappenedBefore) {
  World world(GetParam());
  // A third of the worlds is so large that first answers are shared.
  ads_->apply(world.begin(GetParam() % 3 == 0 ? 1'500 : 20));
  std::vector<std::unique_ptr<AdsNode>> nodes;
  nodes.push_back(std::make_unique<AdsNode>(address_, AdsNode::Says{.node = "a"}));
  for (int round = 0; round < 60; ++round) {
    ads_->apply(world.next());
    if (round == 20) nodes.push_back(std::make_unique<AdsNode>(address_, AdsNode::Says{.node = "b"}));
    if (round == 30)
      nodes.push_back(std::make_unique<AdsNode>(
          address_, AdsNode::Says{.node = "b", .services = {"s1", "s2", "s3", "none"}}));
    // Some read while it happens, as far as they come.
    if (world.below(3) == 0) nodes.front()->read_until(world.seen_by(*nodes.front()));
    if (round % 15 == 14) {
      // It comes back, and holds what it had.
      const Held held = nodes.front()->held();
      nodes.front() = std::make_unique<AdsNode>(address_, AdsNode::Says{.node = "a", .held = held});
    }
  }
  for (const auto& node : nodes) {
    node->read_until(world.seen_by(*node));
    EXPECT_EQ(node->held(), world.seen_by(*node)) << node->says().node;
    EXPECT_EQ(node->repeated(), 0U) << node->says().node;
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, NodeConvergenceTest, testing::Range(0U, 12U));

std::set<std::string> names(const std::function<void(const TypeResources::Visit&)>& walk) {
  std::set<std::string> out;
  walk([&out](const Resource& resource) {
    EXPECT_TRUE(out.emplace(resource.name()).second) << resource.name();
  });
  return out;
}

Resource plain(const std::string& name, const std::string& body = "b") {
  return {kRouteSetType, name, "v-" + body, body};
}

TEST(TypeResourcesTest, ANodeIsShownWhatIsForItEachOnce) {
  using Kind = Scope::Kind;
  TypeResources all;
  all.put(plain("all"), {});
  all.put(plain("none"), {.kind = Kind::kNone, .node = "", .namespaces = {}});
  all.put(plain("mine"), {.kind = Kind::kNode, .node = "a", .namespaces = {}});
  all.put(plain("other"), {.kind = Kind::kNode, .node = "b", .namespaces = {}});
  all.put(plain("edge"), {.kind = Kind::kGateways, .node = "", .namespaces = {}});
  all.put(plain("both"), {.kind = Kind::kNamespaces, .node = "", .namespaces = {"x", "y", "x"}});
  all.put(plain("key"), {.kind = Kind::kCaptured, .node = "", .namespaces = {"x", "y"}});
  all.put(plain("any key"), {.kind = Kind::kCaptured, .node = "", .namespaces = {"*"}});
  const NodeView node{.node = "a", .gateway = false, .namespaces = {"x", "y"}};
  const NodeView gateway{.node = "a", .gateway = true, .namespaces = {}};
  EXPECT_EQ(names([&](const auto& visit) { all.for_each(&node, visit); }),
            (std::set<std::string>{"all", "mine", "both"}));
  EXPECT_EQ(names([&](const auto& visit) { all.for_each(&gateway, visit); }),
            (std::set<std::string>{"all", "mine", "both", "edge", "key", "any key"}));
  EXPECT_EQ(names([&](const auto& visit) { all.for_each(nullptr, visit); }).size(), 8U);
  EXPECT_EQ(names([&](const auto& visit) { all.for_each_between(node, gateway, visit); }),
            (std::set<std::string>{"edge", "key", "any key"}));
  // The same pods, of which some are to be captured now.
  NodeView captures = node;
  captures.captured = {"y"};
  EXPECT_EQ(names([&](const auto& visit) { all.for_each(&captures, visit); }),
            (std::set<std::string>{"all", "mine", "both", "key", "any key"}));
  EXPECT_EQ(names([&](const auto& visit) { all.for_each_between(node, captures, visit); }),
            (std::set<std::string>{"key", "any key"}));
  captures.captured = {"z"};
  EXPECT_EQ(names([&](const auto& visit) { all.for_each_between(node, captures, visit); }),
            (std::set<std::string>{"any key"}));
  all.remove("any key");
  EXPECT_EQ(names([&](const auto& visit) { all.for_each(&captures, visit); }),
            (std::set<std::string>{"all", "mine", "both"}));
  const NodeView bare{.node = "a", .gateway = false, .namespaces = {}};
  EXPECT_EQ(names([&](const auto& visit) { all.for_each_between(node, bare, visit); }),
            (std::set<std::string>{"both"}));
  // For others now, and gone.
  all.put(plain("both"), {.kind = Kind::kNamespaces, .node = "", .namespaces = {"z"}});
  all.remove("mine");
  EXPECT_EQ(names([&](const auto& visit) { all.for_each(&node, visit); }), (std::set<std::string>{"all"}));
}

xds::DeltaDiscoveryResponse decoded(ResponseBytes& bytes) {
  grpc::ByteBuffer buffer = bytes.take();
  xds::DeltaDiscoveryResponse out;
  EXPECT_TRUE(grpc::SerializationTraits<xds::DeltaDiscoveryResponse>::Deserialize(&buffer, &out).ok());
  return out;
}

TEST(TypeResourcesTest, PagesThatAreSharedAreThoseOfNow) {
  TypeResources all;
  for (int i = 0; i < 2'000; ++i) all.put(plain(str_cat("r", i)), {});
  ResponseBytes first;
  all.add_common(first);
  EXPECT_EQ(first.resources(), 2'000U);
  EXPECT_EQ(decoded(first).resources_size(), 2'000);
  // Encoded for the first, which still keeps it.
  const auto kept = first.take_kept();
  all.put(plain("r7", "other"), {});
  all.remove("r8");
  ResponseBytes second;
  all.add_common(second);
  std::map<std::string, std::string> held;
  const auto response = decoded(second);
  for (const auto& each : response.resources()) held[each.name()] = each.version();
  EXPECT_EQ(held.size(), 1'999U);
  EXPECT_EQ(held["r7"], "v-other");
  EXPECT_FALSE(held.contains("r8"));
}

TEST(ResponseBytesTest, AreWhatProtobufWrites) {
  const std::string body(300, 'x');
  ResponseBytes bytes;
  bytes.begin(kRouteSetType, 12, "7");
  bytes.add(plain("a", body));
  std::string encoded;
  append_resource(plain("b", ""), encoded);
  EXPECT_EQ(encoded.size(), encoded_size(plain("b", "")));
  bytes.add_encoded(to_slice(encoded), 1);
  bytes.add_removed("gone");
  EXPECT_EQ(bytes.resources(), 2U);
  const xds::DeltaDiscoveryResponse response = decoded(bytes);
  EXPECT_EQ(response.system_version_info(), "12");
  EXPECT_EQ(response.type_url(), kRouteSetType);
  EXPECT_EQ(response.nonce(), "7");
  ASSERT_EQ(response.resources_size(), 2);
  EXPECT_EQ(response.resources(0).name(), "a");
  EXPECT_EQ(response.resources(0).version(), "v-" + body);
  EXPECT_EQ(response.resources(0).resource().type_url(), kRouteSetType);
  EXPECT_EQ(response.resources(0).resource().value(), body);
  EXPECT_EQ(response.resources(1).name(), "b");
  EXPECT_EQ(response.removed_resources(0), "gone");
  // Nothing is left for the next.
  EXPECT_EQ(bytes.resources(), 0U);
  EXPECT_EQ(decoded(bytes).ByteSizeLong(), 0U);
}

}  // namespace
}  // namespace weft::control_plane
