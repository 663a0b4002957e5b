// Path normalisation: one table of spellings with what each level makes of them, and what holds for every
// path.
#include "userspace-proxy/http/path.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <random>
#include <vector>

#include "absl/strings/ascii.h"
#include "base/strings.h"

namespace weft::proxy {
namespace {

constexpr std::array kLevels = {PathNormalisation::kNone, PathNormalisation::kBase,
                                PathNormalisation::kMergeSlashes, PathNormalisation::kDecodeAndMergeSlashes};
constexpr std::string_view kSame = "=";
constexpr std::string_view kRefused = "400";

struct Row {
  std::string_view path;
  std::string_view base = kSame;
  // As the level before it when left out.
  std::string_view merged = {};
  std::string_view decoded = {};
};

const Row kRows[] = {
    // Normal already.
    {"/"},
    {"/a"},
    {"/a/"},
    {"/a/b/c.html"},
    {"/.well-known/x"},
    {"/a.b/c..d/e."},
    {"/..."},
    {"/.../a"},
    {"/..../a"},
    {"/.a"},
    {"/..a"},
    {"/a.."},
    {"/a../b"},
    {"/A"},
    {"/-._~!$&'()*+,;=:@"},
    {"*"},
    // Dot segments.
    {"/.", "/"},
    {"/..", "/"},
    {"/./", "/"},
    {"/../", "/"},
    {"/../..", "/"},
    {"/../../../etc/passwd", "/etc/passwd"},
    {"/a/.", "/a/"},
    {"/a/./", "/a/"},
    {"/a/..", "/"},
    {"/a/../", "/"},
    {"/a/./b", "/a/b"},
    {"/a/../b", "/b"},
    {"/a/b/..", "/a/"},
    {"/a/b/../..", "/"},
    {"/a/b/../../c", "/c"},
    {"/a/./././b", "/a/b"},
    {"/a/b/c/./../../g", "/a/g"},
    {"/public/../admin", "/admin"},
    {"/a/../../b", "/b"},
    // Escapes of unreserved characters, in either case of the digits.
    {"/%61", "/a"},
    {"/%41%5a%7A", "/AZz"},
    {"/%30%39", "/09"},
    {"/%2d%5f%7e", "/-_~"},
    {"/%7E", "/~"},
    {"/adm%69n", "/admin"},
    {"/%2e", "/"},
    {"/%2e/a", "/a"},
    {"/%2e%2e/a", "/a"},
    {"/a/%2E%2e/b", "/b"},
    {"/a/.%2e/b", "/b"},
    {"/a/%2e./b", "/b"},
    {"/a/%2e%2e", "/"},
    {"/%2e%2e%2e/a", "/.../a"},
    // Other escapes stay, as they were spelt.
    {"/%20"},
    {"/%21%22"},
    {"/%23"},
    {"/%25"},
    {"/%3F"},
    {"/%3f"},
    {"/%01%1f%7f"},
    {"/%0d%0aX:1"},
    {"/%80%ff"},
    {"/%c3%a9"},
    {"/%C3%A9"},
    // Over-long UTF-8 is no dot and no slash.
    {"/%c0%ae%c0%ae/a"},
    {"/%c0%af"},
    {"/%c1%9ca"},
    {"/%e0%80%af"},
    {"/%c0%2e%c0%2e/a", "/%c0.%c0./a"},
    // Encoded twice is decoded never: what comes out must not mean more than what came in.
    {"/%252e%252e/a"},
    {"/%252fa"},
    {"/%255ca"},
    {"/%25%32%65", "/%252e"},
    {"/%2525"},
    {"/%25252e"},
    // Slashes.
    {"//", kSame, "/"},
    {"//a", kSame, "/a"},
    {"/a//", kSame, "/a/"},
    {"/a//b", kSame, "/a/b"},
    {"///a////b///", kSame, "/a/b/"},
    {"/a//../b", "/a/b", "/a/b"},
    {"/a//../../b", "/b"},
    {"/..//a", "//a", "/a"},
    {"/.//a", "//a", "/a"},
    {"//..", "/"},
    {"/a/%2e//b", "/a//b", "/a/b"},
    // Escaped slashes.
    {"/%2f", kSame, kSame, "/"},
    {"/%2F", kSame, kSame, "/"},
    {"/a%2fb", kSame, kSame, "/a/b"},
    {"/a%2Fb%2f", kSame, kSame, "/a/b/"},
    {"/a/%2f", kSame, kSame, "/a/"},
    {"/a%2f/b", kSame, kSame, "/a/b"},
    {"/a%2f..%2fb", kSame, kSame, "/b"},
    {"/a%2f%2e%2e%2fb", "/a%2f..%2fb", "/a%2f..%2fb", "/b"},
    {"/a/..%2fb", kSame, kSame, "/b"},
    {"/a%2f../b", kSame, kSame, "/b"},
    {"/a/x%2f../b", kSame, kSame, "/a/b"},
    {"/%2f%2fa", kSame, kSame, "/a"},
    // Backslashes.
    {"/a\\b", "/a/b"},
    {"/\\", "//", "/"},
    {"/a\\..\\b", "/b"},
    {"/a/\\b", "/a//b", "/a/b"},
    {"/\\/\\/a", "/////a", "/a"},
    {"/a\\.", "/a/"},
    {"/%5c", kSame, kSame, "/"},
    {"/a%5Cb", kSame, kSame, "/a/b"},
    {"/a%5c..%5Cb", kSame, kSame, "/b"},
    {"/%5c%2f%5C%2Fa", kSame, kSame, "/a"},
    {"/%5ca\\b", "/%5ca/b", "/%5ca/b", "/a/b"},
    // Parameters are characters like others, so "..;" is a name.
    {"/a;x=1"},
    {"/a;x=1/b;y"},
    {"/;/a"},
    {"/..;/a"},
    {"/.;/a"},
    {"/a/..;x=1/b"},
    {"/a;/../b", "/b"},
    {"/a%3b/b"},
    {"/a,b=1/c"},
    {"/0x2e0x2e/a"},
    // What servers read in more than one way.
    {"/%00", kRefused},
    {"/a%00.html", kRefused},
    {"/a/../%00", kRefused},
    {"/%", kRefused},
    {"/%2", kRefused},
    {"/%g0", kRefused},
    {"/%2g", kRefused},
    {"/%%32%66", kRefused},
    {"/%2%66", kRefused},
    {"/100%", kRefused},
    {"/%u002e", kRefused},
};

std::string normal(std::string_view path, PathNormalisation level) {
  std::string out;
  switch (normalise_path(path, level, &out)) {
    case PathResult::kUnchanged:
      EXPECT_EQ(out, "") << "wrote without need";
      return std::string(path);
    case PathResult::kRewritten:
      EXPECT_NE(out, path) << "rewrote without need";
      return out;
    case PathResult::kRefused:
      return std::string(kRefused);
  }
  return {};
}

TEST(PathTest, EveryLevelSpellsAPathAsItsRowSays) {
  static_assert(std::size(kRows) >= 90);
  for (const Row& row : kRows) {
    const auto expected = [&](std::string_view cell, std::string_view before) {
      return cell.empty() ? before : cell == kSame ? row.path : cell;
    };
    const std::string_view base = expected(row.base, kSame);
    const std::string_view merged = expected(row.merged, base);
    const std::string_view decoded = expected(row.decoded, merged);
    EXPECT_EQ(normal(row.path, PathNormalisation::kNone), row.path);
    EXPECT_EQ(normal(row.path, PathNormalisation::kBase), base) << row.path;
    EXPECT_EQ(normal(row.path, PathNormalisation::kMergeSlashes), merged) << row.path;
    EXPECT_EQ(normal(row.path, PathNormalisation::kDecodeAndMergeSlashes), decoded) << row.path;
  }
}

TEST(PathTest, OfTheEscapesOnlyThoseOfUnreservedCharactersAreDecodedAtBase) {
  for (int byte = 1; byte < 256; ++byte) {
    const std::string path = str_cat("/x%", absl::Hex(byte, absl::kZeroPad2), "y");
    const char c = static_cast<char>(byte);
    const bool unreserved =
        byte < 0x80 && (absl::ascii_isalnum(c) || (c != '\0' && strchr("-._~", c) != nullptr));
    EXPECT_EQ(normal(path, PathNormalisation::kBase),
              unreserved ? str_cat("/x", std::string(1, c), "y") : path);
  }
}

TEST(PathTest, ANormalPathStaysAsItIsAndHoldsNothingThatALevelRemoves) {
  std::mt19937 random(20);
  const std::vector<std::string_view> pieces = {"/",  "//", ".",   "..",  "a",  "%2e", "%2F", "%5c",
                                                "\\", ";",  "%41", "%25", "2e", "%ff", "~",   "/../"};
  for (int i = 0; i < 20'000; ++i) {
    std::string path = "/";
    for (size_t n = random() % 8; n > 0; --n) path += pieces[random() % pieces.size()];
    for (const PathNormalisation level : kLevels) {
      const std::string once = normal(path, level);
      ASSERT_EQ(normal(once, level), once) << path;
      if (level == PathNormalisation::kNone) continue;
      ASSERT_EQ(once.front(), '/') << path;
      ASSERT_EQ(str_cat(once, "/").find("/../"), std::string::npos) << path;
      ASSERT_EQ(str_cat(once, "/").find("/./"), std::string::npos) << path;
      ASSERT_EQ(once.find('\\'), std::string::npos) << path;
      if (level == PathNormalisation::kBase) continue;
      ASSERT_EQ(once.find("//"), std::string::npos) << path;
    }
  }
}

RequestHead head_of(std::string_view target) {
  RequestHead head;
  head.target = target;
  EXPECT_TRUE(split_origin_form(target, &head)) << target;
  return head;
}

TEST(TargetTest, WhatIsForwardedIsWhatIsMatched) {
  std::string storage;
  RequestHead head = head_of("/a/../b%41?x=/../%41\\");
  ASSERT_TRUE(normalise_target(PathNormalisation::kBase, &storage, &head));
  EXPECT_EQ(head.target, "/bA?x=/../%41\\") << "the query is the application's own";
  EXPECT_EQ(head.path, "/bA");
  EXPECT_EQ(head.query, "x=/../%41\\");
  EXPECT_EQ(head.path.data(), head.target.data());
}

TEST(TargetTest, AnEmptyQueryKeepsItsMark) {
  std::string storage;
  RequestHead head = head_of("/./?");
  ASSERT_TRUE(normalise_target(PathNormalisation::kBase, &storage, &head));
  EXPECT_EQ(head.target, "/?");
  EXPECT_EQ(head.query, "");
  head = head_of("/./a");
  ASSERT_TRUE(normalise_target(PathNormalisation::kBase, &storage, &head));
  EXPECT_EQ(head.target, "/a");
  EXPECT_EQ(head.query, "");
}

TEST(TargetTest, ANormalTargetIsNotCopied) {
  std::string storage;
  const std::string_view target = "/a/b?c";
  RequestHead head = head_of(target);
  ASSERT_TRUE(normalise_target(PathNormalisation::kDecodeAndMergeSlashes, &storage, &head));
  EXPECT_EQ(head.target.data(), target.data());
  EXPECT_EQ(storage.capacity(), std::string().capacity());
}

TEST(TargetTest, AMalformedEscapeIsRefusedButAtLevelNone) {
  std::string storage;
  RequestHead head = head_of("/%00");
  EXPECT_FALSE(normalise_target(PathNormalisation::kBase, &storage, &head));
  EXPECT_TRUE(normalise_target(PathNormalisation::kNone, &storage, &head));
}

TEST(TargetTest, OriginFormHasNoControlsSpacesFragmentsOrBytesAbove7e) {
  RequestHead head;
  for (const std::string_view bad :
       {"", "a", "*", "?a", "/a b", "/a#b", "/\t", "/\x7f", "/\x80", "/\xc3\xa9", "/a?\x01"})
    EXPECT_FALSE(split_origin_form(bad, &head)) << bad;
  EXPECT_FALSE(split_origin_form(std::string_view("/\0", 2), &head));
}

TEST(PathTest, LevelsHaveTheNamesOfTheOption) {
  EXPECT_EQ(parse_path_normalisation("none"), PathNormalisation::kNone);
  EXPECT_EQ(parse_path_normalisation("base"), PathNormalisation::kBase);
  EXPECT_EQ(parse_path_normalisation("merge-slashes"), PathNormalisation::kMergeSlashes);
  EXPECT_EQ(parse_path_normalisation("decode-and-merge-slashes"), PathNormalisation::kDecodeAndMergeSlashes);
  EXPECT_EQ(parse_path_normalisation("BASE"), std::nullopt);
}

}  // namespace
}  // namespace weft::proxy
