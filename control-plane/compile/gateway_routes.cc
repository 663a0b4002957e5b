// See gateway_routes.h. The mesh's half of the specification is GEP-1426: a route whose parent is a Service
// takes what is dialled at the Service's address; in the Service's namespace it is for everybody, elsewhere
// for clients of its own namespace, and then instead of the Service's.
#include "control-plane/compile/gateway_routes.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "base/strings.h"
#include "control-plane/compile/make_resource.h"
#include "control-plane/compile/protocol.h"
#include "control-plane/compile/route_backends.h"
#include "control-plane/compile/route_precedence.h"
#include "control-plane/resource/finding_codes.h"
#include "control-plane/resource/host_name.h"
#include "control-plane/resource/parse_object.h"

namespace weft::control_plane {
namespace {

using Kind = GatewayRoute::Kind;
using mesh::v1::HttpRoute;
using mesh::v1::RouteSet;

// Routes that share a place: a Service's port, and for consumers the namespace of the clients.
struct Place {
  std::string ns, service;
  uint16_t port = 0;
  std::string client_ns;  // empty: of the Service's own namespace, for all
  auto operator<=>(const Place&) const = default;
};

struct Attached {
  const GatewayRoute* route = nullptr;
  const GatewayRoute::Parent* parent = nullptr;
};

bool is_for_http(const Service::Port& port) {
  const mesh::v1::Protocol protocol = protocol_of(port.app_protocol, port.name, port.number);
  return protocol != mesh::v1::PROTOCOL_TCP && protocol != mesh::v1::PROTOCOL_TLS;
}

class MeshRoutes {
 public:
  MeshRoutes(const Objects& objects, const KindStamps& stamps, Remembered& remembered,
             std::vector<Finding>* findings, GatewayFacts* facts)
      : objects_(objects), stamps_(stamps), remembered_(remembered), findings_(findings), facts_(facts) {}

  std::vector<MeshRouteSet> run() {
    for_each<GatewayRoute>(objects_, [this](const GatewayRoute& route) {
      for (const GatewayRoute::Parent& parent : route.parents) {
        if (parent.service) attach(route, parent);
      }
    });
    std::vector<MeshRouteSet> out;
    for (const auto& [place, attached] : places_) out.push_back(make(place, attached));
    return out;
  }

 private:
  void attach(const GatewayRoute& route, const GatewayRoute::Parent& parent) {
    facts_->note(route, parent, Fit::kNoParent);
    const std::string named = str_cat("Service ", parent.ns, "/", parent.name);
    const auto found = objects_.find(ObjectKey{"Service", parent.ns, parent.name});
    if (found == objects_.end())
      return warn(route, parent, kReferenceMissing, str_cat(named, " is unknown"),
                  "add the Service, or correct the name");
    const Service& service = std::get<Service>(*found->second);
    if (service.cluster_ips.empty())
      return warn(route, parent, kNotAttached, str_cat(named, " has no address that could be dialled"),
                  "attach the route to a Service with a cluster IP");
    if (route.kind == Kind::kHttp && !route.hostnames.empty())
      warn(route, parent, kWithoutEffect, "a Service is found by its address: hostnames do not count",
           "remove hostnames, or match on the header host");
    bool any = false;
    for (const Service::Port& port : service.ports) {
      if (parent.port != 0 && parent.port != port.number) continue;
      any = true;
      facts_->note(route, parent, Fit::kNotAllowed);
      attach_port(route, parent, port);
    }
    if (!any)
      warn(route, parent, kReferenceMissing, str_cat(named, " has no port ", parent.port),
           "use one of the Service's ports, or none for all of them");
  }

  void attach_port(const GatewayRoute& route, const GatewayRoute::Parent& parent, const Service::Port& port) {
    const bool http = route.kind == Kind::kHttp || route.kind == Kind::kGrpc;
    if (http && !is_for_http(port)) {
      // Of all ports those that speak something else are left out silently.
      if (parent.port != 0)
        warn(route, parent, kNotAttached, str_cat("port ", port.number, " is declared to speak no HTTP"),
             "correct the port's appProtocol, or use a TLSRoute or TCPRoute");
      return;
    }
    if (!http && is_declared_http(port)) {
      if (parent.port != 0)
        warn(route, parent, kNotAttached, str_cat("port ", port.number, " is declared to speak HTTP"),
             "use an HTTPRoute or GRPCRoute");
      return;
    }
    const std::string client_ns = route.meta.ns == parent.ns ? "" : route.meta.ns;
    places_[Place{parent.ns, parent.name, port.number, client_ns}].push_back({&route, &parent});
  }

  static bool is_declared_http(const Service::Port& port) {
    const mesh::v1::Protocol protocol = protocol_of(port.app_protocol, port.name, port.number);
    return protocol == mesh::v1::PROTOCOL_HTTP || protocol == mesh::v1::PROTOCOL_HTTP2 ||
           protocol == mesh::v1::PROTOCOL_GRPC;
  }

