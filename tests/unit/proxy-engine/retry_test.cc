// When a request that got no answer is sent once more (RFC 9110 §9.2.2, RFC 9112 §9.3.1): only one that may
// be repeated, only when its pooled connection ended before a byte of an answer, only once.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/strings.h"
#include "tests/unit/proxy-engine/rig.h"

namespace weft::proxy {
namespace {

using ::testing::HasSubstr;

// Serves the first request of the first connection, and then does `then` with every further request: answers
// it when `then` is empty, else sends that much and closes.
class MortalServer {
 public:
  explicit MortalServer(std::vector<std::string> then)
      : then_(std::move(then)), server_([this](TestConnection& c) { serve(c); }) {}
  const SocketAddress& address() const { return server_.address(); }
  int connections() const { return server_.connections(); }
  int requests() const { return requests_; }

 private:
  void serve(TestConnection& c) {
    while (!c.read_message().empty()) {
      const size_t further = static_cast<size_t>(requests_++);
      const bool dies = further > 0 && further <= then_.size();
      if (!c.send(dies ? then_[further - 1] : ok_response("ok")) || dies) return;
    }
  }

  const std::vector<std::string> then_;
  std::atomic<int> requests_{0};
  TestServer server_;
};

// The answer to `request` on a client connection whose upstream connection has served one already.
std::string ask_on_used_connection(Rig& rig, std::string_view request) {
  TestConnection client = rig.connect();
  client.send(kGetRoot);
  EXPECT_EQ(client.read_message(), ok_response("ok"));
  EXPECT_TRUE(rig.wait_for([&] { return rig.worker().gauges().upstream_idle == 1; }));
  client.send(request);
  // Whatever the method: an answer to HEAD has a length and no content.
  return client.read_until("\r\n\r\n");
}

TEST(RetryTest, RepeatsIdempotentRequestsWithoutContent) {
  for (const std::string_view method : {"GET", "HEAD", "OPTIONS", "PUT", "DELETE"}) {
    MortalServer server({""});
    Rig rig(setup_for(server.address()));
    const std::string request = str_cat(method, " / HTTP/1.1\r\nHost: a\r\n\r\n");
    EXPECT_THAT(ask_on_used_connection(rig, request), HasSubstr("200 OK")) << method;
    EXPECT_EQ(server.connections(), 2) << method;
    EXPECT_EQ(server.requests(), 3) << method;
  }
}

TEST(RetryTest, NeverRepeatsWhatMayNotBeDoneTwice) {
  for (const std::string_view method : {"POST", "PATCH"}) {
    MortalServer server({""});
    Rig rig(setup_for(server.address()));
    const std::string request = str_cat(method, " / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    EXPECT_THAT(ask_on_used_connection(rig, request), HasSubstr("upstream_reset")) << method;
    EXPECT_EQ(server.requests(), 2) << method;
  }
}

TEST(RetryTest, NeverRepeatsARequestWhoseContentIsGone) {
  MortalServer server({""});
  Rig rig(setup_for(server.address()));
  const std::string request = "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody";
  EXPECT_THAT(ask_on_used_connection(rig, request), HasSubstr("upstream_reset"));
  EXPECT_EQ(server.requests(), 2);
}

TEST(RetryTest, NeverRepeatsWhatHasBegunToBeAnswered) {
  MortalServer server({"HTTP/1.1 200 O"});
  Rig rig(setup_for(server.address()));
  EXPECT_THAT(ask_on_used_connection(rig, kGetRoot), HasSubstr("upstream_reset"));
  EXPECT_EQ(server.requests(), 2);
}

TEST(RetryTest, RepeatsOnlyOnce) {
  MortalServer server({"", ""});
  Rig rig(setup_for(server.address()));
  EXPECT_THAT(ask_on_used_connection(rig, kGetRoot), HasSubstr("upstream_reset"));
  EXPECT_EQ(server.requests(), 3);
  EXPECT_EQ(server.connections(), 2);
}

TEST(RetryTest, DoesNotRepeatWhatANewConnectionDidNotAnswer) {
  TestServer server([](TestConnection& c) { c.read_message(); });
  Rig rig(setup_for(server.address()));
  EXPECT_THAT(rig.get(), HasSubstr("upstream_reset"));
  EXPECT_EQ(server.connections(), 1);
}

TEST(RetryTest, SendsAPostOnANewConnectionWhenTheOldOneIsKnownToHaveEnded) {
  TestServer closing([](TestConnection& c) {
    c.read_message();
    c.send(ok_response("ok"));
  });
  Rig rig(setup_for(closing.address()));
  EXPECT_EQ(rig.get(), ok_response("ok"));
  ASSERT_TRUE(rig.wait_for([&] { return rig.worker().gauges().upstream_connections == 0; }));
  TestConnection client = rig.connect();
  client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx");
  EXPECT_EQ(client.read_message(), ok_response("ok"));
  EXPECT_EQ(closing.connections(), 2);
}

}  // namespace
}  // namespace weft::proxy
