// The order of Gateway API routes that share a place: the specification ranks their matches, whatever the
// order in which they were written, so that a list in that order can be tried from its top as a
// VirtualService is. Pure.
#pragma once

#include <string>
#include <vector>

#include "control-plane/resource/objects.h"

namespace weft::control_plane {

// A route with what its rules do (route_backends.h).
struct ResolvedRoute {
  const GatewayRoute* route = nullptr;
  const std::vector<mesh::v1::HttpRoute>* rules = nullptr;
  std::string dials_as = {};  // the identity of the gateway that it is attached to, for its routes
};

// HTTPRoutes, or GRPCRoutes: one list, the first match wins. Exact path, then regular expression (the
// specification leaves its place open), then the longest prefix; method; more headers; more query parameters;
// then the older route, by name, and the earlier rule. GRPCRoute: the longer service, the longer method, more
// headers.
std::vector<mesh::v1::HttpRoute> in_precedence(const std::vector<ResolvedRoute>& routes);

// TLSRoutes: exact names before wildcards, longer before shorter, older before younger. `names`: what of a
// route's host names counts here.
struct NamedRoute {
  ResolvedRoute resolved;
  std::vector<std::string> names;
};
std::vector<mesh::v1::L4Route> tls_in_precedence(const std::vector<NamedRoute>& routes);

// TCPRoutes: the oldest takes everything.
std::vector<mesh::v1::L4Route> tcp_in_precedence(const std::vector<ResolvedRoute>& routes);

// Older, or before by namespace and name.
bool is_older(const ObjectMeta& a, const ObjectMeta& b);

}  // namespace weft::control_plane
