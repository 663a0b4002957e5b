// A TCP port that is listened on, for the servers that look after their connections themselves (http_server,
// webhook_server). Any thread.
#pragma once

#include "absl/status/statusor.h"
#include "base/address.h"
#include "base/fd.h"

namespace weft {

struct TcpListener {
  UniqueFd socket;        // does not block, closed on exec
  SocketAddress address;  // the real one when port 0 was asked for
};
// Errors name the address and what to do next.
absl::StatusOr<TcpListener> listen_on(const SocketAddress& address);

// Whether accept() failed because there was nothing to accept with (accept(2)): the connection stays in the
// queue, so whoever polls waits a while instead of trying at once again.
bool is_no_room(int error);

}  // namespace weft
