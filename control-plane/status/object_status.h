// What the status of an object is to say, whatever kind it is of. Pure; the writer asks it of objects as the
// API server has them.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "control-plane/status/gateway_conditions.h"
#include "control-plane/status/object_messages.h"

namespace weft::control_plane {

// The object's new status as a merge patch of it (RFC 7386), with what others wrote left as it is; nullopt:
// it is right as it is. `findings`: about this object.
std::optional<nlohmann::json> status_for(const ObjectName& name, const nlohmann::json& object,
                                         const std::vector<Finding>& findings, const GatewayApiWords& words);

}  // namespace weft::control_plane
