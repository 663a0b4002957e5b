// See mesh_config.h.
#include "control-plane/compile/mesh_config.h"

#include <algorithm>
#include <set>
#include <utility>

#include "base/strings.h"
#include "control-plane/compile/route_backends.h"
#include "control-plane/compile/routes_at.h"
#include "control-plane/resource/finding_codes.h"
#include "control-plane/resource/host_name.h"

namespace weft::control_plane {
namespace {

// Host and port of everything that can be asked.
std::set<std::pair<std::string, uint32_t>> served_ports(const Objects& objects) {
  std::set<std::pair<std::string, uint32_t>> out;
  for_each<Service>(objects, [&out](const Service& service) {
    for (const Service::Port& port : service.ports)
      out.emplace(service_host(service.meta.name, service.meta.ns), port.number);
  });
  for_each<ServiceEntry>(objects, [&out](const ServiceEntry& entry) {
    for (const std::string& host : entry.hosts) {
      for (const ServiceEntry::Port& port : entry.ports) out.emplace(host, port.number);
    }
  });
  return out;
}

void check_providers(const MeshConfig& mesh, const Objects& objects, std::vector<Finding>* out) {
  if (mesh.places.empty()) return;
  const auto served = served_ports(objects);
  for (size_t i = 0; i < mesh.places.size(); ++i) {
    const mesh::v1::ExternalProvider& provider = mesh.message.providers(static_cast<int>(i));
    if (served.contains({provider.host(), provider.port()})) continue;
    warn_about(mesh.meta, kProviderMissing, mesh.places[i].line, mesh.places[i].field,
               str_cat("no Service or ServiceEntry ", provider.host(), " has port ", provider.port(),
                       ": what \"", provider.name(), "\" is to be asked about is refused"),
               "compare service and port with the Service", out);
  }
}

}  // namespace

const MeshConfig* mesh_config_of(const Objects& objects) {
  const MeshConfig* best = nullptr;
  for_each<MeshConfig>(objects, [&best](const MeshConfig& each) {
    if (best == nullptr || each.meta.ns == kOwnNamespace) best = &each;
  });
  return best;
}

bool adds_retries(const MeshConfig* mesh) { return mesh != nullptr && mesh->message.has_default_retries(); }

void add_default_retries(const MeshConfig* mesh, mesh::v1::RouteSet& routes) {
  if (!adds_retries(mesh)) return;
  for (mesh::v1::HttpRoute& route : *routes.mutable_http()) {
    if (!route.has_retries() && !route.destinations().empty())
      *route.mutable_retries() = mesh->message.default_retries();
  }
}

const mesh::v1::RouteSet* routes_on_mesh(const VirtualService& service, const mesh::v1::RouteSet& routes,
                                         const MeshConfig* mesh, std::optional<mesh::v1::RouteSet>& made) {
  const mesh::v1::RouteSet* out = &routes;
  if (adds_retries(mesh) || !holds_on_mesh(service, routes)) {
    made = routes_at(service, routes, "mesh");
    add_default_retries(mesh, *made);
    out = &*made;
  }
  return out->http().empty() && out->tls().empty() && out->tcp().empty() ? nullptr : out;
}

void check_mesh_config(const Objects& objects, std::vector<Finding>* out) {
  const MeshConfig* const mesh = mesh_config_of(objects);
  for_each<MeshConfig>(objects, [&](const MeshConfig& each) {
    if (&each != mesh)
      warn_about(each.meta, kWithoutEffect, each.meta.line, "data.mesh",
                 str_cat("ConfigMap ", mesh->meta.ns, "/", mesh->meta.name, " takes its place as a whole"),
                 "remove one of them", out);
  });
  if (mesh != nullptr) check_providers(*mesh, objects, out);
  for_each<AuthorizationPolicy>(objects, [&](const AuthorizationPolicy& policy) {
    if (policy.provider.empty()) return;
    const auto named = [&policy](const MeshConfig::Provider& one) { return one.name == policy.provider; };
    if (mesh != nullptr && std::any_of(mesh->places.begin(), mesh->places.end(), named)) return;
    warn_about(policy.meta, kProviderMissing, policy.meta.line, "spec.provider.name",
               str_cat("the mesh has no provider \"", policy.provider.substr(0, 64),
                       "\": what the policy selects is refused"),
               "add it to extensionProviders of the MeshConfig (docs/authorization.md)", out);
  });
}

}  // namespace weft::control_plane
