// Which keys a node has, whatever came, went and moved in which order: Secrets, Gateways and DestinationRules
// that name them, ServiceEntries that say whose a host is, pods that are captured or not. What it was told
// change by change is what the rules say, and what a node that comes in the end is told.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "base/strings.h"
#include "control-plane/discovery/node_pods.h"
#include "proto/weft/mesh/v1/mesh.pb.h"
#include "tests/unit/control-plane/ads_node.h"
#include "tests/unit/control-plane/node_ads.h"

namespace weft::control_plane {
namespace {

using test::AdsNode;
using Held = test::AdsNode::Held;

Resource make(const char* type, const std::string& name, const std::string& body) {
  return {type, name, str_cat("v", std::hash<std::string>()(body)), body};
}

// The world, and which keys each node needs by the rules alone.
class World {
 public:
  explicit World(uint32_t seed) : random_(seed) {}

  size_t below(size_t limit) { return std::uniform_int_distribution<size_t>(0, limit - 1)(random_); }

  Change next() {
    Change out{.generation = ++generation_};
    for (size_t left = 1 + below(3); left > 0; --left) {
      switch (below(6)) {
        case 0:
          move_pod(str_cat("p", below(4)), any({"a", "b"}), any({"x", "y", "istio-system"}), below(3) > 0,
                   out);
          break;
        case 1:
          change_gateway(str_cat("gateway/", below(2)), out);
          break;
        case 2:
          change_service(out);
          break;
        case 3:
          change_secret(str_cat(any({"x", "y", "istio-system"}), "/", any({"k1", "k1-cacert", "k2", "k3"})),
                        out);
          break;
        default:
          change_rule(any({"x", "y", "istio-system"}), str_cat("r", below(2)), out);
      }
    }
    return out;
  }
  // What every node sees comes last: who has it has had all that was before.
  Change end() {
    Change out{.generation = ++generation_};
    for (const char* node : {"a", "b"}) move_pod(str_cat("last-", node), node, "x", true, out);
    put_rule("x/last", {.ns = "x", .host = "*.last.example", .credential = "last", .export_to = {}}, out);
    put_secret("x/last", "1", out);
    return out;
  }

  Held needed_by(const AdsNode::Says& node) const {
    std::set<std::string> captured;
    for (const auto& [name, pod] : pods_) {
      if (pod.node == node.node && pod.captured) captured.insert(pod.ns);
    }
    Held out;
    for (const auto& [name, version] : secrets_) {
      const bool needed =
          std::any_of(rules_.begin(), rules_.end(),
                      [&](const auto& rule) { return uses(rule.second, name, captured, node.gateway); }) ||
          (node.gateway && std::any_of(gateways_.begin(), gateways_.end(),
                                       [&](const auto& gateway) { return gateway.second.contains(name); }));
      if (needed) out[{kSecretType, name}] = version;
    }
    return out;
  }

 private:
  struct Pod {
    std::string node, ns;
    bool captured = false;
  };
  struct Rule {
    std::string ns, host, credential;
    std::vector<std::string> export_to;  // empty: all
  };

  bool uses(const Rule& rule, const std::string& secret, const std::set<std::string>& captured,
            bool gateway) const {
    const std::string own = str_cat(rule.ns, "/", rule.credential);
    if (secret != own && secret != str_cat(own, "-cacert")) return false;
    return gateway || std::any_of(captured.begin(), captured.end(),
                                  [&](const std::string& client) { return applies(rule, client); });
  }
  // The rule's own clients; and others that see it, where it is the service's own, or nobody's, or the
  // mesh's.
  bool applies(const Rule& rule, const std::string& client) const {
    if (client == rule.ns) return true;
    const auto& to = rule.export_to;
    if (!to.empty() && std::find(to.begin(), to.end(), client) == to.end()) return false;
    const bool of_y = rule.host == "db.y.svc.cluster.local";
    return rule.ns == "istio-system" || !of_y || rule.ns == "y" ||
           services_.contains(str_cat(rule.ns, "/", rule.host));
  }

  std::string any(const std::vector<std::string>& all) { return all[below(all.size())]; }

  // One that comes after another of its name takes its place.
  static void put(Resource made, Change& out) {
    const auto same = [&made](std::string_view type, std::string_view name) {
      return type == std::string_view(made.type_url()) && name == made.name();
    };
    std::erase_if(out.removed, [&](const auto& gone) { return same(gone.first, gone.second); });
    std::erase_if(out.upserted, [&](const Resource& other) { return same(other.type_url(), other.name()); });
    out.upserted.push_back(std::move(made));
  }
  static void remove(const char* type, const std::string& name, Change& out) {
    std::erase_if(out.upserted, [&](const Resource& other) {
      return std::string_view(other.type_url()) == type && other.name() == name;
    });
    out.removed.emplace_back(type, name);
  }

  void put_secret(const std::string& name, const std::string& edition, Change& out) {
    Resource made = make(kSecretType, name, str_cat("key ", name, " ", edition));
    secrets_[name] = std::string(made.version());
    put(std::move(made), out);
  }
  void change_secret(const std::string& name, Change& out) {
    if (below(3) > 0) return put_secret(name, str_cat(below(2)), out);
    if (secrets_.erase(name) > 0) remove(kSecretType, name, out);
  }

