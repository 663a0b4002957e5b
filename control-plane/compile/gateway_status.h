// From what was decided about gateways and routes to what their objects are told. Pure; the compiler calls
// it.
#pragma once

#include <memory>

#include "control-plane/compile/gateway_facts.h"
#include "control-plane/compile/remembered.h"
#include "control-plane/gateway_api_status.h"

namespace weft::control_plane {

// The last one when nothing that it depends on is another. Never null.
std::shared_ptr<const GatewayApiStatus> gateway_api_status(const Objects& objects, const KindStamps& stamps,
                                                           Remembered& remembered, const GatewayFacts& facts);

}  // namespace weft::control_plane
