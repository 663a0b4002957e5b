// Route selection: first match wins. Called by the exchange once per request; the weighted choice among the
// route's clusters is the caller's, because it needs the worker's own state.
#pragma once

#include "userspace-proxy/config/snapshot.h"

namespace weft::proxy {

struct RouteMatch {
  // nullptr: no route matches, answered 404 no_route.
  const Route* route = nullptr;
  // The one of its matches that held; nullptr when it has none.
  const HttpMatcher* matcher = nullptr;
};

// Makes a long list fast to look up, by the matches of each of its routes, which must stay where they are;
// null for a short one.
std::shared_ptr<const RouteIndex> index_routes(const std::vector<std::span<const HttpMatcher>>& routes);

RouteMatch match_route(const VirtualHost& host, const RequestHead& head, const SourceView& source,
                       uint16_t dialled_port);

// The route of a connection that is no HTTP; nullptr: none matches. `server_name`: of its ClientHello, when
// it is `tls`.
const L4Route* match_l4_route(const L4Host& host, bool tls, std::string_view server_name,
                              const SocketAddress& dialled, const SourceView& source);

// What is known of a connection that is no HTTP.
struct L4Connection {
  bool tls = false;              // its client speaks TLS,
  std::string_view server_name;  // to this one
  SocketAddress dialled;
  bool gateway = false;       // it came to a gateway's port
  bool declared_tls = false;  // the port is declared TLS
};

struct L4Choice {
  enum class Kind : uint8_t {
    kService,  // to the service that was dialled, as if there were no routes
    kRoute,
    kRefused,  // no_route
  };
  Kind kind = Kind::kService;
  const L4Route* route = nullptr;  // of kRoute
};

// What becomes of it. `host`: the routes of what was dialled; nullptr: there are none.
L4Choice choose_l4(const L4Host* host, const L4Connection& connection, const SourceView& source);

// What matching sees of a source; an unknown one (kNone) is namespace "default" without labels.
SourceView source_view(const Snapshot& snapshot, uint32_t source);

}  // namespace weft::proxy
