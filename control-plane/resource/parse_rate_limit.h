// The annotation weft.dev/rate-limit of VirtualServices, HTTPRoutes and GRPCRoutes: token buckets for their
// routes. Called by the parsers of those kinds, after the routes.
#pragma once

#include <string>
#include <vector>

#include "control-plane/resource/field_reader.h"
#include "control-plane/resource/objects.h"

namespace weft::control_plane {

struct LimitedRoute {
  std::string name;  // as written; empty: none
  mesh::v1::HttpRoute* http;
};

// `root`: of the document. Gives each of the routes the limits that are meant for it.
void parse_rate_limits(const FieldReader& root, const ObjectMeta& meta,
                       const std::vector<LimitedRoute>& routes);

}  // namespace weft::control_plane
