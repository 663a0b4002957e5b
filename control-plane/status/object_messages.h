// Findings as the status of the objects that they are about: Istio's status.validationMessages, and Events.
// Pure; object_status.h asks. (gateway_conditions.h has the Gateway API's.)
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "control-plane/control_plane.h"
#include "control-plane/kubernetes/kinds.h"
#include "control-plane/resource/objects.h"

namespace weft::control_plane {

struct ObjectName {
  const KubernetesKind* kind = nullptr;  // of kubernetes_kinds()
  std::string ns, name;

  // Where version `version` of it is, "/apis/networking.istio.io/v1/namespaces/shop/virtualservices/cart".
  std::string path(size_t version) const;
  ObjectKey key() const { return {std::string(kind->name), ns, name}; }
  bool operator==(const ObjectName&) const = default;
  auto operator<=>(const ObjectName& other) const {
    return std::tie(kind, ns, name) <=> std::tie(other.kind, other.ns, other.name);
  }
};

// Whether the status of its objects is written: Istio's kinds, and those of the Gateway API.
bool has_status(const KubernetesKind& kind);
// Of a kind that has_status(), by name or of a finding; nullopt: of no such kind.
std::optional<ObjectName> object_of(const ObjectKey& key);
std::optional<ObjectName> object_of(const Finding& finding);
// Field, message and remedy on one line.
std::string text_of(const Finding& finding);

using ObjectFindings = std::map<ObjectName, std::vector<Finding>>;
ObjectFindings by_object(const std::vector<Finding>& findings);

// status.validationMessages of an object that has `status` now: ours are replaced, those of others stay as
// they are. nullopt: they are as they should be.
std::optional<nlohmann::json> messages_for(const nlohmann::json& status,
                                           const std::vector<Finding>& findings);

// An Event about an error; `object` as the API server has it. Equal errors give equal names.
nlohmann::json event_for(const nlohmann::json& object, const Finding& finding, const std::string& now);

}  // namespace weft::control_plane
