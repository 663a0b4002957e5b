// Delegation of VirtualServices: a root's route hands its requests on to the routes of another one, which has
// no hosts of its own. Done when objects are compiled, because the two arrive apart. Pure.
#pragma once

#include <vector>

#include "control-plane/compile/remembered.h"
#include "control-plane/compile/workloads.h"
#include "control-plane/control_plane.h"

namespace weft::control_plane {

// The routes of `root` with those of its delegates in their place, up to the first that takes every request.
// What a delegate says counts more than what the root says. A delegate that is missing or hidden from the
// root's namespace, and pairs of routes whose matches exclude each other, are left out and become findings.
mesh::v1::RouteSet with_delegates(const VirtualService& root, const Objects& objects,
                                  std::vector<Finding>* findings);

// Adds what that depends on: the root, and what it delegates to.
void add_delegating(const VirtualService& root, const Objects& objects, Inputs* out);

// One match that holds where both hold, if `leaf` asks for no more than a part of what `root` asks for;
// false: it does not (Istio's rules: two regular expressions, or one and something else, are never a part).
bool merge_match(const mesh::v1::HttpMatch& root, const mesh::v1::HttpMatch& leaf, mesh::v1::HttpMatch* out);

}  // namespace weft::control_plane
