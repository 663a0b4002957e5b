// From the traffic rules of weft.mesh.v1.HttpRoute to compiled actions (route/action.h). Called by
// validate_route.cc on the configuration thread; a failure names the field and what was expected.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "proto/weft/mesh/v1/mesh.pb.h"
#include "userspace-proxy/route/action.h"

namespace weft::proxy {

// Null when the route only forwards.
absl::StatusOr<std::shared_ptr<const RouteAction>> compile_action(const weft::mesh::v1::HttpRoute& route,
                                                                  LimiterTable& limiters);
absl::StatusOr<std::shared_ptr<const DestinationAction>> compile_action(
    const weft::mesh::v1::Destination& destination);

// RE2 with the limits of networking.istio.io: 1024 characters, and a budget for short ones that explode.
absl::StatusOr<std::shared_ptr<const re2::RE2>> compile_regex(const std::string& text);

}  // namespace weft::proxy
