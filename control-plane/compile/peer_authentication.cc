// See peer_authentication.h.
#include "control-plane/compile/peer_authentication.h"

#include <algorithm>
#include <tuple>
#include <vector>

#include "base/strings.h"

namespace weft::control_plane {
namespace {

namespace pb = istio::security;
using Mode = PeerAuthentication::Mode;

constexpr char kStatic[] = "istio_converted_static_strict";
constexpr char kOfPorts[] = "converted_peer_authentication_";

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

// The objects of one namespace, the oldest first.
struct OfNamespace {
  std::vector<const PeerAuthentication*> whole, selecting;
};

Mode first_mode(const std::vector<const PeerAuthentication*>& objects) {
  return objects.empty() ? Mode::kUnset : objects.front()->mode;
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

std::map<std::string, pb::Authorization> attach_peer_authentication(const Objects& objects,
                                                                    Workloads& workloads) {
  std::map<std::string, OfNamespace> by_ns;
  for_each<PeerAuthentication>(objects, [&by_ns](const PeerAuthentication& object) {
    OfNamespace& of = by_ns[object.meta.ns];
    (object.selector.empty() ? of.whole : of.selecting).push_back(&object);
  });
  for (auto& [ns, of] : by_ns) {
    std::sort(of.whole.begin(), of.whole.end(), older);
    std::sort(of.selecting.begin(), of.selecting.end(), older);
  }
  std::map<std::string, pb::Authorization> out;
  if (by_ns.empty()) return out;
  const Mode of_mesh = first_mode(by_ns[kRootNamespace].whole);
  for (auto& [uid, workload] : workloads) {
    const std::string& ns = workload.workload.namespace_();
    OfNamespace& of = by_ns[ns];
    Mode mode = first_mode(of.whole);
    if (mode == Mode::kUnset) mode = of_mesh;
    const PeerAuthentication* own = nullptr;
    for (const PeerAuthentication* object : of.selecting) {
      if (ns == kRootNamespace || !selects(object->selector, workload.labels)) continue;
      own = object;
      break;
    }
    if (own != nullptr && own->mode != Mode::kUnset) mode = own->mode;
    const bool strict = mode == Mode::kStrict;
    const Mode otherwise = strict ? Mode::kPermissive : Mode::kStrict;
    const bool by_port =
        own != nullptr && std::any_of(own->ports.begin(), own->ports.end(),
                                      [&](const auto& port) { return port.second == otherwise; });
    if (!strict && !by_port) continue;
    pb::Authorization policy;
    if (by_port) {
      policy = of_ports(*own, strict);
    } else {
      policy = denial(kRootNamespace, kStatic);
      add_no_identity(*policy.add_rules());
    }
    const std::string name = str_cat(policy.namespace_(), "/", policy.name());
    workload.workload.add_authorization_policies(name);
    out.emplace(name, std::move(policy));
  }
  return out;
}

}  // namespace weft::control_plane
