// What of a VirtualService's routes holds at a gateway, at one of its listeners, or on the mesh. Pure; of the
// compiler.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>

#include "control-plane/resource/objects.h"

namespace weft::control_plane {

// The routes of a VirtualService that hold at `place`: "mesh", or "<namespace>/<name>" of a gateway. What
// selects the client does not count at gateways.
mesh::v1::RouteSet routes_at(const VirtualService& service, const mesh::v1::RouteSet& routes,
                             const std::string& place);

// Whether that is `routes` as they stand, at "mesh": nothing has to be left out, or made of them.
bool holds_on_mesh(const VirtualService& service, const mesh::v1::RouteSet& routes);

// The more specific of two names when one covers the other; "*" covers all.
std::optional<std::string> common_host(const std::string& a, const std::string& b);

// Leaves the server names that the listener has for routes of this namespace; false: none.
bool keep_names(const std::string& ns, const Gateway::Listener& listener, mesh::v1::L4Route* route);

// Whether some of its matches may hold on the port. (Of those that name another the proxy makes nothing.)
template <typename Route>
bool reaches_port(const Route& route, uint32_t port) {
  return route.matches().empty() ||
         std::any_of(route.matches().begin(), route.matches().end(),
                     [port](const auto& match) { return match.port() == 0 || match.port() == port; });
}

}  // namespace weft::control_plane
