// The status of objects of the Gateway API as JSON: conditions of Gateways, listeners and classes, and what a
// route is told about each of its parents. What other controllers wrote stays. Pure; each takes an object as
// the API server has it and returns what its status is to be, as a merge patch (RFC 7386), or nullopt when it
// is so already.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "control-plane/control_plane.h"
#include "control-plane/gateway_api_status.h"

namespace weft::control_plane {

// spec.controllerName of a GatewayClass, and status.parents[].controllerName.
inline constexpr char kControllerName[] = "weft.dev/gateway-controller";

// What is known besides the object.
struct GatewayApiWords {
  const GatewayApiStatus* api = nullptr;  // null: nothing
  std::vector<std::string> addresses;     // IPs at which Gateways are reached; empty: not said
  std::string now;                        // of a condition that changes, RFC 3339
};

// `errors`: findings that refuse the object as it is now.
std::optional<nlohmann::json> route_status_for(const nlohmann::json& object, const ObjectKey& key,
                                               const std::vector<Finding>& errors,
                                               const GatewayApiWords& words);
std::optional<nlohmann::json> gateway_status_for(const nlohmann::json& object, const ObjectKey& key,
                                                 const std::vector<Finding>& errors,
                                                 const GatewayApiWords& words);
std::optional<nlohmann::json> class_status_for(const nlohmann::json& object, const std::string& now);

}  // namespace weft::control_plane
