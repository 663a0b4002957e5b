// Compiled L4Match: one connection that is no HTTP and its client in, yes or no out. Pure; no allocation when
// matching. Asked once for each connection.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/address.h"
#include "base/ip_range.h"
#include "userspace-proxy/route/matcher.h"

namespace weft::proxy {

struct L4Matcher : SourceMatcher {
  // Lower case; a wildcard "*.example.com" is ".example.com", any name is "". Empty: no name is wanted.
  std::vector<std::string> sni_hosts;
  std::vector<IpRange> subnets;  // of the dialled address; empty: any
  uint16_t port = 0;             // of the dialled address; 0: any

  // `sni` is lower case; empty: the client named no server.
  bool matches(std::string_view sni, const SocketAddress& dialled, const SourceView& source) const;
};

}  // namespace weft::proxy
