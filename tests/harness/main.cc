// main() of the privileged test binaries: skipped with a loud line, and exit code 77 for ctest, where they
// cannot run.
#include <gtest/gtest.h>

#include <cstdio>

#include "tests/harness/sandbox.h"

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  const std::string reason = weft::harness::skip_reason();
  if (!reason.empty()) {
    std::fprintf(stderr, "\n*** SKIPPED, NOTHING WAS TESTED: %s ***\n\n", reason.c_str());
    return 77;
  }
  return RUN_ALL_TESTS();
}
