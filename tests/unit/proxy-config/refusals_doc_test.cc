// docs/limits.md has one row for each reason of a refusal, in the order of the list, with the list's own
// words.
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "base/strings.h"
#include "userspace-proxy/telemetry/pod_use.h"

namespace weft::proxy {
namespace {

TEST(RefusalsDocTest, PageListsTheReasonsOfTheCode) {
  std::ifstream file("docs/limits.md");
  ASSERT_TRUE(file.is_open()) << "run from the root of the repository";
  std::stringstream text;
  text << file.rdbuf();
  std::string expected = "| reason | what was refused |\n|---|---|\n";
#define X(name, label, help) str_append(&expected, "| `", label, "` | ", help, " |\n");
  WEFT_REFUSALS(X)
#undef X
  EXPECT_NE(text.str().find(expected), std::string::npos) << "docs/limits.md must have:\n" << expected;
}

}  // namespace
}  // namespace weft::proxy
