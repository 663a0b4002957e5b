// See gateways.h. A port is made of the listeners of all gateways that name it; each host name that routes
// and listeners share has its own list of routes, and the proxy looks for the most specific name.
#include "control-plane/compile/gateways.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <tuple>

#include "base/strings.h"
#include "control-plane/compile/delegates.h"
#include "control-plane/compile/gateway_checks.h"
#include "control-plane/compile/gateway_identity.h"
#include "control-plane/compile/gateway_policies.h"
#include "control-plane/compile/gateway_port.h"
#include "control-plane/compile/gateway_tls.h"
#include "control-plane/compile/make_resource.h"
#include "control-plane/compile/route_backends.h"
#include "control-plane/compile/routes_at.h"
#include "control-plane/resource/finding_codes.h"
#include "control-plane/resource/host_name.h"
#include "control-plane/resource/parse_http_match.h"
#include "control-plane/resource/parse_object.h"

namespace weft::control_plane {
namespace {

using Kind = GatewayRoute::Kind;
using mesh::v1::HttpRoute;
using mesh::v1::RouteSet;

// Name then namespace among those of one age, as on the mesh.
bool is_before(const VirtualService* a, const VirtualService* b) {
  return std::tie(a->meta.created_unix, a->meta.name, a->meta.ns) <
         std::tie(b->meta.created_unix, b->meta.name, b->meta.ns);
}

class Gateways {
 public:
  Gateways(const Objects& objects, const KindStamps& stamps, Remembered& remembered,
           std::vector<Finding>* findings, GatewayFacts* facts)
      : objects_(objects),
        stamps_(stamps),
        remembered_(remembered),
        findings_(findings),
        facts_(facts),
        policies_(objects) {}

  GatewayRouteSets run() {
    add_listeners();
    bind_virtual_services();
    attach_routes();
    GatewayRouteSets out;
    for (auto& [number, port] : ports_) compile(number, port, out);
    return out;
  }

 private:
  // Oldest first: it says what the port speaks.
  void add_listeners() {
    std::vector<const Gateway*> gateways;
    for_each<Gateway>(objects_, [&](const Gateway& gateway) { gateways.push_back(&gateway); });
    std::sort(gateways.begin(), gateways.end(),
              [](const Gateway* a, const Gateway* b) { return is_older(a->meta, b->meta); });
    for (const Gateway* gateway : gateways) {
      for (const Gateway::Listener& listener : gateway->listeners) {
        Port& port = ports_[listener.port];
        if (port.listeners.empty()) {
          port.kind = listener.kind;
          port.first = gateway;
        } else if (port.kind != listener.kind) {
          refuse(*gateway, listener, "ProtocolConflict",
                 str_cat("port ", listener.port, " speaks another protocol for ", port.first->meta.kind, " ",
                         port.first->meta.ns, "/", port.first->meta.name, ": this listener is not served"),
                 "use another port");
          continue;
        }
        if (const Listening* other = port.of_same_names(listener)) {
          refuse(
              *gateway, listener, "HostnameConflict",
              str_cat(other->gateway->meta.kind, " ", other->gateway->meta.ns, "/", other->gateway->meta.name,
                      " has a server name of this on port ", listener.port, ": this listener is not served"),
              "use other host names, or one listener");
          port.refused.push_back({gateway, &listener});
          continue;
        }
        port.listeners.push_back({gateway, &listener});
        for (const auto& host : listener.hosts) {
          if (listener.https_redirect) port.redirected.insert(host.name);
        }
      }
    }
  }

  void refuse(const Gateway& gateway, const Gateway::Listener& listener, const char* reason,
              std::string message, std::string remedy) {
    facts_->refuse(listener, reason, str_cat(message, "; next: ", remedy));
    warn_about(gateway.meta, kRouteConflict, listener.line, listener.field, std::move(message),
               std::move(remedy), findings_);
  }

  void bind_virtual_services() {
    std::vector<const VirtualService*> services;
    for_each<VirtualService>(objects_, [&](const VirtualService& service) {
      if (!service.hidden && !service.is_delegate()) services.push_back(&service);
    });
    std::sort(services.begin(), services.end(), is_before);
    for (const VirtualService* service : services) {
      for (const std::string& place : service->bound_to) bind(*service, place);
    }
  }

