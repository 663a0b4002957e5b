// See gateway_reach.h.
#include "control-plane/compile/gateway_reach.h"

#include <set>
#include <string>
#include <utility>

#include "base/strings.h"
#include "control-plane/resource/finding_codes.h"

namespace weft::control_plane {
namespace {

// Of one RouteSet: where it goes, once for each object and host.
class TunnelChecks {
 public:
  TunnelChecks(const std::set<std::string>& hosts, std::vector<Finding>* findings)
      : hosts_(hosts), findings_(findings) {}

  void check(const mesh::v1::RouteSet& set) {
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
    if (!route.dials_as().empty()) return;
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
                                  " take tunnels, and the Gateway's name is too long for an identity of the "
                                  "mesh: it answers 503 there"),
                          "give the Gateway a shorter name"});
  }

  const std::set<std::string>& hosts_;
  std::set<std::string> reported_;
  std::vector<Finding>* findings_;
};

}  // namespace

void warn_of_tunnels(const GatewayRouteSets& gateways, const std::set<std::string>& hosts,
                     Remembered& remembered, std::vector<Finding>* findings) {
  if (hosts.empty()) return;
  // The sets of several ports or hosts may have the same routes.
  std::set<std::pair<std::string, std::string>> reported;
  for (const auto& set : gateways.sets) {
    const Resource& resource = set->resources.front();
    Inputs inputs(Step::kTunnels);
    inputs.text(resource.name()).text(resource.version());
    for (const std::string& host : hosts) inputs.text(host);
    const auto result = remembered.get(inputs, [&](StepResult* made) {
      mesh::v1::RouteSet routes;
      if (resource.decode(&routes)) TunnelChecks(hosts, &made->findings).check(routes);
    });
    for (const Finding& finding : result->findings) {
      if (reported.emplace(finding.object, finding.message).second) findings->push_back(finding);
    }
  }
}

}  // namespace weft::control_plane
