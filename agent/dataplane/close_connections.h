// Ends established connections that a changed policy forbids (SOCK_DESTROY, Linux 4.9). Works in the
// namespace of the calling thread; see netns.h.
#pragma once

#include <cstdint>
#include <functional>

#include "absl/status/statusor.h"
#include "agent/dataplane/dataplane.h"
#include "agent/dataplane/socket_record.h"

namespace weft::agent {

// Inbound connections are those that sockops recorded as such in the socket's storage and, for those older
// than their enrolment, those whose port is listened at. A socket is closed by its cookie: another one that
// came to have the same addresses meanwhile is left alone.
absl::StatusOr<uint64_t> close_inbound_connections(
    const SocketRecords& records, const std::function<bool(const InboundConnection&)>& forbidden);

}  // namespace weft::agent