  MeshRouteSet make(const Place& place, const std::vector<Attached>& attached) {
    const Kind kind = std::min_element(attached.begin(), attached.end(), [](const auto& a, const auto& b) {
                        return a.route->kind < b.route->kind;
                      })->route->kind;
    Inputs inputs(Step::kPlace);
    inputs.object(meta_of(*objects_.at(ObjectKey{"Service", place.ns, place.service}))).number(place.port);
    for (const Attached& one : attached) {
      facts_->note(*one.route, *one.parent, one.route->kind == kind ? Fit::kAccepted : Fit::kConflict);
      inputs.object(one.route->meta).number(static_cast<uint64_t>(one.parent - one.route->parents.data()));
      if (one.route->kind == kind) report(*one.route);
    }
    // Their backends.
    stamps_.add("Service", &inputs);
    const auto has_rules = [kind](const Attached& one) {
      return one.route->kind == kind && !one.route->rules.empty() &&
             (kind != Kind::kTls || !one.route->hostnames.empty());
    };
    const bool any = std::any_of(attached.begin(), attached.end(), has_rules);
    return {.host = service_host(place.service, place.ns),
            .port = place.port,
            .consumer = !place.client_ns.empty(),
            .tls = any && kind == Kind::kTls,
            .tcp = any && kind == Kind::kTcp,
            .made = remembered_.get(inputs, [&](StepResult* made) {
              auto [name, set] = compile(place, kind, attached, &made->findings);
              made->resources.push_back(make_resource(kRouteSetType, name, set));
            })};
  }

  // What is wrong with its references, once.
  void report(const GatewayRoute& route) {
    if (!reported_.insert(&route).second) return;
    Inputs inputs(Step::kRules);
    inputs.object(route.meta);
    stamps_.add("Service", &inputs);
    const auto result = remembered_.get(inputs, [&](StepResult* made) {
      rules_[&route] = resolve_rules(route, objects_, Grants::kNotNeeded, &made->findings, &made->refused);
    });
    facts_->references[{&route, Grants::kNotNeeded}] = result->refused;
    findings_->insert(findings_->end(), result->findings.begin(), result->findings.end());
  }

  std::pair<std::string, RouteSet> compile(const Place& place, Kind kind,
                                           const std::vector<Attached>& attached,
                                           std::vector<Finding>* findings) {
    std::vector<ResolvedRoute> routes;
    for (const Attached& one : attached) {
      if (one.route->kind != kind) {
        warn_about(one.route->meta, kRouteConflict, one.parent->line, one.parent->field,
                   str_cat("a ", attached_of(attached, kind).meta.kind, " has port ", place.port,
                           " of Service ", place.ns, "/", place.service, " already: this ",
                           one.route->meta.kind, " takes nothing there"),
                   "attach them to different ports, or use one kind", findings);
      } else if (std::none_of(routes.begin(), routes.end(),
                              [&](const ResolvedRoute& r) { return r.route == one.route; })) {
        routes.push_back({one.route, rules_of(*one.route)});
      }
    }
    RouteSet set = described(place, *routes.front().route);
    fill(kind, routes, &set);
    return {str_cat("gateway-api/", place.ns, "/", place.service, ":", place.port,
                    place.client_ns.empty() ? "" : "/", place.client_ns),
            std::move(set)};
  }

  static const GatewayRoute& attached_of(const std::vector<Attached>& attached, Kind kind) {
    return *std::find_if(attached.begin(), attached.end(), [&](const Attached& a) {
              return a.route->kind == kind;
            })->route;
  }

  static void fill(Kind kind, const std::vector<ResolvedRoute>& routes, RouteSet* set) {
    if (kind == Kind::kTcp) {
      for (auto& route : tcp_in_precedence(routes)) *set->add_tcp() = std::move(route);
    } else if (kind == Kind::kTls) {
      std::vector<NamedRoute> named;
      for (const ResolvedRoute& route : routes) named.push_back({route, route.route->hostnames});
      for (auto& route : tls_in_precedence(named)) *set->add_tls() = std::move(route);
    } else {
      for (HttpRoute& route : in_precedence(routes)) *set->add_http() = std::move(route);
    }
  }

  static RouteSet described(const Place& place, const GatewayRoute& first) {
    RouteSet out;
    out.set_name(str_cat(place.service, ":", place.port));
    out.set_namespace_(place.client_ns.empty() ? place.ns : place.client_ns);
    out.add_hosts(service_host(place.service, place.ns));
    if (!place.client_ns.empty()) out.add_export_to(place.client_ns);
    out.set_by_address(true);
    out.set_port(place.port);
    out.set_consumer(!place.client_ns.empty());
    *out.mutable_origin() = origin_of(first.meta);
    out.set_created_unix(first.meta.created_unix);
    return out;
  }

  const std::vector<HttpRoute>* rules_of(const GatewayRoute& route) {
    const auto [row, inserted] = rules_.try_emplace(&route);
    std::vector<Finding> reported;
    if (inserted) row->second = resolve_rules(route, objects_, Grants::kNotNeeded, &reported);
    return &row->second;
  }

  void warn(const GatewayRoute& route, const GatewayRoute::Parent& parent, const char* code,
            std::string message, std::string remedy) {
    warn_about(route.meta, code, parent.line, parent.field, std::move(message), std::move(remedy), findings_);
  }

  const Objects& objects_;
  const KindStamps& stamps_;
  Remembered& remembered_;
  std::vector<Finding>* findings_;
  GatewayFacts* facts_;
  std::set<const GatewayRoute*> reported_;
  std::map<Place, std::vector<Attached>> places_;
  std::map<const GatewayRoute*, std::vector<HttpRoute>> rules_;
};

}  // namespace

std::vector<MeshRouteSet> mesh_routes(const Objects& objects, const KindStamps& stamps,
                                      Remembered& remembered, std::vector<Finding>* findings,
                                      GatewayFacts* facts) {
  return MeshRoutes(objects, stamps, remembered, findings, facts).run();
}

}  // namespace weft::control_plane