  void bind(const VirtualService& service, const std::string& place) {
    const size_t slash = place.find('/');
    const Gateway* gateway =
        find_gateway(objects_, "IstioGateway", place.substr(0, slash), place.substr(slash + 1));
    if (gateway == nullptr)
      return warn_about(service.meta, kReferenceMissing, service.meta.line, "spec.gateways",
                        str_cat("Gateway ", place, " is unknown"), "add it, or correct the name", findings_);
    if (!is_exported_to(service, gateway->meta.ns))
      return warn_about(service.meta, kNotAttached, service.meta.line, "spec.exportTo",
                        str_cat("Gateway ", place, " is in a namespace that this is not exported to"),
                        str_cat("add ", gateway->meta.ns, " to exportTo"), findings_);
    // Why nothing of it is served was reported.
    if (gateway->listeners.empty()) return;
    bool any = false;
    for (auto& [number, port] : ports_) {
      for (const Listening& one : port.listeners)
        any = (one.gateway == gateway && bind_listener(service, place, one, port)) || any;
    }
    if (any) return warn_of_passthrough(service, place);
    warn_about(service.meta, kNotAttached, service.meta.line, "spec.gateways",
               str_cat("no server of Gateway ", place,
                       " takes anything of this: their hosts, protocols and ports do not fit, or an older "
                       "VirtualService has the TCP port"),
               "compare hosts and routes with the servers", findings_);
  }

  // A gateway's client dialled the gateway: what is sent on to where it was dialled would come back.
  void warn_of_passthrough(const VirtualService& service, const std::string& place) {
    Inputs inputs = bound(Step::kPassthrough, service, place);
    for (const char* kind : {"ServiceEntry", "DestinationRule"}) stamps_.add(kind, &inputs);
    take(*remembered_.get(inputs, [&](StepResult* made) {
      control_plane::warn_of_passthrough(service, routes_of(service, place), objects_, &made->findings);
    }));
  }

  // True: something of it is served there.
  bool bind_listener(const VirtualService& service, const std::string& place, const Listening& one,
                     Port& port) {
    const Gateway::Listener& listener = *one.listener;
    std::set<std::string> hosts;
    for (const auto& server : listener.hosts) {
      if (server.ns != "*" && server.ns != service.meta.ns) continue;
      for (const std::string& host : service.routes->hosts()) {
        if (const auto common = common_host(server.name, host)) hosts.insert(*common);
      }
    }
    if (hosts.empty()) return false;
    const std::string dials_as = gateway_identity(*one.gateway);
    if (routing_of(listener) == Routing::kRequests) {
      if (!asks_for_requests(service, place, listener.port)) return false;
      for (const std::string& host : hosts)
        port.requests_of(listener).http[host].push_back({&service, place, listener.port, dials_as});
      return true;
    }
    if (!service.has_layer4()) return false;
    const RouteSet& routes = routes_of(service, place);
    bool any = false;
    switch (routing_of(listener)) {
      case Routing::kRequests:
        break;
      case Routing::kServerNames:
        for (mesh::v1::L4Route route : routes.tls()) {
          if (!keep_names(service.meta.ns, listener, &route)) continue;
          any = true;
          route.set_dials_as(dials_as);
          port.tls.push_back(std::move(route));
        }
        return any;
      case Routing::kConnections:
        return port.connections_of(listener).take({&service, place, listener.port, dials_as}, routes);
    }
    return any;
  }

  // Its routes at the gateway; what delegates lack was reported.
  const RouteSet& routes_of(const VirtualService& service, const std::string& place) {
    const auto [row, inserted] = routes_.try_emplace({&service, place});
    if (!inserted) return row->second;
    std::vector<Finding> reported;
    return row->second = routes_at(
               service,
               service.has_delegates ? with_delegates(service, objects_, &reported) : *service.routes, place);
  }

  Inputs bound(Step step, const VirtualService& service, const std::string& place) const {
    Inputs out(step);
    add_delegating(service, objects_, &out);
    return out.text(place);
  }

  bool asks_for_requests(const VirtualService& service, const std::string& place, uint16_t port) {
    const auto ports = remembered_.get(bound(Step::kGatewayPorts, service, place), [&](StepResult* made) {
      // 0: any.
      std::set<uint64_t> named;
      for (const HttpRoute& route : routes_of(service, place).http()) {
        if (route.matches().empty()) named.insert(0);
        for (const auto& match : route.matches()) named.insert(match.port());
      }
      made->numbers.assign(named.begin(), named.end());
    });
    return std::any_of(ports->numbers.begin(), ports->numbers.end(),
                       [port](uint64_t named) { return named == 0 || named == port; });
  }

  void take(const StepResult& result) {
    findings_->insert(findings_->end(), result.findings.begin(), result.findings.end());
  }

