// Route selection over compiled matches. Pure, allocation-free; called by the exchange, never blocks.
#include "userspace-proxy/config/match_route.h"

#include <algorithm>

#include "base/courtesy.h"

namespace weft::proxy {

namespace {

// Nothing but the path decides, and the index knows all of it.
bool is_decided(const HttpMatcher& matcher) {
  constexpr StringMatcher::Kind kAny = StringMatcher::Kind::kAny;
  return PathIndex::decides(matcher.uri) && matcher.port == 0 && matcher.source_ns.empty() &&
         matcher.source_labels.empty() && matcher.method.kind == kAny && matcher.authority.kind == kAny &&
         matcher.scheme.kind == kAny && matcher.headers.empty() && matcher.without_headers.empty() &&
         matcher.query_params.empty();
}

RouteMatch match_indexed(const VirtualHost& host, const RequestHead& head, const SourceView& source,
                         uint16_t dialled_port) {
  const RouteIndex& index = *host.index;
  const uint32_t found = index.paths.first(head.path, kNone, [&](uint32_t i) {
    const RouteIndex::Entry& entry = index.entries[i];
    return entry.decided || entry.matcher->matches(head, source, dialled_port);
  });
  if (found == kNone) return RouteMatch{};
  return RouteMatch{&host.routes[index.entries[found].route], index.entries[found].matcher};
}

}  // namespace

std::shared_ptr<const RouteIndex> index_routes(const std::vector<std::span<const HttpMatcher>>& routes) {
  size_t count = 0;
  for (const std::span<const HttpMatcher> matches : routes) count += std::max<size_t>(matches.size(), 1);
  if (count < PathIndex::kMinEntries) return nullptr;
  auto out = std::make_shared<RouteIndex>();
  out->entries.reserve(count);
  for (uint32_t r = 0; r < routes.size(); ++r) {
    give_way();
    for (const HttpMatcher& matcher : routes[r]) {
      out->entries.push_back({.matcher = &matcher, .route = r, .decided = is_decided(matcher)});
      out->paths.add(&matcher.uri);
    }
    if (!routes[r].empty()) continue;
    out->entries.push_back({.matcher = nullptr, .route = r, .decided = true});
    out->paths.add(nullptr);
  }
  out->paths.finish();
  return out;
}

RouteMatch match_route(const VirtualHost& host, const RequestHead& head, const SourceView& source,
                       uint16_t dialled_port) {
  if (host.index != nullptr) return match_indexed(host, head, source, dialled_port);
  for (const Route& route : host.routes) {
    if (route.matches.empty()) return RouteMatch{&route, nullptr};
    for (const HttpMatcher& matcher : route.matches) {
      if (matcher.matches(head, source, dialled_port)) return RouteMatch{&route, &matcher};
    }
  }
  return RouteMatch{};
}

namespace {

const L4Route* first_l4(const std::vector<L4Route>& routes, std::string_view server_name,
                        const SocketAddress& dialled, const SourceView& source) {
  for (const L4Route& route : routes) {
    if (route.matches.empty()) return &route;
    for (const L4Matcher& matcher : route.matches) {
      if (matcher.matches(server_name, dialled, source)) return &route;
    }
  }
  return nullptr;
}

}  // namespace

const L4Route* match_l4_route(const L4Host& host, bool tls, std::string_view server_name,
                              const SocketAddress& dialled, const SourceView& source) {
  const L4Route* route = tls ? first_l4(host.tls, server_name, dialled, source) : nullptr;
  return route != nullptr ? route : first_l4(host.tcp, server_name, dialled, source);
}

L4Choice choose_l4(const L4Host* host, const L4Connection& connection, const SourceView& source) {
  using Kind = L4Choice::Kind;
  if (host == nullptr) return L4Choice{.kind = connection.gateway ? Kind::kRefused : Kind::kService};
  const L4Route* route =
      match_l4_route(*host, connection.tls, connection.server_name, connection.dialled, source);
  if (route != nullptr) return L4Choice{.kind = Kind::kRoute, .route = route};
  // Nothing is said about what is no TLS: it goes to the service.
  const bool unsaid = host->tcp.empty() && !connection.tls && !connection.gateway && !connection.declared_tls;
  return L4Choice{.kind = unsaid ? Kind::kService : Kind::kRefused};
}

SourceView source_view(const Snapshot& snapshot, uint32_t source) {
  if (source >= snapshot.sources.size()) return SourceView{.ns = "default", .labels = nullptr};
  const Source& s = snapshot.sources[source];
  return SourceView{.ns = s.ns, .labels = &s.labels};
}

}  // namespace weft::proxy
