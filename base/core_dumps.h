// For processes that hold keys. Once, before they have any and before other threads start.
#pragma once

#include "absl/status/status.h"

namespace weft {

// No core dump of this process, to no file and to no program that takes them (core(5)), and no look into its
// memory by processes without CAP_SYS_PTRACE. A program that it executes may be dumped as its limit says: 0.
absl::Status forbid_core_dumps();

}  // namespace weft
