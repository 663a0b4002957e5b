// See gateway_checks.h. Called while gateways are compiled.
#include "control-plane/compile/gateway_checks.h"

#include <algorithm>
#include <set>

#include "base/strings.h"
#include "control-plane/compile/route_backends.h"
#include "control-plane/compile/routes_at.h"
#include "control-plane/resource/finding_codes.h"
#include "control-plane/resource/host_name.h"
#include "control-plane/resource/parse_http_match.h"
#include "control-plane/resource/parse_object.h"

namespace weft::control_plane {
namespace {

template <typename Route>
void add_hosts(const Route& route, std::set<std::string>* hosts) {
  for (const auto& destination : route.destinations()) hosts->insert(destination.host());
}

bool passes_through(const Objects& objects, const std::string& host) {
  bool out = false;
  for_each<ServiceEntry>(objects, [&](const ServiceEntry& entry) {
    out = out || (!entry.hidden && entry.resolution == ServiceEntry::Resolution::kNone &&
                  std::find(entry.hosts.begin(), entry.hosts.end(), host) != entry.hosts.end());
  });
  for_each<DestinationRule>(objects, [&](const DestinationRule& rule) {
    out = out ||
          (!rule.hidden && host_covers(rule.host.host, host) &&
           rule.policy.traffic_policy().load_balancing().algorithm() == mesh::v1::LoadBalancing::PASSTHROUGH);
  });
  return out;
}

// By the listener's kinds and allowedRoutes.
bool is_allowed(const GatewayRoute& route, const Gateway& gateway, const Gateway::Listener& listener,
                const Objects& objects) {
  if (!listener.kinds.empty() &&
      std::find(listener.kinds.begin(), listener.kinds.end(), route.meta.kind) == listener.kinds.end())
    return false;
  if (listener.from == Gateway::Listener::From::kAll) return true;
  if (listener.from == Gateway::Listener::From::kSame) return route.meta.ns == gateway.meta.ns;
  const auto ns = objects.find(ObjectKey{"Namespace", "", route.meta.ns});
  return ns != objects.end() && selects(listener.selector, meta_of(*ns->second).labels);
}

Routing routing_of(GatewayRoute::Kind kind) {
  if (kind == GatewayRoute::Kind::kTls) return Routing::kServerNames;
  return kind == GatewayRoute::Kind::kTcp ? Routing::kConnections : Routing::kRequests;
}

}  // namespace

const Gateway* find_gateway(const Objects& objects, const char* kind, const std::string& ns,
                            const std::string& name) {
  const auto found = objects.find(ObjectKey{kind, ns, name});
  return found == objects.end() ? nullptr : &std::get<Gateway>(*found->second);
}

bool is_catch_all(const mesh::v1::HttpRoute& route) {
  return route.matches().empty() ||
         std::any_of(route.matches().begin(), route.matches().end(),
                     [](const mesh::v1::HttpMatch& match) { return is_catch_all(match); });
}

bool is_exported_to(const VirtualService& service, const std::string& ns) {
  const auto& places = service.routes->export_to();
  return places.empty() || std::any_of(places.begin(), places.end(), [&ns](const std::string& place) {
           return place == ns || place == "*";
         });
}

ListenerFit fit_of(const GatewayRoute& route, const GatewayRoute::Parent& parent, const Listening& listening,
                   const Objects& objects) {
  const Gateway::Listener& listener = *listening.listener;
  if (parent.port != 0 && parent.port != listener.port) return {};
  if (!parent.section.empty() && parent.section != listener.name) return {};
  if (!is_allowed(route, *listening.gateway, listener, objects))
    return {.fit = Fit::kNotAllowed, .hosts = {}};
  if (routing_of(listener) != routing_of(route.kind)) return {.fit = Fit::kNotAllowed, .hosts = {}};
  if (route.kind == GatewayRoute::Kind::kTcp) return {.fit = Fit::kAccepted, .hosts = {}};
  std::set<std::string> hosts;
  const std::vector<std::string> any = {"*"};
  for (const std::string& host : route.hostnames.empty() ? any : route.hostnames) {
    if (const auto common = common_host(listener.hosts.front().name, host)) hosts.insert(*common);
  }
  return {.fit = hosts.empty() ? Fit::kNoHostname : Fit::kAccepted, .hosts = std::move(hosts)};
}

void warn_of_passthrough(const VirtualService& service, const mesh::v1::RouteSet& routes,
                         const Objects& objects, std::vector<Finding>* findings) {
  std::set<std::string> hosts;
  for (const auto& route : routes.http()) add_hosts(route, &hosts);
  for (const auto& route : routes.tls()) add_hosts(route, &hosts);
  for (const auto& route : routes.tcp()) add_hosts(route, &hosts);
  for (const std::string& host : hosts) {
    if (passes_through(objects, host))
      warn_about(service.meta, kWithoutEffect, service.meta.line, "spec",
                 str_cat("host ", host,
                         " is reached at the address that was dialled, which is the gateway's own: it "
                         "answers 503 there"),
                 "give the host endpoints, or another balancing", findings);
  }
}

}  // namespace weft::control_plane
