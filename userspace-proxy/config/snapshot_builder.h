// Folds all resources into one Snapshot. Pure: the same resources make the same snapshot, and nothing can
// fail here, because validate.h has refused what is wrong by itself and what merely refers to nothing becomes
// kNone. Configuration thread.
#pragma once

#include "userspace-proxy/config/resources.h"
#include "userspace-proxy/config/route_lists.h"

namespace weft::proxy {

SnapshotPtr build_snapshot(const Resources& resources, uint64_t generation);
// `lists`: of the snapshot before, with which this one shares what has not changed. They remember, which
// changes nothing but the time.
SnapshotPtr build_snapshot(const Resources& resources, uint64_t generation, RouteLists& lists);

}  // namespace weft::proxy
