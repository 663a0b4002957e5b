// Joining and parsing text: base/strings.h, and the two error macros of base/status_macros.h.
#include "base/strings.h"

#include <gtest/gtest.h>

#include "base/status_macros.h"

namespace weft {
namespace {

TEST(StringsTest, CatJoinsStandardViewsStringsAndNumbers) {
  EXPECT_EQ(str_cat(std::string_view("a"), std::string("b"), "c", 4, 5u), "abc45");
  std::string out = "x=";
  str_append(&out, std::string_view("y"), 1);
  EXPECT_EQ(out, "x=y1");
}

TEST(StringsTest, ViewsSurviveTheWayThroughAbseil) {
  const std::string_view with_zero("a\0b", 3);
  EXPECT_EQ(to_std(to_absl(with_zero)), with_zero);
}

TEST(StringsTest, IntegerMustBeTheWholeText) {
  EXPECT_EQ(parse_integer<int>("42"), 42);
  EXPECT_EQ(parse_integer<int>("-1"), -1);
  EXPECT_EQ(parse_integer<unsigned>("ff", 16), 255u);
  for (const char* text : {"", " 1", "1 ", "+1", "1x", "0x10", "1.0"}) {
    EXPECT_FALSE(parse_integer<int>(text).has_value()) << text;
  }
}

TEST(StringsTest, IntegerThatDoesNotFitIsRefused) {
  EXPECT_EQ(parse_integer<uint16_t>("65535"), 65535);
  EXPECT_FALSE(parse_integer<uint16_t>("65536").has_value());
  EXPECT_FALSE(parse_integer<uint16_t>("-1").has_value());
}

absl::StatusOr<int> number(std::string_view text) {
  const auto value = parse_integer<int>(text);
  if (!value) return absl::InvalidArgumentError("not a number");
  return *value;
}

absl::StatusOr<int> sum(std::string_view a, std::string_view b) {
  ASSIGN_OR_RETURN(const int left, number(a));
  ASSIGN_OR_RETURN(const int right, number(b));
  return left + right;
}

TEST(StatusMacrosTest, AssignOrReturnPassesValuesAndErrors) {
  EXPECT_EQ(*sum("1", "2"), 3);
  EXPECT_EQ(sum("1", "x").status().message(), "not a number");
}

TEST(StatusMacrosTest, AnnotateAddsOneNounAndKeepsTheCode) {
  const absl::Status status = annotate("attach connect4", errno_status("open pin", EACCES));
  EXPECT_EQ(status.code(), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(status.message(), "attach connect4: open pin: Permission denied");
  EXPECT_TRUE(annotate("x", absl::OkStatus()).ok());
}

}  // namespace
}  // namespace weft
