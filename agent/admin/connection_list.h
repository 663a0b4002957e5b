// Open connections of the node's enrolled pods as rows with names, for `weft conns`. Called by the admin
// service on a gRPC thread: the reconciler is asked for names only, and the kernel is read here.
#pragma once

#include "absl/status/statusor.h"
#include "agent/dataplane/dataplane.h"
#include "agent/mesh/reconciler.h"
#include "proto/weft/admin/v1/admin.pb.h"

namespace weft::agent {

inline constexpr uint32_t kDefaultConnections = 100;
inline constexpr uint32_t kMaxConnections = 10'000;

// At most as many rows as the request's limit, the oldest of each pod first; all that match are counted. A
// pod that cannot be read is named in the reply. Unavailable: the reconciler has stopped.
absl::StatusOr<admin::v1::ConnectionList> list_connections(const admin::v1::ConnectionsRequest& request,
                                                           const Dataplane& dataplane,
                                                           Reconciler& reconciler);

}  // namespace weft::agent
