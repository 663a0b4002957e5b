// Unix sockets of the run directory: who may connect is decided by file mode, and by the peer's credentials
// on accept. Used by the handover server and the gRPC servers; never removes a socket that a live process
// listens on (the run-dir lock).
#pragma once

#include <sys/types.h>

#include <string>

#include "absl/status/statusor.h"
#include "base/fd.h"

namespace weft::agent {

// Who may connect besides root.
struct SocketAccess {
  mode_t mode = 0600;
  gid_t group = 0;
  uid_t user = 0;
};

struct Peer {
  pid_t pid = 0;
  uid_t uid = 0;
};

// Binds, sets mode and group, then listens: nobody can connect before the mode is right. Close-on-exec,
// non-blocking.
absl::StatusOr<UniqueFd> listen_unix(const std::string& path, int type, const SocketAccess& access);

struct Accepted {
  UniqueFd socket;
  Peer peer;
};
// One connection whose peer is root or `access.user`; kUnavailable when none waits, kPermissionDenied when it
// was refused.
absl::StatusOr<Accepted> accept_unix(int listener, const SocketAccess& access);

// The ids of the unprivileged proxy: kNotFound with the next step when the node does not have them.
absl::StatusOr<SocketAccess> proxy_access(const std::string& user, const std::string& group);

}  // namespace weft::agent
