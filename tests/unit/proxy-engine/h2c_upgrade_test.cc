// "Upgrade: h2c": who gets it, that the request is answered as the first stream, and that nobody's upgrade
// reaches a server.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/strings.h"
#include "tests/unit/proxy-engine/http2_wire.h"
#include "userspace-proxy/http/h2c_upgrade.h"
#include "userspace-proxy/http/http1_head.h"

namespace weft::proxy {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

// MAX_CONCURRENT_STREAMS 100, INITIAL_WINDOW_SIZE 65535, NO_RFC7540_PRIORITIES 1: what follows in the
// client's preface may not differ in the last one (RFC 9218 §2.1).
constexpr std::string_view kSettings = "AAMAAABkAAQAAP__AAkAAAAB";

std::string asking(std::string_view method, std::string_view connection, std::string_view more = {}) {
  return str_cat(method, " /first HTTP/1.1\r\nHost: service\r\nConnection: ", connection,
                 "\r\nUpgrade: h2c\r\nHTTP2-Settings: ", kSettings, "\r\n", more, "\r\n");
}
constexpr std::string_view kBoth = "Upgrade, HTTP2-Settings";

std::optional<std::string> settings_in(const std::string& text) {
  RequestHead head;
  EXPECT_EQ(parse_request(text, &head), ParseResult::kComplete) << text;
  return http2_settings_of(head);
}

TEST(H2cUpgradeTest, TheRightQuestionGivesTheClientsSettings) {
  const auto settings = settings_in(asking("GET", kBoth));
  ASSERT_TRUE(settings.has_value());
  EXPECT_EQ(settings->size(), 18u);
  EXPECT_TRUE(settings_in(asking("GET", "HTTP2-Settings, upgrade, keep-alive")).has_value());
}

TEST(H2cUpgradeTest, EveryOtherQuestionIsOneOfHttp1) {
  EXPECT_FALSE(settings_in(asking("GET", "Upgrade")).has_value()) << "the settings belong to nobody";
  EXPECT_FALSE(settings_in(asking("GET", "HTTP2-Settings")).has_value());
  EXPECT_FALSE(settings_in(asking("GET", kBoth, str_cat("HTTP2-Settings: ", kSettings, "\r\n"))).has_value());
  EXPECT_FALSE(settings_in(asking("POST", kBoth, "Content-Length: 3\r\n")).has_value());
  EXPECT_FALSE(settings_in(asking("POST", kBoth, "Transfer-Encoding: chunked\r\n")).has_value());
  for (const char* bad : {"!!!!", "AAMAAAB", "AAMA AABk", "AAM/AABk"})
    EXPECT_FALSE(settings_in(str_cat("GET / HTTP/1.1\r\nHost: a\r\nConnection: ", kBoth,
                                     "\r\nUpgrade: h2c\r\nHTTP2-Settings: ", bad, "\r\n\r\n"))
                     .has_value())
        << bad;
}

TEST(H2cUpgradeTest, TheRequestIsAnsweredAsTheFirstStreamAndOthersFollow) {
  TestServer server([](TestConnection& c) {
    for (std::string head = c.read_message(); !head.empty(); head = c.read_message()) {
      EXPECT_THAT(head, Not(HasSubstr("pgrade")));
      EXPECT_THAT(head, Not(HasSubstr("ettings")));
      c.send(ok_response(head.substr(0, head.find(" HTTP"))));
    }
  });
  // Without a mesh this server would have answered in HTTP/1.1, and so it is asked.
  Rig rig(to(server.address(), ClusterProtocol::kAsClient));
  TestConnection connection = rig.connect();
  connection.send(asking("GET", kBoth));
  EXPECT_EQ(connection.read_until("\r\n\r\n"), kSwitchToHttp2);
  WirePeer wire(Http2Session::Role::kClient, connection);
  RecordingStream first, second;
  ASSERT_TRUE(wire.peer.session->upgrade(*settings_in(asking("GET", kBoth)), false, first));
  wire.speak();
  wire.peer.hears(connection.take_unread());
  EXPECT_TRUE(wire.turn_until([&] { return !first.closed.empty(); }));
  EXPECT_EQ(first.field(0, ":status"), "200");
  EXPECT_EQ(first.body, "GET /first");
  EXPECT_THAT(first.closed, ElementsAre(Http2StreamEnd::kComplete));
  ASSERT_TRUE(wire.peer.session->send_request(second, service_request("GET", "/second"), true));
  EXPECT_TRUE(wire.turn_until([&] { return !second.closed.empty(); }));
  EXPECT_EQ(second.body, "GET /second");
  const std::vector<SeenRecord> records = rig.sink().wait(2);
  ASSERT_EQ(records.size(), 2u);
  EXPECT_EQ(records[0].path, "/first");
  EXPECT_EQ(records[0].outcome, Outcome::kOk);
}

TEST(H2cUpgradeTest, AClientMayGoOnAtOnceWithoutWaitingForTheAnswer) {
  TestServer server(always("body"));
  Rig rig(to(server.address(), ClusterProtocol::kHttp1));
  TestConnection connection = rig.connect();
  connection.send(asking("GET", kBoth) + preface() + frame(NGHTTP2_PING, 0, 0, "12345678"));
  EXPECT_EQ(connection.read_until("\r\n\r\n"), kSwitchToHttp2);
  EXPECT_THAT(connection.read_until("12345678"), HasSubstr("12345678"));
}

TEST(H2cUpgradeTest, AQuestionWithABodyIsAnsweredInHttp1AndNoServerSeesTheUpgrade) {
  TestServer server([](TestConnection& c) {
    const std::string request = c.read_message();
    EXPECT_THAT(request, Not(HasSubstr("h2c")));
    c.send(ok_response("plain"));
  });
  Rig rig(to(server.address(), ClusterProtocol::kHttp1));
  TestConnection connection = rig.connect();
  connection.send(asking("POST", kBoth, "Content-Length: 3\r\n") + "abc");
  EXPECT_THAT(connection.read_message(), StartsWith("HTTP/1.1 200 OK\r\n"));
}

// What the proxy itself says of its limits fits any buffer; a response may not.
TEST(H2cUpgradeTest, TheResponseWaitsUntilTheClientHasSwitched) {
  TestServer server(always("body"));
  Rig rig(to(server.address()));
  TestConnection connection = rig.connect();
  connection.send(asking("GET", kBoth));
  EXPECT_EQ(connection.read_until("\r\n\r\n"), kSwitchToHttp2);
  // A whole turn of the worker later no server has been asked.
  EXPECT_TRUE(rig.get("/other").starts_with("HTTP/1.1 200"));
  EXPECT_EQ(server.connections(), 1);
  connection.send(preface());
  EXPECT_THAT(connection.read_until("body"), HasSubstr("body"));
}

TEST(H2cUpgradeTest, AClientThatDoesNotGoOnIsGivenUp) {
  TestServer server(always("body"));
  Rig::Setup setup = to(server.address(), ClusterProtocol::kHttp1);
  setup.options.head_timeout = std::chrono::milliseconds(20);
  Rig rig(setup);
  TestConnection connection = rig.connect();
  connection.send(asking("GET", kBoth));
  EXPECT_EQ(connection.read_until("\r\n\r\n"), kSwitchToHttp2);
  const std::string rest = connection.take_unread() + connection.read_to_end();
  EXPECT_EQ(endings_in(rest).goaway_text, "head_timeout");
}

}  // namespace
}  // namespace weft::proxy
