// Which connection to give up when room is needed: the oldest one on which nobody waits for a response.
// Called by the worker, for a pod over its budget and for itself under overload.
#pragma once

#include "userspace-proxy/session/downstream_connection.h"

namespace weft::proxy {

// Of those accepted at `before` or earlier; nullptr when none of the first is quiet. Busy ones that were
// looked at go to the end of the list, so the next call sees others and no call takes long.
template <typename Tag>
DownstreamConnection* oldest_quiet(IntrusiveList<DownstreamConnection, Tag>& connections,
                                   MonotonicNs before) {
  constexpr int kLook = 64;
  const DownstreamConnection* first = connections.front();
  for (int i = 0; i < kLook; ++i) {
    DownstreamConnection* connection = connections.front();
    if (connection == nullptr || (connection->quiet() && connection->accepted() <= before)) return connection;
    connections.push_back(*connection);
    if (connections.front() == first) return nullptr;
  }
  return nullptr;
}

}  // namespace weft::proxy
