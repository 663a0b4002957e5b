// See l4_matcher.h.
#include "userspace-proxy/route/l4_matcher.h"

#include <algorithm>

namespace weft::proxy {
namespace {

bool covers(std::string_view pattern, std::string_view name) {
  if (pattern.empty()) return true;
  if (pattern.front() != '.') return name == pattern;
  return name.size() > pattern.size() && name.ends_with(pattern);
}

}  // namespace

bool L4Matcher::matches(std::string_view sni, const SocketAddress& dialled, const SourceView& source) const {
  if (port != 0 && port != dialled.port) return false;
  if (!SourceMatcher::matches(source)) return false;
  const auto holds = [&](const IpRange& range) { return range.contains(dialled.ip); };
  if (!subnets.empty() && std::none_of(subnets.begin(), subnets.end(), holds)) return false;
  return sni_hosts.empty() || std::any_of(sni_hosts.begin(), sni_hosts.end(),
                                          [&](const std::string& host) { return covers(host, sni); });
}

}  // namespace weft::proxy
