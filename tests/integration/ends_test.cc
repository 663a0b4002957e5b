// How connections through the proxy end: what one side does at the end of its direction, or of the
// connection, the other side sees as the same, in tunnels (WebSocket) and where the protocol is unknown. Both
// sides wait for nothing else.
#include <gmock/gmock.h>

#include "tests/harness/mesh_test.h"

namespace weft::harness {
namespace {

using ::testing::HasSubstr;

constexpr char kAddress[] = "10.96.0.41:9100";

class EndsTest : public MeshTest {
 protected:
  void serve(const std::string& port_name, const std::string& kind) {
    auto pod = add_service({.name = "ends",
                            .ip4 = "10.96.0.41",
                            .ip6 = "",
                            .ports = {{.name = port_name, .port = 9100, .target_port = 9100}}});
    ASSERT_TRUE(pod.ok()) << pod.status();
    auto server = start_peer(*pod, "ends", 9100);
    ASSERT_TRUE(server.ok()) << server.status();
    servers_.push_back(std::move(*server));
    // Until the proxy knows the service.
    ASSERT_TRUE(wait_until(milliseconds(20'000), [&] {
      return peer(client_, {"end", kAddress, kind, "server", "fin"}).exit_code == 0;
    })) << mesh_->log();
    ASSERT_TRUE(server_saw("server saw fin\n"));
  }

  std::string client_sees(const std::string& kind, const std::string& who, const std::string& act) {
    const CommandResult result = peer(client_, {"end", kAddress, kind, who, act});
    EXPECT_EQ(result.exit_code, 0) << kind << " " << who << " " << act << ": " << result.errors;
    return result.output;
  }
  ::testing::AssertionResult server_saw(const std::string& line) {
    Process& server = *servers_.back();
    if (wait_until(milliseconds(20'000), [&] { return server.output().find(line) != std::string::npos; }))
      return ::testing::AssertionSuccess();
    return ::testing::AssertionFailure() << "no '" << line << "' but: " << server.output();
  }

  void ends_pass(const std::string& kind) {
    std::string seen = "server saw fin\n";
    EXPECT_EQ(client_sees(kind, "server", "reset"), "client saw reset\n");
    EXPECT_EQ(client_sees(kind, "client", "reset"), "");
    EXPECT_TRUE(server_saw(seen += "server saw reset\n"));
    // One says that it is done, the other hears it and says the same.
    EXPECT_EQ(client_sees(kind, "client", "fin"), "client saw fin\n");
    EXPECT_TRUE(server_saw(seen += "server saw fin\n"));
    EXPECT_EQ(client_sees(kind, "server", "fin"), "client saw fin\n");
    EXPECT_TRUE(server_saw(seen += "server saw fin\n"));
  }
};

TEST_F(EndsTest, OfEachSideOfAWebSocketReachTheOther) {
  ASSERT_NO_FATAL_FAILURE(serve("http", "tunnel"));
  ends_pass("tunnel");
  EXPECT_THAT(mesh_->proxy().output(), HasSubstr("status=101 route=default outcome=ok"));
}

TEST_F(EndsTest, OfEachSideOfAnUnknownProtocolReachTheOther) {
  ASSERT_NO_FATAL_FAILURE(serve("any", "plain"));
  ends_pass("plain");
  EXPECT_THAT(mesh_->proxy().output(), HasSubstr("protocol=tcp outcome=ok"));
}

}  // namespace
}  // namespace weft::harness
