// See own_routes.h.
#include "control-plane/compile/own_routes.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "base/strings.h"
#include "control-plane/compile/make_resource.h"
#include "control-plane/compile/mesh_config.h"
#include "control-plane/compile/routes_at.h"
#include "control-plane/compile/workloads.h"
#include "control-plane/resource/host_name.h"

namespace weft::control_plane {
namespace {

// Nobody's routes but its own depend on it, and these on nothing but itself.
bool stands_alone(const VirtualService& service) {
  return !service.hidden && !service.is_delegate() && !service.has_delegates && !service.has_layer4() &&
         service.bound_to.empty();
}

bool same_list(const google::protobuf::RepeatedPtrField<std::string>& a,
               const google::protobuf::RepeatedPtrField<std::string>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end());
}

bool has_subset(const Objects& objects, const HostReference& reference) {
  bool found = reference.subset.empty();
  if (found) return true;
  for_each<DestinationRule>(objects, [&](const DestinationRule& rule) {
    if (found || rule.hidden || !host_covers(rule.host.host, reference.host)) return;
    found = std::any_of(rule.subsets.begin(), rule.subsets.end(),
                        [&](const HostReference& subset) { return subset.subset == reference.subset; });
  });
  return found;
}

// Nothing is to be said about what it refers to. False: not known.
bool refers_to_services(const VirtualService& service, const Objects& objects) {
  return std::all_of(
      service.references.begin(), service.references.end(), [&](const HostReference& reference) {
        return find_service(objects, reference.host) != nullptr && has_subset(objects, reference);
      });
}

bool is_spoken_of(const ObjectKey& key, const std::vector<Finding>& findings) {
  if (findings.empty()) return false;
  const std::string name = key.to_string();
  return std::any_of(findings.begin(), findings.end(),
                     [&name](const Finding& finding) { return finding.object == name; });
}

}  // namespace

bool changes_own_routes(const ObjectChange& change) {
  if (change.before == nullptr || change.now == nullptr) return false;
  const auto* const before = std::get_if<VirtualService>(change.before);
  const auto* const now = std::get_if<VirtualService>(change.now);
  return before != nullptr && now != nullptr && stands_alone(*before) && stands_alone(*now) &&
         before->gateways == now->gateways && before->meta.created_unix == now->meta.created_unix &&
         same_list(before->routes->hosts(), now->routes->hosts()) &&
         same_list(before->routes->export_to(), now->routes->export_to());
}

bool compile_own_routes(const ObjectKey& key, uint64_t compiled, const Objects& objects, Compiled& rest,
                        Change& out) {
  const auto* const service = find<VirtualService>(objects, key.ns, key.name);
  const std::string name = str_cat(key.ns, "/", key.name);
  const auto row = rest.resources.find({kRouteSetType, name});
  if (service == nullptr || row == rest.resources.end() || is_spoken_of(key, rest.findings) ||
      !refers_to_services(*service, objects))
    return false;
  const MeshConfig* const mesh = mesh_config_of(objects);
  const auto step = [mesh](uint64_t revision) {
    return Inputs(Step::kObject).number(revision).object(mesh == nullptr ? nullptr : &mesh->meta);
  };
  // Of another object of that resource name: the row is not this one's.
  const auto known = rest.steps.find(step(compiled));
  if (known == rest.steps.end() || known->second->resources.empty() ||
      known->second->resources.front().version() != row->second.version())
    return false;
  std::optional<mesh::v1::RouteSet> made;
  const mesh::v1::RouteSet* const routes = routes_on_mesh(*service, *service->routes, mesh, made);
  if (routes == nullptr) return false;
  Resource resource = make_resource(kRouteSetType, name, *routes);
  if (resource.version() != row->second.version()) out.upserted.push_back(resource);
  // The key is in the resource.
  rest.resources.erase(row);
  rest.add(resource);
  rest.steps.erase(known);
  auto result = std::make_shared<StepResult>();
  result->resources.push_back(std::move(resource));
  rest.steps.insert_or_assign(step(service->meta.revision), std::move(result));
  return true;
}

}  // namespace weft::control_plane
