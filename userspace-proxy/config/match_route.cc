// Route selection over compiled matches. Pure, allocation-free; called by the exchange, never blocks.
#include "userspace-proxy/config/match_route.h"

namespace weft::proxy {

void index_routes(VirtualHost* host) {
  host->entries.clear();
  for (uint32_t r = 0; r < host->routes.size(); ++r) {
    const auto count = static_cast<uint32_t>(host->routes[r].matches.size());
    for (uint32_t m = 0; m < count; ++m) host->entries.push_back({r, m});
    if (count == 0) host->entries.push_back({r, kNone});
  }
  host->index = PathIndex();
  if (host->entries.size() < PathIndex::kMinEntries) return host->entries.clear();
  for (uint32_t i = 0; i < host->entries.size(); ++i) {
    const VirtualHost::Entry& entry = host->entries[i];
    const bool any = entry.matcher == kNone;
    host->index.add(i, any ? nullptr : &host->routes[entry.route].matches[entry.matcher].uri);
  }
  host->index.finish();
}

namespace {

RouteMatch match_indexed(const VirtualHost& host, const RequestHead& head, const SourceView& source,
                         uint16_t dialled_port) {
  const auto matcher_of = [&](uint32_t i) -> const HttpMatcher* {
    const VirtualHost::Entry& entry = host.entries[i];
    return entry.matcher == kNone ? nullptr : &host.routes[entry.route].matches[entry.matcher];
  };
  const uint32_t found = host.index.first(head.path, kNone, [&](uint32_t i) {
    const HttpMatcher* matcher = matcher_of(i);
    return matcher == nullptr || matcher->matches(head, source, dialled_port);
  });
  if (found == kNone) return RouteMatch{};
  return RouteMatch{&host.routes[host.entries[found].route], matcher_of(found)};
}

}  // namespace

RouteMatch match_route(const VirtualHost& host, const RequestHead& head, const SourceView& source,
                       uint16_t dialled_port) {
  if (!host.index.empty()) return match_indexed(host, head, source, dialled_port);
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

SourceView source_view(const Snapshot& snapshot, uint32_t source) {
  if (source >= snapshot.sources.size()) return SourceView{.ns = "default", .labels = nullptr};
  const Source& s = snapshot.sources[source];
  return SourceView{.ns = s.ns, .labels = &s.labels};
}

}  // namespace weft::proxy
