// See route_backends.h.
#include "control-plane/compile/route_backends.h"

#include <algorithm>

#include "base/strings.h"
#include "control-plane/resource/finding_codes.h"
#include "control-plane/resource/gateway_route_parts.h"
#include "control-plane/resource/host_name.h"

namespace weft::control_plane {
namespace {

using mesh::v1::Destination;
using mesh::v1::HttpRoute;

// Why a reference may not be used; `code` null: it may.
struct Problem {
  const char* code = nullptr;
  RefusedReference::Why why = RefusedReference::Why::kNone;
  std::string message, remedy;
};

class Resolver {
 public:
  Resolver(const GatewayRoute& route, const Objects& objects, Grants grants, std::vector<Finding>* findings,
           RefusedReference* first)
      : route_(route), objects_(objects), grants_(grants), findings_(findings), first_(first) {}

  HttpRoute rule(const GatewayRoute::Rule& rule) {
    HttpRoute out = rule.http;
    for (const GatewayRoute::Backend& mirror : rule.mirrors) {
      Destination destination = resolve(mirror);
      if (destination.invalid()) continue;
      mesh::v1::Mirror& added = *out.add_mirrors();
      *added.mutable_destination() = std::move(destination);
      added.set_ppm(mirror.ppm);
    }
    if (out.has_redirect()) return out;
    for (const GatewayRoute::Backend& backend : rule.backends) {
      Destination destination = resolve(backend);
      if (destination.weight() > 0) *out.add_destinations() = std::move(destination);
    }
    if (rule.backends.empty())
      warn(kBackendRefused, rule.line, "spec.rules.backendRefs", "a rule without backends answers 500",
           "give backendRefs, or a filter that answers");
    // All weights are 0: nothing is forwarded.
    if (out.destinations().empty()) {
      out.add_destinations()->set_invalid(true);
      out.mutable_destinations(0)->set_weight(1);
    }
    return out;
  }

 private:
  using Why = RefusedReference::Why;

  Destination resolve(const GatewayRoute::Backend& backend) {
    Destination out = backend.destination;
    const Problem problem = problem_of(backend);
    if (problem.code == nullptr) {
      out.set_host(service_host(backend.name, backend.ns));
      out.set_port(backend.port);
      return out;
    }
    warn(problem.code, backend.line, backend.field, problem.message, problem.remedy);
    if (first_ != nullptr && first_->why == RefusedReference::Why::kNone)
      *first_ = {problem.why, findings_->back()};
    out.Clear();
    out.set_invalid(true);
    out.set_weight(backend.destination.weight());
    return out;
  }

  Problem problem_of(const GatewayRoute::Backend& backend) const {
    if (!backend.unusable.empty())
      return {kBackendRefused, Why::kInvalidKind,
              str_cat(backend.unusable, " is no backend: its share is answered with 500"),
              "refer to a Service"};
    if (grants_ == Grants::kNeeded && backend.ns != route_.meta.ns &&
        !is_granted({route_.meta.kind, route_.meta.ns, "", "Service", backend.ns, backend.name}, objects_))
      return {kBackendRefused, Why::kNotPermitted,
              str_cat("no ReferenceGrant of namespace ", backend.ns, " lets ", route_.meta.kind, "s of ",
                      route_.meta.ns, " refer to Service ", backend.name, ": its share is answered with 500"),
              str_cat("add a ReferenceGrant in ", backend.ns)};
    const auto found = objects_.find(ObjectKey{"Service", backend.ns, backend.name});
    if (found == objects_.end())
      return {
          kReferenceMissing, Why::kNotFound,
          str_cat("Service ", backend.ns, "/", backend.name, " is unknown: its share is answered with 500"),
          "add the Service, or correct the name"};
    const Service& service = std::get<Service>(*found->second);
    const auto is_port = [&](const Service::Port& port) { return port.number == backend.port; };
    if (std::none_of(service.ports.begin(), service.ports.end(), is_port))
      return {kReferenceMissing, Why::kNotFound,
              str_cat("Service ", backend.ns, "/", backend.name, " has no port ", backend.port,
                      ": its share is answered with 500"),
              "use one of the Service's ports"};
    return {};
  }

  void warn(const char* code, uint32_t line, const std::string& field, std::string message,
            std::string remedy) {
    warn_about(route_.meta, code, line, field, std::move(message), std::move(remedy), findings_);
  }

  const GatewayRoute& route_;
  const Objects& objects_;
  const Grants grants_;
  std::vector<Finding>* findings_;
  RefusedReference* first_;
};

bool names(const ReferenceGrant::To& to, const Reference& reference) {
  const std::string group = to.group == "core" ? "" : to.group;
  return group == reference.to_group && to.kind == reference.to_kind &&
         (to.name.empty() || to.name == reference.to_name);
}

}  // namespace

std::vector<HttpRoute> resolve_rules(const GatewayRoute& route, const Objects& objects, Grants grants,
                                     std::vector<Finding>* findings, RefusedReference* first) {
  Resolver resolver(route, objects, grants, findings, first);
  std::vector<HttpRoute> out;
  for (const GatewayRoute::Rule& rule : route.rules) out.push_back(resolver.rule(rule));
  return out;
}

bool is_granted(const Reference& reference, const Objects& objects) {
  bool granted = false;
  for_each<ReferenceGrant>(objects, [&](const ReferenceGrant& grant) {
    if (grant.meta.ns != reference.to_ns) return;
    const bool from = std::any_of(grant.from.begin(), grant.from.end(), [&](const ReferenceGrant::From& f) {
      return f.group == kGatewayGroup && f.kind == reference.from_kind && f.ns == reference.from_ns;
    });
    const bool to = std::any_of(grant.to.begin(), grant.to.end(),
                                [&](const ReferenceGrant::To& t) { return names(t, reference); });
    granted = granted || (from && to);
  });
  return granted;
}

void warn_about(const ObjectMeta& meta, const char* code, uint32_t line, const std::string& field,
                std::string message, std::string remedy, std::vector<Finding>* findings) {
  findings->push_back({code, Finding::Level::kWarning, meta.file, line,
                       ObjectKey{meta.kind, meta.ns, meta.name}.to_string(), field, std::move(message),
                       std::move(remedy)});
}

}  // namespace weft::control_plane
