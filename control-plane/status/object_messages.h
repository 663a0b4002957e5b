// Findings as the status of the objects that they are about: Istio's status.validationMessages, and Events.
// Pure; the writer brings objects and takes what is to be written.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "control-plane/control_plane.h"
#include "control-plane/kubernetes/kinds.h"

namespace weft::control_plane {

struct ObjectName {
  const KubernetesKind* kind = nullptr;  // of kubernetes_kinds()
  std::string ns, name;

  // Where version `version` of it is, "/apis/networking.istio.io/v1/namespaces/shop/virtualservices/cart".
  std::string path(size_t version) const;
  bool operator==(const ObjectName&) const = default;
  auto operator<=>(const ObjectName& other) const {
    return std::tie(kind, ns, name) <=> std::tie(other.kind, other.ns, other.name);
  }
};

// The object of a finding; nullopt: none whose status has validationMessages (an Istio kind).
std::optional<ObjectName> object_of(const Finding& finding);

using ObjectFindings = std::map<ObjectName, std::vector<Finding>>;
ObjectFindings by_object(const std::vector<Finding>& findings);

// status.validationMessages of an object that has `status` now: ours are replaced, those of others stay as
// they are. nullopt: they are as they should be.
std::optional<nlohmann::json> messages_for(const nlohmann::json& status,
                                           const std::vector<Finding>& findings);
// Whether some of them are ours.
bool has_ours(const nlohmann::json& status);

// An Event about an error; `object` as the API server has it. Equal errors give equal names.
nlohmann::json event_for(const nlohmann::json& object, const Finding& finding, const std::string& now);

}  // namespace weft::control_plane
