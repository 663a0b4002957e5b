// See object_status.h.
#include "control-plane/status/object_status.h"

#include <algorithm>
#include <iterator>

#include "control-plane/kubernetes/json_fields.h"

namespace weft::control_plane {
namespace {

using Json = nlohmann::json;

std::optional<Json> of_istio(const Json& object, const std::vector<Finding>& findings) {
  const std::optional<Json> messages = messages_for(object_at(object, "status"), findings);
  if (!messages) return std::nullopt;
  Json out{{"validationMessages", *messages}};
  const Json meta = object_at(object, "metadata");
  if (meta.contains("generation")) out["observedGeneration"] = meta["generation"];
  return out;
}

}  // namespace

std::optional<Json> status_for(const ObjectName& name, const Json& object,
                               const std::vector<Finding>& findings, const GatewayApiWords& words) {
  if (name.kind->is_of_istio()) return of_istio(object, findings);
  std::vector<Finding> errors;
  std::copy_if(findings.begin(), findings.end(), std::back_inserter(errors),
               [](const Finding& finding) { return finding.level == Finding::Level::kError; });
  if (name.kind->name == "Gateway") return gateway_status_for(object, name.key(), errors, words);
  return route_status_for(object, name.key(), errors, words);
}

}  // namespace weft::control_plane
