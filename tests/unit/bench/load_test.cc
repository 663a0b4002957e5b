// The load loop against a real server on 127.0.0.1: how it uses its connections.
#include "tools/bench/load.h"

#include <gtest/gtest.h>

#include "tests/unit/proxy-engine/rig.h"

namespace weft::bench {
namespace {

using weft::proxy::always;
using weft::proxy::TestServer;

LoadOptions options_for(const TestServer& server, uint32_t connections, uint64_t requests) {
  LoadOptions options;
  options.target = server.address();
  options.request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
  options.connections = connections;
  options.requests = requests;
  options.interval = 0;
  return options;
}

TEST(LoadTest, RunsAgainOnTheSameConnectionsAndCountsFromZero) {
  TestServer server(always("hello"));
  auto load = Load::create(options_for(server, 2, 10));
  ASSERT_TRUE(load.ok()) << load.status();
  ASSERT_TRUE((*load)->run(nullptr).ok());
  EXPECT_EQ((*load)->totals().requests, 10u);
  EXPECT_EQ((*load)->totals().connections, 2u);
  ASSERT_TRUE((*load)->run(nullptr).ok());
  EXPECT_EQ((*load)->totals().requests, 10u);
  EXPECT_EQ((*load)->totals().connections, 0u);
  EXPECT_EQ(server.connections(), 2);
}

TEST(LoadTest, ASlowPaceStillUsesEveryConnection) {
  TestServer server(always("hello"));
  LoadOptions options = options_for(server, 3, 6);
  options.rate = 500;
  auto load = Load::create(options);
  ASSERT_TRUE(load.ok()) << load.status();
  ASSERT_TRUE((*load)->run(nullptr).ok());
  EXPECT_EQ((*load)->totals().requests, 6u);
  EXPECT_EQ(server.connections(), 3);
}

TEST(LoadTest, ASilentServerIsATimeoutAndNoEndlessRun) {
  TestServer server([](weft::proxy::TestConnection& connection) { connection.read_to_end(); });
  LoadOptions options = options_for(server, 1, 1);
  options.timeout = 0.1;
  auto load = Load::create(options);
  ASSERT_TRUE(load.ok()) << load.status();
  ASSERT_TRUE((*load)->run(nullptr).ok());
  EXPECT_EQ((*load)->totals().failures[static_cast<size_t>(Failure::kTimeout)], 1u);
}

}  // namespace
}  // namespace weft::bench
