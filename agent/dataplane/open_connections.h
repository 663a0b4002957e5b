// The open TCP connections of a network namespace, each once, with the way it takes. Called by the dataplane
// inside the namespace (see netns.h), for `weft conns`. Only looks.
#pragma once

#include <functional>

#include "absl/status/status.h"
#include "agent/dataplane/connection.h"
#include "agent/dataplane/socket_record.h"

namespace weft::agent {

// Of the calling thread's namespace. Left out: listeners, TIME_WAIT, what stays within the namespace, and the
// proxy's end of a captured connection, whose other end is listed. Needs CAP_NET_ADMIN. Errors: the netlink
// socket's; some connections may have been visited then.
absl::Status for_each_open_connection(const SocketRecords& records,
                                      const std::function<void(const OpenConnection&)>& visit);

}  // namespace weft::agent
