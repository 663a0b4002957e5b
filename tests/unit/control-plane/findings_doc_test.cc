// docs/findings.md and the codes in the source name the same set.
#include <gtest/gtest.h>

#include <fstream>
#include <regex>
#include <set>
#include <sstream>

namespace weft::control_plane {
namespace {

std::set<std::string> codes_in(const std::string& path, const std::string& pattern) {
  std::ifstream in(path);
  std::ostringstream text;
  text << in.rdbuf();
  const std::string content = text.str();
  const std::regex expression(pattern);
  std::set<std::string> out;
  for (std::sregex_iterator at(content.begin(), content.end(), expression), end; at != end; ++at)
    out.insert((*at)[1]);
  return out;
}

TEST(FindingsDocTest, EveryCodeHasARowAndEveryRowACode) {
  const auto source = codes_in("control-plane/resource/finding_codes.h", "\"(WF[0-9]{4})\"");
  const auto rows = codes_in("docs/findings.md", "\\| (WF[0-9]{4}) \\|");
  EXPECT_FALSE(source.empty());
  EXPECT_EQ(source, rows);
}

}  // namespace
}  // namespace weft::control_plane
