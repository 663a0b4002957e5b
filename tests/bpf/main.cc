// Entry of every bpf suite: runs the tests, or says loudly why not and exits 77, which ctest shows as
// skipped.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>

#include "bpf/user/cgroup.h"

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  if (GTEST_FLAG_GET(list_tests)) return RUN_ALL_TESTS();
  if (geteuid() != 0 || !weft::bpf::find_cgroup2_root().ok()) {
    std::fprintf(
        stderr,
        "SKIPPED: the bpf tests need root and a cgroup2 mount; nothing was tested. Run them as root.\n");
    return 77;
  }
  return RUN_ALL_TESTS();
}
