// What is bound to one port of the node while gateways.cc gathers it.
#pragma once

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "control-plane/compile/route_precedence.h"
#include "control-plane/compile/routes_at.h"
#include "control-plane/resource/objects.h"

namespace weft::control_plane {

using ListenerKind = Gateway::Listener::Kind;

struct Listening {
  const Gateway* gateway = nullptr;
  const Gateway::Listener* listener = nullptr;
};

// What a listener is routed by.
enum class Routing : uint8_t { kRequests, kServerNames, kConnections };

inline Routing routing_of(const Gateway::Listener& listener) {
  if (listener.kind == ListenerKind::kHttp) return Routing::kRequests;
  if (listener.kind == ListenerKind::kTcp) return Routing::kConnections;
  if (!listener.tls) return Routing::kServerNames;
  return listener.tls->opaque ? Routing::kConnections : Routing::kRequests;
}

// A VirtualService at a gateway, by one of its ports.
struct BoundService {
  const VirtualService* service = nullptr;
  std::string place;  // "<namespace>/<name>" of the gateway
  uint16_t port = 0;
  std::string dials_as;  // the gateway's identity
};

// Connections that one VirtualService has, or TCPRoutes.
struct Connections {
  const VirtualService* owner = nullptr;
  std::vector<mesh::v1::L4Route> routes;
  std::vector<ResolvedRoute> tcp_routes;

  // The first VirtualService that has routes for the port has it alone. True: this one has.
  bool take(const BoundService& bound, const mesh::v1::RouteSet& set) {
    if (owner != nullptr) return owner == bound.service;
    for (const auto& route : set.tcp()) {
      if (reaches_port(route, bound.port)) routes.emplace_back(route).set_dials_as(bound.dials_as);
    }
    if (!routes.empty()) owner = bound.service;
    return owner != nullptr;
  }
  std::vector<mesh::v1::L4Route> all() const {
    std::vector<mesh::v1::L4Route> out = tcp_in_precedence(tcp_routes);
    out.insert(out.end(), routes.begin(), routes.end());
    return out;
  }
};

// Requests, by host; "*": all others. Of VirtualServices, oldest first, and of HTTPRoutes and GRPCRoutes
// (whose rules are not resolved yet).
struct Requests {
  std::map<std::string, std::vector<BoundService>> http;
  std::map<std::string, std::vector<ResolvedRoute>> http_routes, grpc_routes;
};

// What is bound to one port.
struct Port {
  ListenerKind kind = ListenerKind::kHttp;
  const Gateway* first = nullptr;
  std::vector<Listening> listeners;
  // Not served, for a host name that another has. No wider listener may take their other names, which may ask
  // less of clients.
  std::vector<Listening> refused;
  // Of the port, null, or of a listener that ends TLS: what one asks of clients holds for all of its routes.
  std::map<const Gateway::Listener*, Requests> requests;
  std::set<std::string> redirected;
  std::vector<mesh::v1::L4Route> tls;
  std::vector<NamedRoute> tls_routes;
  // Of the port, null, or of a listener that ends TLS.
  std::map<const Gateway::Listener*, Connections> tcp;

  Connections& connections_of(const Gateway::Listener& listener) {
    return tcp[kind == ListenerKind::kTcp ? nullptr : &listener];
  }
  Requests& requests_of(const Gateway::Listener& listener) {
    return requests[kind == ListenerKind::kHttp ? nullptr : &listener];
  }
  bool ends_tls() const {
    return std::any_of(listeners.begin(), listeners.end(),
                       [](const Listening& one) { return one.listener->tls.has_value(); });
  }
  // A server name has one certificate, or is passed on; null: there is no such conflict.
  const Listening* of_same_names(const Gateway::Listener& listener) const {
    for (const Listening& other : listeners) {
      if (!other.listener->tls && !listener.tls) continue;
      for (const auto& host : listener.hosts) {
        for (const auto& theirs : other.listener->hosts) {
          if (host.name == theirs.name) return &other;
        }
      }
    }
    return nullptr;
  }
};

// Host names of a listener that a route has.
struct Taken {
  const GatewayRoute* route = nullptr;
  std::set<std::string> hosts;
};

}  // namespace weft::control_plane