  // Oldest first: of two kinds that want one host of a listener the older has it.
  void attach_routes() {
    std::vector<const GatewayRoute*> routes;
    for_each<GatewayRoute>(objects_, [&](const GatewayRoute& route) { routes.push_back(&route); });
    std::sort(routes.begin(), routes.end(),
              [](const GatewayRoute* a, const GatewayRoute* b) { return is_older(a->meta, b->meta); });
    for (const GatewayRoute* route : routes) {
      for (const GatewayRoute::Parent& parent : route->parents) {
        if (!parent.service) attach(*route, parent);
      }
    }
  }

  void attach(const GatewayRoute& route, const GatewayRoute::Parent& parent) {
    const Gateway* gateway = find_gateway(objects_, "Gateway", parent.ns, parent.name);
    if (gateway == nullptr)
      return warn_about(route.meta, kReferenceMissing, parent.line, parent.field,
                        str_cat("Gateway ", parent.ns, "/", parent.name, " is unknown"),
                        "add it, or correct the name", findings_);
    // Somebody else's.
    if (gateway->listeners.empty()) return;
    Fit best = Fit::kNoParent;
    for (auto& [number, port] : ports_) {
      for (const Listening& one : port.listeners) {
        if (one.gateway != gateway) continue;
        const ListenerFit found = fit_of(route, parent, one, objects_);
        if (found.fit >= Fit::kNoHostname) report(route);
        const bool fits = found.fit == Fit::kAccepted;
        best = std::max(best, fits ? add_route(route, parent, one, found.hosts, port) : found.fit);
      }
    }
    facts_->note(route, parent, best);
    if (best < Fit::kConflict)
      warn_about(
          route.meta, kNotAttached, parent.line, parent.field,
          str_cat("no listener of Gateway ", parent.ns, "/", parent.name,
                  " takes this route: its protocol, host names, port, section or allowedRoutes do not fit"),
          "compare the route with the listeners", findings_);
  }

  // kAccepted or kConflict.
  Fit add_route(const GatewayRoute& route, const GatewayRoute::Parent& parent, const Listening& one,
                const std::set<std::string>& hosts, Port& port) {
    const Gateway::Listener& listener = *one.listener;
    const bool http = route.kind == Kind::kHttp || route.kind == Kind::kGrpc;
    const ResolvedRoute resolved{&route, http ? nullptr : rules_of(route), gateway_identity(*one.gateway)};
    if (!http) {
      facts_->attach(route, listener);
      if (route.kind == Kind::kTls)
        port.tls_routes.push_back({resolved, {hosts.begin(), hosts.end()}});
      else
        port.connections_of(listener).tcp_routes.push_back(resolved);
      return Fit::kAccepted;
    }
    if (const GatewayRoute* other = of_other_kind(route, listener, hosts)) {
      warn_about(
          route.meta, kRouteConflict, parent.line, parent.field,
          str_cat("the older ", other->meta.kind, " ", other->meta.ns, "/", other->meta.name,
                  " has host names of this on one listener: this ", route.meta.kind, " takes nothing there"),
          "use different host names, or one kind", findings_);
      return Fit::kConflict;
    }
    facts_->attach(route, listener);
    taken_[&listener].push_back({&route, hosts});
    Requests& requests = port.requests_of(listener);
    auto& by_host = route.kind == Kind::kGrpc ? requests.grpc_routes : requests.http_routes;
    for (const std::string& host : hosts) {
      auto& routes = by_host[host];
      const auto same = [&](const ResolvedRoute& other) { return other.route == &route; };
      if (std::none_of(routes.begin(), routes.end(), same)) routes.push_back(resolved);
    }
    return Fit::kAccepted;
  }

  // An HTTPRoute beside a GRPCRoute, or the other way round, with a name in common; null: none.
  const GatewayRoute* of_other_kind(const GatewayRoute& route, const Gateway::Listener& listener,
                                    const std::set<std::string>& hosts) const {
    const auto taken = taken_.find(&listener);
    if (taken == taken_.end()) return nullptr;
    for (const Taken& other : taken->second) {
      if (other.route->kind == route.kind) continue;
      for (const std::string& host : hosts) {
        for (const std::string& theirs : other.hosts) {
          if (common_host(host, theirs)) return other.route;
        }
      }
    }
    return nullptr;
  }

