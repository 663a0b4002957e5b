// The rows of the kernel maps in words, for `weft bpf map dump`. The one place that knows how each map reads;
// ids stay ids, because only the caller knows whose they are. Any thread; reads the kernel, writes nothing.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "agent/dataplane/map_text.h"
#include "bpf/user/programs.h"

namespace weft::agent {

// The first `limit` rows in the kernel's order, all of them counted; rows of arrays that nobody uses are left
// out. NotFound: no map of this name can be dumped; the error lists the names.
absl::StatusOr<MapText> dump_map(const bpf::Programs& programs, const std::string& name, size_t limit);
std::vector<std::string> dumpable_maps();

}  // namespace weft::agent
