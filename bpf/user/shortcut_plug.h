// A socket that refuses every byte: it is under repair (TCP_REPAIR of linux/tcp.h, no queue chosen), in which
// the kernel answers a send with EINVAL before it looks at anything else. mesh_shortcut sends to it what the
// proxy is to try again later. (SK_DROP would not do: a socket that got it once gets it for ever. Nor would
// one whose buffer is full: some day it has room.) It is in the map of sockets while this object lives, so
// for as long as the agent.
#pragma once

#include "absl/status/statusor.h"
#include "base/fd.h"

namespace weft::bpf {

class ShortcutPlug {
 public:
  // Puts it into the map, at key 0, which is no socket's cookie. Errors: sockets on loopback, CAP_NET_ADMIN,
  // the map's.
  static absl::StatusOr<ShortcutPlug> put(int socket_map);

 private:
  UniqueFd plug_, peer_;
};

// Two blocking TCP sockets of this process that are connected on loopback.
struct ConnectedPair {
  UniqueFd first, second;
};
absl::StatusOr<ConnectedPair> connected_pair();
absl::Status put_socket(int socket_map, uint64_t key, const UniqueFd& socket);

}  // namespace weft::bpf
