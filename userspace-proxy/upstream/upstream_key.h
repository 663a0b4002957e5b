// UpstreamKey: what connections to an endpoint may be shared by. Part of the pool's interface.
#pragma once

#include <cstdint>
#include <utility>

#include "base/address.h"

namespace weft::proxy {

enum class UpstreamProtocol : uint8_t { kHttp1, kHttp2 };

// Pods never share connections: the server sees the source pod's address on them. Nor do gateways, whom it
// may know by what they prove.
struct UpstreamKey {
  SocketAddress address;
  uint64_t netns_cookie = 0;
  UpstreamProtocol protocol = UpstreamProtocol::kHttp1;
  // ConnectionTerms::id; 0: connections without terms of their own.
  uint64_t terms = 0;
  bool tunnelled = false;
  uint64_t dials_as = 0;  // DialIdentity::number; 0: without one
  bool operator==(const UpstreamKey&) const = default;
  template <typename H>
  friend H AbslHashValue(H h, const UpstreamKey& k) {
    return H::combine(std::move(h), k.address, k.netns_cookie, k.protocol, k.terms, k.tunnelled, k.dials_as);
  }
};

}  // namespace weft::proxy
