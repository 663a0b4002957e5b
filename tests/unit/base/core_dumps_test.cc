// In a child: what is forbidden stays forbidden for the whole of a process.
#include "base/core_dumps.h"

#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

namespace weft {
namespace {

// What of a dump is left: 1 to a program that takes it or by who may look, 2 to a file; 4: there was none to
// forbid.
int left_over() {
  const bool nothing_to_forbid = ::prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 1;
  if (!forbid_core_dumps().ok()) return 8;
  rlimit limit{};
  const bool file = ::getrlimit(RLIMIT_CORE, &limit) != 0 || limit.rlim_cur != 0 || limit.rlim_max != 0;
  return (::prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 0 ? 1 : 0) | (file ? 2 : 0) | (nothing_to_forbid ? 4 : 0);
}

TEST(CoreDumpsTest, AreForbiddenToFilesAndToPrograms) {
  EXPECT_EXIT(::_exit(left_over()), testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace weft
