// PeerAuthentication as denials of plaintext, the form in which Istio's ambient mode carries it: a policy
// that denies callers without an identity, named by the workloads that it is for. Pure; the compiler calls
// it.
#pragma once

#include <map>
#include <string>

#include "control-plane/compile/workloads.h"
#include "proto/istio/security.pb.h"

namespace weft::control_plane {

// The policies by name ("<namespace>/<name>"); each workload is given the names that are for it. Mesh,
// namespace, selector and port, each over the one before; the oldest object wins where several say the same.
std::map<std::string, istio::security::Authorization> attach_peer_authentication(const Objects& objects,
                                                                                 Workloads& workloads);

}  // namespace weft::control_plane
