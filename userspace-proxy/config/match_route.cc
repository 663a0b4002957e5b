// Route selection over compiled matches. Pure, allocation-free; called by the exchange, never blocks.
#include "userspace-proxy/config/match_route.h"

#include <algorithm>

namespace weft::proxy {

const Route* match_route(const VirtualHost& host, const RequestHead& head, const SourceView& source,
                         uint16_t dialled_port) {
  const auto holds = [&](const HttpMatcher& m) { return m.matches(head, source, dialled_port); };
  for (const Route& route : host.routes) {
    if (route.matches.empty() || std::any_of(route.matches.begin(), route.matches.end(), holds)) return &route;
  }
  return nullptr;
}

SourceView source_view(const Snapshot& snapshot, uint32_t source) {
  if (source >= snapshot.sources.size()) return SourceView{.ns = "default", .labels = nullptr};
  const Source& s = snapshot.sources[source];
  return SourceView{.ns = s.ns, .labels = &s.labels};
}

}  // namespace weft::proxy
