// The one-line log format: base/log.h. Standard error is redirected into a pipe while a line is written.
#include "base/log.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <functional>

namespace weft {
namespace {

std::string captured(const std::function<void()>& write) {
  ::testing::internal::CaptureStderr();
  write();
  return ::testing::internal::GetCapturedStderr();
}

// The line without its time stamp.
std::string body_of(const std::string& line) { return line.substr(line.find(' ') + 1); }

class LogTest : public ::testing::Test {
 protected:
  void TearDown() override { log::set_level(log::Level::kInfo); }
};

TEST_F(LogTest, LineHasTimeLevelEventAndPairs) {
  const std::string line = captured([] { log::info("agent_started", {{"pid", 42}, {"node", "n1"}}); });
  EXPECT_EQ(body_of(line), "info agent_started pid=42 node=n1\n");
  EXPECT_EQ(line.find('T'), 10u);
  EXPECT_EQ(line.find('Z'), 23u);
}

TEST_F(LogTest, ValuesThatWouldBreakTheLineAreQuotedAndEscaped) {
  const std::string line = captured([] {
    log::warn("x", {{"a", "two words"}, {"b", "say \"hi\""}, {"c", "line\nbreak"}, {"d", "k=v"}, {"e", ""}});
  });
  EXPECT_EQ(body_of(line),
            "warn x a=\"two words\" b=\"say \\\"hi\\\"\" c=\"line\\nbreak\" d=\"k=v\" e=\"\"\n");
}

TEST_F(LogTest, EscapeSequencesOfATerminalDoNotPass) {
  const std::string line = captured([] { log::error("x", {{"a", "\x1b[31mred"}}); });
  EXPECT_EQ(line.find('\x1b'), std::string::npos);
}

TEST_F(LogTest, MessagesAboveTheLevelAreDropped) {
  EXPECT_EQ(captured([] { log::debug("x"); }), "");
  ASSERT_TRUE(log::set_level("debug"));
  EXPECT_EQ(body_of(captured([] { log::debug("x"); })), "debug x\n");
  ASSERT_TRUE(log::set_level("error"));
  EXPECT_EQ(captured([] { log::warn("x"); }), "");
}

TEST_F(LogTest, UnknownLevelNameIsRefusedAndChangesNothing) {
  EXPECT_FALSE(log::set_level("verbose"));
  EXPECT_TRUE(log::enabled(log::Level::kInfo));
  EXPECT_FALSE(log::enabled(log::Level::kDebug));
}

}  // namespace
}  // namespace weft
