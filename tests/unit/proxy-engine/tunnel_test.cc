// Tunnels through a real worker: Upgrade and CONNECT, agreed and refused, and how their ends reach the other
// side.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sys/socket.h>

#include <cerrno>
#include <future>
#include <mutex>

#include "base/strings.h"
#include "tests/unit/proxy-engine/rig.h"

namespace weft::proxy {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

constexpr std::string_view kUpgrade =
    "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
constexpr std::string_view kSwitch =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

Rig::Setup to(const TestServer& server) {
  Rig::Setup setup;
  setup.clusters.push_back(TestCluster{.name = "v1", .endpoints = {server.address()}});
  return setup;
}

// A server that agrees and then does `talk`.
TestServer::Handler agreeing(TestServer::Handler talk) {
  return [talk = std::move(talk)](TestConnection& c) {
    c.read_until("\r\n\r\n");
    c.send(kSwitch);
    talk(c);
  };
}

TestConnection open_tunnel(Rig& rig) {
  TestConnection client = rig.connect();
  client.send(kUpgrade);
  EXPECT_EQ(client.read_until("\r\n\r\n"), kSwitch);
  return client;
}

TEST(TunnelTest, PassesTheEndOfEachDirectionOnAlone) {
  TestServer server(agreeing([](TestConnection& c) {
    const std::string all = c.read_to_end();
    c.send(str_cat("got ", all));
  }));
  Rig rig(to(server));
  TestConnection client = open_tunnel(rig);
  client.send("ping");
  client.finish_sending();
  EXPECT_EQ(client.read_to_end(), "got ping");
  const SeenRecord record = rig.sink().wait(1).at(0);
  EXPECT_EQ(record.outcome, Outcome::kOk);
  EXPECT_EQ(record.status, 101);
  EXPECT_EQ(record.received_bytes, 4u);
  EXPECT_EQ(record.sent_bytes, 8u);
}

TEST(TunnelTest, KeepsTheClientsDirectionWhenTheServerFinishedSending) {
  std::promise<std::string> rest;
  TestServer server(agreeing([&](TestConnection& c) {
    c.send("bye");
    c.finish_sending();
    rest.set_value(c.read_to_end());
  }));
  Rig rig(to(server));
  TestConnection client = open_tunnel(rig);
  EXPECT_EQ(client.read_to_end(), "bye");
  client.send("and more");
  client.finish_sending();
  EXPECT_EQ(rest.get_future().get(), "and more");
  EXPECT_EQ(rig.sink().wait(1).at(0).outcome, Outcome::kOk);
}

TEST(TunnelTest, PassesAResetFromTheServerOn) {
  TestServer server(agreeing([](TestConnection& c) {
    c.read(1);
    c.reset();
  }));
  Rig rig(to(server));
  TestConnection client = open_tunnel(rig);
  client.send("x");
  EXPECT_EQ(client.read_end(), ECONNRESET);
  EXPECT_EQ(rig.sink().wait(1).at(0).outcome, Outcome::kUpstreamReset);
}

TEST(TunnelTest, PassesAResetFromTheServerOnAfterItFinishedSending) {
  TestServer server(agreeing([](TestConnection& c) {
    c.finish_sending();
    c.read(1);
    c.reset();
  }));
  Rig rig(to(server));
  TestConnection client = open_tunnel(rig);
  EXPECT_EQ(client.read_end(), 0);
  client.send("x");
  EXPECT_EQ(rig.sink().wait(1).at(0).outcome, Outcome::kUpstreamReset);
}

TEST(TunnelTest, PassesAResetFromTheClientOn) {
  std::promise<int> end;
  TestServer server(agreeing([&](TestConnection& c) { end.set_value(c.read_end()); }));
  Rig rig(to(server));
  TestConnection client = open_tunnel(rig);
  client.reset();
  EXPECT_EQ(end.get_future().get(), ECONNRESET);
  EXPECT_EQ(rig.sink().wait(1).at(0).outcome, Outcome::kDownstreamReset);
}

TEST(TunnelTest, PassesOnWhatCameBeforeAResetOfEitherSide) {
  std::mutex mutex;
  std::vector<std::string> seen;
  TestServer server(agreeing([&](TestConnection& c) {
    const std::string order = c.read(5);
    if (order == "reset") {
      c.send("the last word");
      c.reset();
    } else {
      const std::scoped_lock lock(mutex);
      seen.push_back(order + c.read_to_end());
    }
  }));
  Rig rig(to(server));
  // The bytes and the reset may arrive together or apart.
  constexpr size_t kTimes = 100;
  for (size_t i = 0; i < kTimes; ++i) {
    TestConnection client = open_tunnel(rig);
    client.send("reset");
    EXPECT_EQ(client.read_to_end(), "the last word");
  }
  for (size_t i = 0; i < kTimes; ++i) {
    TestConnection client = open_tunnel(rig);
    client.send("other and the rest");
    client.reset();
  }
  for (const SeenRecord& record : rig.sink().wait(2 * kTimes)) EXPECT_NE(record.outcome, Outcome::kOk);
  EXPECT_TRUE(rig.wait_for([&] {
    const std::scoped_lock lock(mutex);
    return seen.size() == kTimes;
  }));
  EXPECT_THAT(seen, ::testing::Each(std::string("other and the rest")));
}

TEST(TunnelTest, HoldsBackWhatTheClientSendsUntilTheServerAgrees) {
  std::promise<void> silent;
  TestServer server([&](TestConnection& c) {
    c.read_until("\r\n\r\n");
    char byte = 0;
    if (recv(c.fd(), &byte, 1, MSG_DONTWAIT) < 0) silent.set_value();
    c.send(kSwitch);
    c.send(c.read(5));
  });
  Rig rig(to(server));
  TestConnection client = rig.connect();
  client.send(str_cat(kUpgrade, "early"));
  EXPECT_EQ(client.read_until("\r\n\r\n"), kSwitch);
  EXPECT_EQ(client.read(5), "early");
  EXPECT_EQ(silent.get_future().wait_for(std::chrono::seconds(0)), std::future_status::ready);
}

TEST(TunnelTest, KeepsBothConnectionsWhenTheServerRefusesTheUpgrade) {
  TestServer server(always("no"));
  Rig rig(to(server));
  TestConnection client = rig.connect();
  for (int i = 0; i < 2; ++i) {
    client.send(kUpgrade);
    EXPECT_EQ(client.read_message(), ok_response("no"));
  }
  EXPECT_EQ(server.connections(), 1);
}

TEST(TunnelTest, TreatsAnUpgradeWithABodyAsAPlainRequest) {
  std::string seen;
  TestServer server([&](TestConnection& c) {
    seen = c.read_message();
    c.send(ok_response("ok"));
  });
  Rig rig(to(server));
  TestConnection client = rig.connect();
  client.send(
      "POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: "
      "2\r\n\r\nhi");
  EXPECT_EQ(client.read_message(), ok_response("ok"));
  EXPECT_THAT(seen, Not(HasSubstr("pgrade")));
  EXPECT_THAT(seen, EndsWith("\r\n\r\nhi"));
}

TEST(TunnelTest, EndsATunnelInWhichNothingMoves) {
  TestServer server(agreeing([](TestConnection& c) { c.read_to_end(); }));
  Rig::Setup setup = to(server);
  setup.options.downstream_idle = std::chrono::milliseconds(100);
  Rig rig(setup);
  TestConnection client = open_tunnel(rig);
  EXPECT_EQ(client.read_end(), ECONNRESET);
  EXPECT_EQ(rig.sink().wait(1).at(0).outcome, Outcome::kIdleTimeout);
}

TEST(TunnelTest, OpensATunnelForConnectThroughTheServiceThatWasDialled) {
  std::string seen;
  TestServer server([&](TestConnection& c) {
    seen = c.read_until("\r\n\r\n");
    c.send("HTTP/1.1 200 Connection established\r\n\r\n");
    c.send(c.read(4));
  });
  Rig rig(to(server));
  TestConnection client = rig.connect();
  client.send("CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n");
  EXPECT_EQ(client.read_until("\r\n\r\n"), "HTTP/1.1 200 Connection established\r\n\r\n");
  client.send("ping");
  EXPECT_EQ(client.read_to_end(), "ping");
  EXPECT_EQ(seen, "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n");
}

TEST(TunnelTest, DeliversTheRefusalOfAConnectAndGoesOn) {
  const std::string refusal = "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno";
  TestServer server([&](TestConnection& c) {
    while (!c.read_message().empty()) c.send(refusal);
  });
  Rig rig(to(server));
  TestConnection client = rig.connect();
  for (int i = 0; i < 2; ++i) {
    client.send("CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n");
    EXPECT_EQ(client.read_message(), refusal);
  }
  EXPECT_EQ(server.connections(), 1);
}

}  // namespace
}  // namespace weft::proxy
