// See gateway_reach.h.
#include "control-plane/compile/gateway_reach.h"

#include <set>
#include <string>

#include "base/strings.h"
#include "control-plane/resource/finding_codes.h"

namespace weft::control_plane {
namespace {

class TunnelChecks {
 public:
  TunnelChecks(const Workloads& workloads, std::vector<Finding>* findings) : findings_(findings) {
    for (const auto& [uid, workload] : workloads) {
      if (workload.workload.tunnel_protocol() != istio::workload::HBONE) continue;
      for (const auto& [key, ports] : workload.workload.services())
        hosts_.insert(key.substr(key.find('/') + 1));
    }
  }

  void check(const mesh::v1::RouteSet& set) {
    if (hosts_.empty()) return;
    for (const auto& route : set.http()) check(route);
    for (const auto& route : set.tls()) check(route);
    for (const auto& route : set.tcp()) check(route);
    for (const auto& server : set.gateway().servers()) {
      for (const auto& route : server.tcp()) check(route);
    }
  }

 private:
  template <typename Route>
  void check(const Route& route) {
    for (const auto& destination : route.destinations()) {
      if (hosts_.contains(destination.host())) warn(route.origin(), destination.host());
    }
  }

  void warn(const mesh::v1::Origin& origin, const std::string& host) {
    const std::string object = ObjectKey{origin.kind(), origin.namespace_(), origin.name()}.to_string();
    if (!reported_.insert(str_cat(object, " ", host)).second) return;
    findings_->push_back({kWithoutEffect, Finding::Level::kWarning, origin.file(), origin.line(), object,
                          "spec",
                          str_cat("pods of ", host,
                                  " take tunnels, for which a gateway has no identity: it answers 503 there"),
                          "route the gateway to pods without ambient.istio.io/redirection"});
  }

  std::set<std::string> hosts_, reported_;
  std::vector<Finding>* findings_;
};

}  // namespace

void warn_of_tunnels(const NamedRouteSets& sets, const Workloads& workloads, std::vector<Finding>* findings) {
  TunnelChecks checks(workloads, findings);
  for (const auto& [name, set] : sets) checks.check(set);
}

}  // namespace weft::control_plane
