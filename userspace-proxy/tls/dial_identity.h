// DialIdentity: whom the proxy proves to be where it dials for a gateway; where it dials for a pod, that is
// the pod. Made with the configuration and kept by the routes that have it, read by workers. Any thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "base/spiffe_id.h"
#include "base/strings.h"

namespace weft::proxy {

// In place of a pod's, in the handover protocol: the listeners are those of gateways.
inline constexpr std::string_view kGatewayUid = "weft.dev/gateway";

// What a gateway's certificate is found by, as a pod's is by its uid. No pod has such a uid.
inline std::string gateway_credentials(const SpiffeId& id) {
  return str_cat(kGatewayUid, " ", id.to_string());
}

struct DialIdentity : std::enable_shared_from_this<DialIdentity> {
  explicit DialIdentity(const SpiffeId& spiffe)
      : number(next_number()), id(spiffe), credentials(gateway_credentials(spiffe)) {}

  // Of this process's, never of another identity, and never 0: connections of different numbers are never
  // shared.
  const uint64_t number;
  const SpiffeId id;
  const std::string credentials;

 private:
  static uint64_t next_number() {
    static std::atomic<uint64_t> last = 0;
    return ++last;
  }
};

using DialIdentityPtr = std::shared_ptr<const DialIdentity>;

// Those of one configuration: an identity stays the same object for as long as a route has it, so that a new
// snapshot ends no connection. Configuration thread only.
class DialIdentityTable {
 public:
  DialIdentityPtr of(const SpiffeId& id) {
    if (DialIdentityPtr known = known_[id].lock()) return known;
    std::erase_if(known_, [](const auto& row) { return row.second.expired(); });
    auto made = std::make_shared<const DialIdentity>(id);
    known_[id] = made;
    return made;
  }

 private:
  std::map<SpiffeId, std::weak_ptr<const DialIdentity>> known_;
};

}  // namespace weft::proxy
