// What a server says may be anything; what is shown of it is one line of UTF-8 without control characters.
#include "control-plane/kubernetes/server_text.h"

#include <gtest/gtest.h>

namespace weft::control_plane {
namespace {

TEST(ServerTextTest, WordsStayAsTheyAre) {
  EXPECT_EQ(server_text("services is forbidden"), "services is forbidden");
  EXPECT_EQ(server_text("gr\xc3\xbc\xc3\x9f dich, \xe4\xb8\x96\xe7\x95\x8c \xf0\x9f\x91\x8b"),
            "gr\xc3\xbc\xc3\x9f dich, \xe4\xb8\x96\xe7\x95\x8c \xf0\x9f\x91\x8b");
  EXPECT_EQ(server_text(""), "");
}

TEST(ServerTextTest, TheFirstLineIsShown) {
  EXPECT_EQ(server_text("\n\n  one\ntwo"), "one");
  EXPECT_EQ(server_text("one\r\ntwo"), "one");
  EXPECT_EQ(server_text("\n \n"), "");
}

TEST(ServerTextTest, ControlCharactersAreBlanks) {
  EXPECT_EQ(server_text("a\x1b[2Jb\tc\x7f"), "a [2Jb c ");
  EXPECT_EQ(server_text("a\xc2\x9b"
                        "2Jb"),
            "a 2Jb")
      << "a terminal takes U+009B for ESC [";
  EXPECT_EQ(server_text(std::string_view("a\0b", 3)), "a b");
}

TEST(ServerTextTest, WhatIsNoUtf8IsReplaced) {
  EXPECT_EQ(server_text("a\xff\xfe z"), "a?? z");
  EXPECT_EQ(server_text("\xc0\xaf"), "??") << "longer than needed, two bytes";
  EXPECT_EQ(server_text("\xe0\x80\xaf"), "???") << "longer than needed, three bytes";
  EXPECT_EQ(server_text("\xf0\x80\x80\xaf"), "????") << "longer than needed, four bytes";
  EXPECT_EQ(server_text("\xed\xa0\x80"), "???") << "a surrogate";
  EXPECT_EQ(server_text("\xf4\x90\x80\x80"), "????") << "over U+10FFFF";
  EXPECT_EQ(server_text("\xe4\xb8"), "??") << "the end is missing";
  EXPECT_EQ(server_text("\xe4z"), "?z");
}

TEST(ServerTextTest, NoCharacterIsCutInTwo) {
  EXPECT_EQ(server_text("abc\xc3\xbc", 4), "abc");
  EXPECT_EQ(server_text("abc\xc3\xbc", 5), "abc\xc3\xbc");
  EXPECT_EQ(server_text(std::string(511, 'x') + "\xc3\xbc"), std::string(511, 'x'));
  EXPECT_EQ(server_text(std::string(600, 'x')), std::string(512, 'x'));
}

}  // namespace
}  // namespace weft::control_plane