  void put_rule(const std::string& name, const Rule& rule, Change& out) {
    mesh::v1::DestinationPolicy policy;
    policy.set_namespace_(rule.ns);
    policy.set_host(rule.host);
    for (const std::string& ns : rule.export_to) policy.add_export_to(ns);
    // Whatever part of the rule names it.
    (below(2) > 0 ? policy.mutable_traffic_policy() : policy.add_subsets()->mutable_traffic_policy())
        ->mutable_tls()
        ->set_credential_name(rule.credential);
    rules_[name] = rule;
    put(make(kDestinationPolicyType, name, policy.SerializeAsString()), out);
  }
  void change_rule(const std::string& ns, const std::string& short_name, Change& out) {
    const std::string name = str_cat(ns, "/", short_name);
    if (below(4) == 0) {
      if (rules_.erase(name) > 0) remove(kDestinationPolicyType, name, out);
      return;
    }
    const std::vector<std::vector<std::string>> exports = {{}, {}, {"x"}, {"y"}, {"x", "istio-system"}};
    put_rule(name,
             {.ns = ns,
              .host = any({"partner.example", "db.y.svc.cluster.local", "*.y.svc.cluster.local"}),
              .credential = any({"k1", "k2", "k3"}),
              .export_to = exports[below(exports.size())]},
             out);
  }

  void change_gateway(const std::string& name, Change& out) {
    if (below(4) == 0) {
      if (gateways_.erase(name) > 0) remove(kRouteSetType, name, out);
      return;
    }
    mesh::v1::RouteSet routes;
    mesh::v1::TlsServer& server = *routes.mutable_gateway()->add_servers();
    server.add_certificates(str_cat(any({"x", "y"}), "/", any({"k1", "k2"})));
    if (below(2) > 0) server.set_client_roots("x/k3");
    std::set<std::string>& named = gateways_[name];
    named = {server.certificates(0)};
    if (!server.client_roots().empty()) named.insert(server.client_roots());
    put(make(kRouteSetType, name, routes.SerializeAsString()), out);
  }

  // A Service of y, or what a ServiceEntry of another namespace calls so.
  void change_service(Change& out) {
    const std::string name = str_cat(any({"x", "y", "istio-system"}), "/db.y.svc.cluster.local");
    if (below(2) > 0) {
      services_.insert(name);
      return put(make(kAddressType, name, ""), out);
    }
    if (services_.erase(name) > 0) remove(kAddressType, name, out);
  }

  void move_pod(const std::string& name, const std::string& node, const std::string& ns, bool captured,
                Change& out) {
    pods_[name] = {node, ns, captured};
    Change told, made;
    told.changed_pods = {
        {.uid = str_cat("pod-", name), .ns = ns, .name = name, .wants_capture = captured, .node = node}};
    pods_told_.update(told, made);
    for (Resource& resource : made.upserted) put(std::move(resource), out);
  }

  std::mt19937 random_;
  uint64_t generation_ = 0;
  std::map<std::string, std::string> secrets_;             // to their versions
  std::map<std::string, Rule> rules_;                      // by name
  std::map<std::string, std::set<std::string>> gateways_;  // the Secrets that each names
  std::set<std::string> services_;
  std::map<std::string, Pod> pods_;
  NodePods pods_told_;
};

class SecretConvergenceTest : public testing::TestWithParam<uint32_t> {
 protected:
  std::unique_ptr<AdsNode> node(const std::string& name, const Held& held = {}) {
    return std::make_unique<AdsNode>(
        serving_.address(),
        AdsNode::Says{.node = name, .types = {kSecretType}, .gateway = name == "g", .held = held});
  }

  // A node may have few streams (kMaxStreamsOfNode): on a busy machine those that it left would count.
  bool wait_until_gone(const std::string& name) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    const auto is_there = [&] {
      const std::vector<ClientState> all = serving_.service()->clients();
      return std::any_of(all.begin(), all.end(), [&](const ClientState& each) { return each.node == name; });
    };
    while (is_there() && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
    return !is_there();
  }

  test::NodeAds serving_{[](const std::string& name) { return name == "g"; }};
};

TEST_P(SecretConvergenceTest, EachNodeHasTheKeysThatItNeedsAndNoOthers) {
  World world(GetParam());
  AdsService& ads = *serving_.service();
  std::vector<std::unique_ptr<AdsNode>> nodes;
  nodes.push_back(node("a"));
  nodes.push_back(node("g"));
  for (int round = 0; round < 120; ++round) {
    ads.apply(world.next());
    if (round == 40) nodes.push_back(node("b"));
    // Some read while it happens, as far as they come.
    AdsNode& one = *nodes[world.below(nodes.size())];
    if (world.below(3) == 0) one.read_until(world.needed_by(one.says()));
    if (round % 30 == 29) {
      // It comes back, and holds what it had.
      const Held held = nodes.front()->held();
      nodes.front().reset();
      ASSERT_TRUE(wait_until_gone("a"));
      nodes.front() = node("a", held);
    }
  }
  ads.apply(world.end());
  for (const auto& each : nodes) {
    const AdsNode::Says& says = each->says();
    each->read_until(world.needed_by(says));
    EXPECT_EQ(each->held(), world.needed_by(says)) << says.node;
    EXPECT_EQ(each->repeated(), 0U) << says.node;
    const auto fresh = node(says.node);
    fresh->read_until(each->held());
    EXPECT_EQ(fresh->held(), each->held()) << says.node;
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, SecretConvergenceTest, testing::Range(0U, 24U));

}  // namespace
}  // namespace weft::control_plane
