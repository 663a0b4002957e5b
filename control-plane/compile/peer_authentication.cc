// See peer_authentication.h.
#include "control-plane/compile/peer_authentication.h"

#include <algorithm>
#include <tuple>

#include "base/strings.h"

namespace weft::control_plane {
namespace {

namespace pb = istio::security;
using Mode = PeerAuthentication::Mode;

constexpr char kStatic[] = "istio_converted_static_strict";
constexpr char kOfPorts[] = "converted_peer_authentication_";
// Behind the name; see agent/policy/l4_policy.h.
constexpr char kSameNode[] = "_same_node";

bool older(const PeerAuthentication* a, const PeerAuthentication* b) {
  return std::tie(a->meta.created_unix, a->meta.name) < std::tie(b->meta.created_unix, b->meta.name);
}

void add_no_identity(pb::Rule& rule) {
  rule.add_clauses()->add_matches()->add_not_principals()->mutable_presence();
}

pb::Authorization denial(const std::string& ns, const std::string& name) {
  pb::Authorization out;
  out.set_name(name);
  out.set_namespace_(ns);
  out.set_scope(pb::WORKLOAD_SELECTOR);
  out.set_action(pb::DENY);
  return out;
}

// Null: none says anything.
const PeerAuthentication* first_of(const std::vector<const PeerAuthentication*>& objects) {
  return objects.empty() || objects.front()->mode == Mode::kUnset ? nullptr : objects.front();
}

// What the ports of the object say otherwise than the rest.
pb::Authorization of_ports(const PeerAuthentication& object, bool strict) {
  pb::Authorization out = denial(object.meta.ns, str_cat(kOfPorts, object.meta.name));
  if (strict) {
    pb::Rule& rule = *out.add_rules();
    add_no_identity(rule);
    pb::Match* open = nullptr;
    for (const auto& [port, mode] : object.ports) {
      if (mode != Mode::kPermissive) continue;
      if (open == nullptr) open = rule.add_clauses()->add_matches();
      open->add_not_destination_ports(port);
    }
    return out;
  }
  for (const auto& [port, mode] : object.ports) {
    if (mode != Mode::kStrict) continue;
    pb::Rule& rule = *out.add_rules();
    add_no_identity(rule);
    rule.add_clauses()->add_matches()->add_destination_ports(port);
  }
  return out;
}

}  // namespace

PeerModes::PeerModes(const Objects& objects) {
  for_each<PeerAuthentication>(objects, [this](const PeerAuthentication& object) {
    OfNamespace& of = by_ns_[object.meta.ns];
    (object.selector.empty() ? of.whole : of.selecting).push_back(&object);
  });
  for (auto& [ns, of] : by_ns_) {
    std::sort(of.whole.begin(), of.whole.end(), older);
    std::sort(of.selecting.begin(), of.selecting.end(), older);
  }
  if (const auto root = by_ns_.find(kRootNamespace); root != by_ns_.end())
    of_mesh_ = first_of(root->second.whole);
}

std::optional<pb::Authorization> PeerModes::denial_for(
    const std::string& ns, const std::map<std::string, std::string>& labels) const {
  static const OfNamespace kNone;
  const auto found = by_ns_.find(ns);
  const OfNamespace& of = found == by_ns_.end() ? kNone : found->second;
  const PeerAuthentication* decides = first_of(of.whole);
  if (decides == nullptr) decides = of_mesh_;
  const PeerAuthentication* own = nullptr;
  for (const PeerAuthentication* object : of.selecting) {
    if (ns == kRootNamespace || !selects(object->selector, labels)) continue;
    own = object;
    break;
  }
  if (own != nullptr && own->mode != Mode::kUnset) decides = own;
  const bool strict = decides != nullptr && decides->mode == Mode::kStrict;
  const bool same_node = strict && decides->same_node;
  const Mode otherwise = strict ? Mode::kPermissive : Mode::kStrict;
  const bool by_port =
      own != nullptr && std::any_of(own->ports.begin(), own->ports.end(),
                                    [&](const auto& port) { return port.second == otherwise; });
  if (!by_port && !strict) return std::nullopt;
  pb::Authorization policy;
  if (by_port) {
    policy = of_ports(*own, strict);
  } else {
    policy = denial(kRootNamespace, kStatic);
    add_no_identity(*policy.add_rules());
  }
  if (same_node) policy.mutable_name()->append(kSameNode);
  return policy;
}

}  // namespace weft::control_plane
