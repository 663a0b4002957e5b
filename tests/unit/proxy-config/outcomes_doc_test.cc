// docs/outcomes.md has exactly one row per outcome, in the order of the list, with the list's own words.
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "base/strings.h"
#include "userspace-proxy/telemetry/outcome.h"

namespace weft::proxy {
namespace {

std::string expected_rows() {
  std::string out;
#define X(name, text, status, help) \
  str_append(&out, "| `", text, "` | ", status == 0 ? std::string("none") : std::to_string(status), " | ", help, " |\n");
  WEFT_OUTCOMES(X)
#undef X
  return out;
}

TEST(OutcomesDocTest, PageListsTheOutcomesOfTheCode) {
  std::ifstream file("docs/outcomes.md");
  ASSERT_TRUE(file.is_open()) << "run from the root of the repository";
  std::stringstream text;
  text << file.rdbuf();
  std::string rows, line;
  bool in_table = false;
  while (std::getline(text, line)) {
    if (in_table && !line.empty() && line[0] == '|') rows += line + "\n";
    if (line.compare(0, 4, "|---") == 0) in_table = true;
  }
  EXPECT_EQ(rows, expected_rows()) << "copy the rows above into docs/outcomes.md";
}

}  // namespace
}  // namespace weft::proxy
