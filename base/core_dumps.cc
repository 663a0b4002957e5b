// See core_dumps.h. The limit alone does not hold for programs that take dumps.
#include "base/core_dumps.h"

#include <errno.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "base/status_macros.h"

namespace weft {

absl::Status forbid_core_dumps() {
  const rlimit none{0, 0};
  if (::setrlimit(RLIMIT_CORE, &none) != 0) return errno_status("forbid core dumps", errno);
  if (::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return errno_status("forbid dumps", errno);
  return absl::OkStatus();
}

}  // namespace weft