  void compile(uint16_t number, Port& port, GatewayRouteSets& out) {
    // Never "<namespace>/<name>", which VirtualServices have.
    const std::string place = str_cat("gateway/", number, "/");
    if (port.kind == ListenerKind::kHttp)
      return compile_requests(begin(number, port), port.requests[nullptr], port.listeners, port.redirected,
                              place, out);
    RouteSet set = begin(number, port);
    set_policies(policies_.of(port.listeners), set.mutable_gateway());
    set_identities(port.listeners, set.mutable_gateway());
    fill_layer4(port, &set);
    out.servers.insert(out.servers.end(), set.gateway().servers().begin(), set.gateway().servers().end());
    auto connections = std::make_shared<StepResult>();
    connections->resources.push_back(make_resource(kRouteSetType, str_cat(place, "*"), set));
    out.sets.push_back(std::move(connections));
    for (const Listening& one : port.listeners) {
      if (routing_of(*one.listener) != Routing::kRequests) continue;
      RouteSet first = begin(number, port);
      first.mutable_gateway()->set_server(tls_server_name(*one.gateway, *one.listener));
      // No other listener of the port has that name.
      const std::string own = sorted_hosts(*one.listener).front();
      compile_requests(first, port.requests_of(*one.listener), {&one, 1}, {}, str_cat(place, own, "/"), out);
    }
  }

  // A set for each host of these listeners, which begins as `first`.
  void compile_requests(const RouteSet& first, Requests& requests, std::span<const Listening> listeners,
                        const std::set<std::string>& redirected, const std::string& place,
                        GatewayRouteSets& out) {
    std::set<std::string> hosts = redirected;
    for (const auto& [host, routes] : requests.http) hosts.insert(host);
    for (const auto& [host, routes] : requests.http_routes) hosts.insert(host);
    for (const auto& [host, routes] : requests.grpc_routes) hosts.insert(host);
    // What no other host has is answered too, with 404.
    hosts.insert("*");
    for (const std::string& host : hosts) {
      const std::string name = str_cat(place, host);
      const mesh::v1::GatewayPolicies policies = policies_.of(listeners, host);
      const Inputs inputs = inputs_of(name, host, requests).text(policies.SerializeAsString());
      out.sets.push_back(remembered_.get(inputs, [&](StepResult* made) {
        RouteSet set = first;
        set.mutable_gateway()->set_any_host(host == "*");
        set_policies(policies, set.mutable_gateway());
        if (host != "*") set.add_hosts(host);
        if (host == "*") set_identities(listeners, set.mutable_gateway());
        fill_http(host, requests, redirected, &set);
        made->resources.push_back(make_resource(kRouteSetType, name, set));
      }));
    }
  }

  // Of a host's set: the gateways, what is bound to it, and what that refers to.
  Inputs inputs_of(const std::string& name, const std::string& host, Requests& requests) const {
    Inputs out(Step::kGatewayHost);
    out.text(name);
    for (const char* kind : {"Gateway", "IstioGateway"}) stamps_.add(kind, &out);
    for (const BoundService& one : requests.http[host]) {
      add_delegating(*one.service, objects_, &out);
      out.text(one.place).number(one.port).text(one.dials_as);
    }
    for (const auto* routes : {&requests.grpc_routes[host], &requests.http_routes[host]}) {
      out.number(routes->size());
      for (const ResolvedRoute& one : *routes) out.object(one.route->meta).text(one.dials_as);
      if (routes->empty()) continue;
      for (const char* kind : {"Service", "ReferenceGrant"}) stamps_.add(kind, &out);
    }
    return out;
  }

  static RouteSet begin(uint16_t number, const Port& port) {
    RouteSet out;
    out.set_name(str_cat(port.first->meta.name, ":", number));
    out.set_namespace_(port.first->meta.ns);
    out.mutable_gateway()->set_port(number);
    out.mutable_gateway()->set_kind(port.kind == ListenerKind::kHttp  ? mesh::v1::GatewayBinding::HTTP
                                    : port.kind == ListenerKind::kTcp ? mesh::v1::GatewayBinding::TCP
                                                                      : mesh::v1::GatewayBinding::TLS);
    *out.mutable_origin() = origin_of(port.first->meta);
    return out;
  }

  void fill_http(const std::string& host, Requests& requests, const std::set<std::string>& redirected,
                 RouteSet* set) {
    const auto covers = [&](const std::string& pattern) {
      return pattern == "*" || pattern == host || host_covers(pattern, host);
    };
    if (std::any_of(redirected.begin(), redirected.end(), covers)) {
      HttpRoute& route = *set->add_http();
      route.set_name("https-redirect");
      route.mutable_redirect()->set_scheme("https");
      route.mutable_redirect()->set_code(301);
      route.mutable_redirect()->set_port(443);
      *route.mutable_origin() = set->origin();
      return;
    }
    // gRPC's are more specific by their kind; VirtualServices follow in their own order, catch-alls last.
    for (auto* routes : {&requests.grpc_routes[host], &requests.http_routes[host]}) {
      for (ResolvedRoute& one : *routes) one.rules = rules_of(*one.route);
      for (HttpRoute& route : in_precedence(*routes)) *set->add_http() = std::move(route);
    }
    for (const bool catch_all : {false, true}) {
      for (const BoundService& one : requests.http[host]) {
        for (const HttpRoute& route : routes_of(*one.service, one.place).http()) {
          if (!reaches_port(route, one.port) || is_catch_all(route) != catch_all) continue;
          *set->add_http() = route;
          set->mutable_http()->rbegin()->set_dials_as(one.dials_as);
        }
      }
    }
  }

  void fill_layer4(const Port& port, RouteSet* set) {
    if (port.ends_tls() || !port.refused.empty()) {
      for (const Listening& one : port.listeners) {
        mesh::v1::TlsServer& server = *set->mutable_gateway()->add_servers();
        server = tls_server(*one.gateway, *one.listener, objects_, findings_);
        if (!server.problem().empty()) facts_->listeners[one.listener].problem = server.problem();
        set_policies(policies_.of({&one, 1}), &server);
        const auto connections = port.tcp.find(one.listener);
        if (connections == port.tcp.end()) continue;
        for (auto& route : connections->second.all()) *server.add_tcp() = std::move(route);
      }
      // After those that are served: the first of a name has it.
      for (const Listening& one : port.refused)
        *set->mutable_gateway()->add_servers() = refusing_server(
            *one.gateway, *one.listener,
            "another listener has a server name of this one; next: use other host names, or one listener");
    }
    for (auto& route : tls_in_precedence(port.tls_routes)) *set->add_tls() = std::move(route);
    for (const auto& route : port.tls) *set->add_tls() = route;
    const auto connections = port.tcp.find(nullptr);
    if (connections == port.tcp.end()) return;
    for (auto& route : connections->second.all()) *set->add_tcp() = std::move(route);
  }

  const std::vector<HttpRoute>* rules_of(const GatewayRoute& route) {
    const auto [row, inserted] = rules_.try_emplace(&route);
    std::vector<Finding> reported;
    if (inserted) row->second = resolve_rules(route, objects_, Grants::kNeeded, &reported);
    return &row->second;
  }

  // What is wrong with its references, once.
  void report(const GatewayRoute& route) {
    if (!reported_.insert(&route).second) return;
    Inputs inputs(Step::kGatewayRules);
    inputs.object(route.meta);
    for (const char* kind : {"Service", "ReferenceGrant"}) stamps_.add(kind, &inputs);
    const auto result = remembered_.get(inputs, [&](StepResult* made) { report_rules(route, made); });
    facts_->references[{&route, Grants::kNeeded}] = result->refused;
    take(*result);
  }

  void report_rules(const GatewayRoute& route, StepResult* made) {
    // Parents that are Services have reported the same references, but for grants.
    const bool of_mesh = std::any_of(route.parents.begin(), route.parents.end(),
                                     [](const GatewayRoute::Parent& parent) { return parent.service; });
    std::vector<Finding> reported, all;
    if (of_mesh) resolve_rules(route, objects_, Grants::kNotNeeded, &reported);
    rules_[&route] = resolve_rules(route, objects_, Grants::kNeeded, &all, &made->refused);
    for (Finding& finding : all) {
      const auto same = [&](const Finding& f) { return f.code == finding.code && f.field == finding.field; };
      if (std::none_of(reported.begin(), reported.end(), same)) made->findings.push_back(std::move(finding));
    }
  }

  const Objects& objects_;
  const KindStamps& stamps_;
  Remembered& remembered_;
  std::vector<Finding>* findings_;
  GatewayFacts* facts_;
  const GatewayPolicyIndex policies_;
  std::map<uint16_t, Port> ports_;
  std::map<std::pair<const VirtualService*, std::string>, RouteSet> routes_;
  std::set<const GatewayRoute*> reported_;
  std::map<const Gateway::Listener*, std::vector<Taken>> taken_;
  std::map<const GatewayRoute*, std::vector<HttpRoute>> rules_;
};

}  // namespace

GatewayRouteSets gateway_routes(const Objects& objects, const KindStamps& stamps, Remembered& remembered,
                                std::vector<Finding>* findings, GatewayFacts* facts) {
  return Gateways(objects, stamps, remembered, findings, facts).run();
}

}  // namespace weft::control_plane
