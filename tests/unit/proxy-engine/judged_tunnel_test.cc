// Tunnels to a pod whose policies ask about requests: every request is judged before the application sees it,
// whatever version of HTTP it is, and what is no HTTP never gets there.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <functional>
#include <utility>

#include "base/strings.h"
#include "proto/istio/security.pb.h"
#include "proto/weft/mesh/v1/http_terms.pb.h"
#include "proto/weft/mesh/v1/request_authentication.pb.h"
#include "tests/unit/identity/tokens.h"
#include "tests/unit/proxy-engine/http2_peers.h"
#include "tests/unit/proxy-engine/policy_messages.h"
#include "tests/unit/proxy-engine/tunnel_rig.h"

namespace weft::proxy {
namespace {

namespace pb = istio::security;
using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string get(std::string_view path) { return str_cat("GET ", path, " HTTP/1.1\r\nHost: shop\r\n\r\n"); }
constexpr char kAnswer[] = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nanswer";

class JudgedTunnelTest : public TunnelTest {
 protected:
  // What comes next, until it has this in it; also what came before it ends or breaks.
  std::string read_until(Call& call, std::string_view text) {
    std::string out;
    InputBuffer input(loop_->buffers());
    while (out.find(text) == std::string::npos) {
      const int got = receive(call, input);
      if (got <= 0) return str_cat(out, got == 0 ? "<end>" : "<broken>");
      out += input.unread();
      input.clear();
    }
    return out;
  }

  // A client of HTTP/2 at the end of a tunnel.
  class Client : public Peer {
   public:
    Client(JudgedTunnelTest& test, Call& call)
        : Peer(Http2Session::Role::kClient), test_(test), call_(call), input_(test.loop_->buffers()) {}
    ~Client() override { call_.socket.close(); }

    // Says what it has to say and hears what comes, until it is so.
    bool until(const std::function<bool()>& done) {
      return test_.until([&] {
        if (const std::string bytes = said(); !bytes.empty()) test_.send(call_, bytes);
        if (!std::exchange(listening_, true)) {
          step_.done = false;
          step_.began(call_.socket.recv(step_.operation, input_));
        }
        if (step_.done && step_.result > 0) {
          hears(input_.unread());
          input_.clear();
          listening_ = false;
        }
        return done();
      });
    }

   private:
    JudgedTunnelTest& test_;
    Call& call_;
    InputBuffer input_;
    TestStep step_;
    bool listening_ = false;
  };

  // A server of HTTP/2 that the application is.
  class Server : public Peer {
   public:
    explicit Server(JudgedTunnelTest& test) : Peer(Http2Session::Role::kServer), test_(test) {}
    void turn() {
      if (end_.fd() < 0)
        end_ = FarEnd(UniqueFd(::accept4(test_.application_.get(), nullptr, nullptr, SOCK_CLOEXEC)));
      if (end_.fd() < 0) return;
      hears(std::string_view(end_.received()).substr(heard_));
      heard_ = end_.received().size();
      end_.send(said());
    }

   private:
    JudgedTunnelTest& test_;
    FarEnd end_;
    size_t heard_ = 0;
  };
};

TEST_P(JudgedTunnelTest, EachRequestOfAConnectionIsJudgedAndTheOthersGoOn) {
  use_policies({about_path(pb::DENY, "/admin")});
  const auto tunnel = opened();
  send(*tunnel, get("/a/../%61dmin"));
  const std::string denied = read_until(*tunnel, "denied");
  EXPECT_THAT(denied, StartsWith("HTTP/1.1 403 Forbidden\r\n"));
  EXPECT_THAT(denied, HasSubstr("x-weft-reason: access_denied\r\n"));
  EXPECT_THAT(denied, ::testing::EndsWith("\r\n\r\nRBAC: access denied"));
  send(*tunnel, get("/ok"));
  FarEnd application = accept_application();
  ASSERT_TRUE(until([&] { return application.has("\r\n\r\n"); }));
  EXPECT_THAT(application.received(), StartsWith("GET /ok HTTP/1.1\r\n"));
  application.send(kAnswer);
  EXPECT_THAT(read_until(*tunnel, "answer"), StartsWith("HTTP/1.1 200 OK\r\n"));
  // A path that servers may read in two ways.
  send(*tunnel, get("//admin"));
  EXPECT_THAT(read_until(*tunnel, "denied"), StartsWith("HTTP/1.1 403 "));
  EXPECT_EQ(application.received().find("admin"), std::string::npos);
  const std::vector<SeenRecord> records = sink_.wait(2);
  ASSERT_EQ(records.size(), 2u) << "who lets a request in does not count it";
  EXPECT_EQ(records[0].outcome, Outcome::kAccessDenied);
  EXPECT_EQ(records[0].status, 403);
}

TEST_P(JudgedTunnelTest, WhatNoRuleAllowsIsDenied) {
  use_policies({about_path(pb::ALLOW, "/ok")});
  const auto tunnel = opened();
  send(*tunnel, get("/other"));
  EXPECT_THAT(read_until(*tunnel, "denied"), StartsWith("HTTP/1.1 403 "));
  send(*tunnel, get("/ok?x"));
  FarEnd application = accept_application();
  EXPECT_TRUE(until([&] { return application.has("GET /ok?x HTTP/1.1\r\n"); }));
}

TEST_P(JudgedTunnelTest, StreamsOfHttp2AreJudgedOneByOneAndGrpcGetsItsStatus) {
  use_policies({about_path(pb::DENY, "/shop.Cart/Drop")});
  const auto tunnel = opened();
  RecordingStream plain, call, allowed;
  Client client(*this, *tunnel);
  ASSERT_TRUE(client.session->send_request(plain, request_fields("GET", "/shop.Cart/Drop"), true));
  Http2Fields grpc = request_fields("POST", "/shop.Cart/Drop");
  grpc.add("content-type", "application/grpc");
  grpc.add("te", "trailers");
  ASSERT_TRUE(client.session->send_request(call, grpc, true));
  ASSERT_TRUE(client.session->send_request(allowed, request_fields("GET", "/ok"), true));
  ASSERT_TRUE(client.until([&] { return plain.ended && call.ended; }));
  EXPECT_EQ(plain.field(0, ":status"), "403");
  EXPECT_EQ(plain.body, "RBAC: access denied");
  EXPECT_EQ(call.field(0, ":status"), "200");
  EXPECT_EQ(call.field(0, "grpc-status"), "7");
  // The application is spoken to as the client speaks.
  Server server(*this);
  ASSERT_TRUE(client.until([&] {
    server.turn();
    return !server.streams.empty() && server.streams[0].ended;
  }));
  ASSERT_EQ(server.streams.size(), 1u);
  EXPECT_EQ(server.streams[0].field(0, ":path"), "/ok");
  ASSERT_TRUE(server.session->send_response(server.streams[0], response_fields(), true));
  EXPECT_TRUE(client.until([&] {
    server.turn();
    return allowed.ended;
  }));
  EXPECT_EQ(allowed.field(0, ":status"), "200");
}

TEST_P(JudgedTunnelTest, AnAnswerIsWholeWhereTheConnectionEndsAfterIt) {
  use_policies({about_path(pb::DENY, "/admin")});
  for (const char* request : {"GET /ok HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n",
                              "GET /ok HTTP/1.0\r\nHost: shop\r\n\r\n"}) {
    const auto tunnel = opened();
    send(*tunnel, request);
    FarEnd application = accept_application();
    ASSERT_TRUE(until([&] { return application.has("\r\n\r\n"); }));
    application.send(kAnswer);
    EXPECT_THAT(read_until(*tunnel, "<end>"), ::testing::EndsWith("\r\n\r\nanswer<end>")) << request;
    tunnel->socket.close();
  }
  const auto denied = opened();
  send(*denied, "GET /admin HTTP/1.0\r\nHost: shop\r\n\r\n");
  EXPECT_THAT(read_until(*denied, "<end>"), ::testing::EndsWith("RBAC: access denied<end>"));
}

TEST_P(JudgedTunnelTest, WhatHidesRequestsBehindARequestIsDenied) {
  use_policies({about_path(pb::DENY, "/admin")});
  for (const char* request :
       {"CONNECT shop:80 HTTP/1.1\r\nHost: shop:80\r\n\r\n",
        "GET /ok HTTP/1.1\r\nHost: shop\r\nConnection: upgrade\r\nUpgrade: other\r\n\r\n"}) {
    const auto tunnel = opened();
    send(*tunnel, request);
    EXPECT_THAT(read_until(*tunnel, "denied"), StartsWith("HTTP/1.1 403 ")) << request;
  }
  const auto tunnel = opened();
  send(*tunnel,
       "GET /ok HTTP/1.1\r\nHost: shop\r\nConnection: upgrade\r\nUpgrade: WebSocket\r\n"
       "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
  FarEnd application = accept_application();
  EXPECT_TRUE(until([&] { return application.has("\r\n\r\n"); }));
  EXPECT_THAT(application.received(), HasSubstr("Upgrade: WebSocket\r\n"));
}

TEST_P(JudgedTunnelTest, TunnelsOfOneConnectionAreOneConnectionOfThePod) {
  use_policies({about_path(pb::DENY, "/admin")});
  const auto one = opened(), other = opened();
  for (Call* tunnel : {one.get(), other.get()}) {
    send(*tunnel, get("/admin"));
    EXPECT_THAT(read_until(*tunnel, "denied"), StartsWith("HTTP/1.1 403 "));
  }
  EXPECT_EQ(server_->use->connections.get(), 1u);
  EXPECT_EQ(server_->connections.front(), nullptr) << "to give one up would make no room";
  one->socket.shutdown_write();
  EXPECT_EQ(read_until(*one, "anything"), "<end>");
  EXPECT_EQ(server_->use->connections.get(), 1u);
}

TEST_P(JudgedTunnelTest, AClientThatHasNothingMoreToAskSeesAnEnd) {
  use_policies({about_path(pb::DENY, "/admin")});
  const auto silent = opened(), asked = opened();
  silent->socket.shutdown_write();
  EXPECT_EQ(read_until(*silent, "anything"), "<end>");
  send(*asked, get("/admin"));
  EXPECT_THAT(read_until(*asked, "denied"), StartsWith("HTTP/1.1 403 "));
  asked->socket.shutdown_write();
  EXPECT_EQ(read_until(*asked, "anything"), "<end>");
}

TEST_P(JudgedTunnelTest, WhatIsNoHttpNeverReachesTheApplication) {
  use_policies({about_path(pb::DENY, "/admin")});
  const auto tunnel = opened();
  send(*tunnel, "\x16\x03\x01 no HTTP at all\r\n\r\n");
  EXPECT_EQ(read_until(*tunnel, "anything"), "<broken>");
  ASSERT_TRUE(until([&] { return sink_.count() == 2; }));
  EXPECT_EQ(sink_.wait(2)[0].protocol, ExchangeRecord::Protocol::kTcp);
  EXPECT_EQ(sink_.wait(2)[0].outcome, Outcome::kAccessDenied);
  EXPECT_EQ(sink_.wait(2)[1].protocol, ExchangeRecord::Protocol::kTunnel);
  EXPECT_EQ(::accept4(application_.get(), nullptr, nullptr, 0), -1);
}

TEST_P(JudgedTunnelTest, ATunnelThatNoRequestCouldHelpIsRefusedWhenItIsAsked) {
  use_policies({about_path(pb::ALLOW, "/ok"), everything(pb::DENY)});
  const auto tunnel = call();
  ASSERT_TRUE(until([&] { return tunnel->step.done; }));
  EXPECT_EQ(tunnel->status(), ConnectStatus::kRefused);
}

TEST_P(JudgedTunnelTest, AChangeEndsRequestsThatItForbidsAndTunnelsThatWereNotRead) {
  const auto unread = opened();
  FarEnd bytes = accept_application();
  use_policies({about_path(pb::DENY, "/admin")});
  EXPECT_EQ(read_until(*unread, "anything"), "<broken>");
  const auto forbidden = opened(), other = opened();
  send(*forbidden, get("/slow"));
  FarEnd application = accept_application();
  ASSERT_TRUE(until([&] { return application.has("/slow"); }));
  send(*other, get("/fast"));
  FarEnd elsewhere = accept_application();
  ASSERT_TRUE(until([&] { return elsewhere.has("/fast"); }));
  use_policies({about_path(pb::DENY, "/slow")});
  EXPECT_EQ(read_until(*forbidden, "anything"), "<broken>");
  elsewhere.send(kAnswer);
  EXPECT_THAT(read_until(*other, "answer"), StartsWith("HTTP/1.1 200 "));
  // What is allowed altogether now goes on as it is.
  use_policies({});
  send(*other, get("/slow"));
  ASSERT_TRUE(until([&] { return elsewhere.has("/slow"); }));
  elsewhere.send(kAnswer);
  EXPECT_THAT(read_until(*other, "answer"), StartsWith("HTTP/1.1 200 "));
  // Nobody waits for anything on it.
  use_policies({everything(pb::DENY)});
  EXPECT_EQ(read_until(*other, "anything"), "<end>");
}

TEST_P(JudgedTunnelTest, AStreamThatAChangeForbidsEndsAloneOfItsConnection) {
  use_policies({about_path(pb::DENY, "/admin")});
  const auto tunnel = opened();
  RecordingStream slow, fast;
  Client client(*this, *tunnel);
  ASSERT_TRUE(client.session->send_request(slow, request_fields("GET", "/slow"), true));
  ASSERT_TRUE(client.session->send_request(fast, request_fields("GET", "/fast"), true));
  Server server(*this);
  ASSERT_TRUE(client.until([&] {
    server.turn();
    return server.streams.size() == 2;
  }));
  use_policies({about_path(pb::DENY, "/slow")});
  ASSERT_TRUE(client.until([&] {
    server.turn();
    return !slow.closed.empty();
  }));
  EXPECT_TRUE(slow.heads.empty());
  for (RecordingStream& stream : server.streams) {
    if (stream.field(0, ":path") == "/fast") server.session->send_response(stream, response_fields(), true);
  }
  EXPECT_TRUE(client.until([&] {
    server.turn();
    return fast.ended;
  }));
  EXPECT_EQ(fast.field(0, ":status"), "200");
}

TEST_P(JudgedTunnelTest, WhatOnlyAShadowReadsIsPassedOnWhateverItIs) {
  use_policies({dry_run(about_path(pb::DENY, "/admin"))});
  const auto http = opened(), bytes = opened();
  send(*http, get("/admin"));
  FarEnd application = accept_application();
  ASSERT_TRUE(until([&] { return application.has("GET /admin"); }));
  application.send(kAnswer);
  EXPECT_THAT(read_until(*http, "answer"), StartsWith("HTTP/1.1 200 "));
  send(*bytes, "\x16\x03\x01 no HTTP at all\r\n\r\n");
  FarEnd elsewhere = accept_application();
  ASSERT_TRUE(until([&] { return elsewhere.has("at all"); }));
  elsewhere.send("heard");
  EXPECT_EQ(read_until(*bytes, "heard"), "heard");
  EXPECT_EQ(context_->shadow.denied, 2u);
}

// ALLOW for requests whose token has this in its groups.
AuthorizationPtr for_group(const char* group) {
  auto out = std::make_shared<pb::Authorization>();
  weft::mesh::v1::TokenTerms terms;
  terms.add_claims()->add_claim("groups");
  terms.mutable_claims(0)->add_values()->set_exact(group);
  auto& extension = *out->add_rules()->add_clauses()->add_matches()->add_extensions();
  extension.set_name("weft.mesh.v1.TokenTerms");
  extension.mutable_config()->PackFrom(terms);
  return out;
}

class TokenTunnelTest : public JudgedTunnelTest {
 protected:
  std::shared_ptr<const RequestAuthentication> rules() const {
    mesh::v1::TokenRule rule;
    rule.set_issuer("iss");
    rule.set_jwks(test::jwk_set(test::jwk(key_.get())));
    rule.add_output_claims()->set_header("x-sub");
    rule.mutable_output_claims(0)->add_claim("sub");
    return std::make_shared<const RequestAuthentication>(std::vector{*TokenRule::compile(rule)});
  }
  std::string token(const char* group) const {
    return test::make_token("ES256", key_.get(),
                            str_cat(R"({"iss":"iss","sub":"me","groups":[")", group, "\"]}"), "");
  }
  static std::string get_with(std::string_view path, std::string_view fields) {
    return str_cat("GET ", path, " HTTP/1.1\r\nHost: shop\r\n", fields, "\r\n");
  }

  const KeyPtr key_ = test::ec_key("P-256");
};

TEST_P(TokenTunnelTest, ABadTokenIs401AndNoTokenIsNobody) {
  use_policies({}, rules());
  const auto tunnel = opened();
  send(*tunnel, get_with("/bad", "Authorization: Bearer a.b.c\r\n"));
  const std::string refused = read_until(*tunnel, "fails");
  EXPECT_THAT(refused, StartsWith("HTTP/1.1 401 Unauthorized\r\n"));
  EXPECT_THAT(refused, HasSubstr("\r\nwww-authenticate: Bearer error=\"invalid_token\"\r\n"));
  EXPECT_THAT(refused, HasSubstr("x-weft-reason: bad_token\r\n"));
  EXPECT_THAT(refused, ::testing::EndsWith("\r\n\r\nJwt verification fails"));
  send(*tunnel, get_with("/nobody", "X-Sub: root\r\n"));
  FarEnd application = accept_application();
  ASSERT_TRUE(until([&] { return application.has("/nobody HTTP/1.1\r\n") && application.has("\r\n\r\n"); }));
  EXPECT_EQ(application.received().find("root"), std::string::npos);
  application.send(kAnswer);
  EXPECT_THAT(read_until(*tunnel, "answer"), StartsWith("HTTP/1.1 200 "));
  send(*tunnel, get_with("/me", str_cat("Authorization: Bearer ", token("a"), "\r\n")));
  ASSERT_TRUE(until([&] { return application.has("x-sub: me\r\n"); }));
  EXPECT_EQ(application.received().find("Bearer"), std::string::npos);
  const std::vector<SeenRecord> records = sink_.wait(1);
  ASSERT_EQ(records.size(), 1u);
  EXPECT_EQ(records[0].outcome, Outcome::kBadToken);
}

TEST_P(TokenTunnelTest, NoTrailerHasTheNameOfWhatTheProxyWrites) {
  use_policies({}, rules());
  const auto tunnel = opened();
  const std::string fields = "Transfer-Encoding: chunked\r\n";
  send(*tunnel, str_cat("POST /a HTTP/1.1\r\nHost: shop\r\n", fields, "\r\n0\r\nX_Sub: root\r\n\r\n"));
  FarEnd application = accept_application();
  ASSERT_TRUE(until([&] { return application.has("0\r\n\r\n"); }));
  EXPECT_EQ(application.received().find("root"), std::string::npos);
  application.send(kAnswer);
  EXPECT_THAT(read_until(*tunnel, "answer"), StartsWith("HTTP/1.1 200 "));
  send(*tunnel, str_cat("POST /b HTTP/1.1\r\nHost: shop\r\n", fields, "\r\n0\r\nX-Sum: 7\r\n\r\n"));
  ASSERT_TRUE(until([&] { return application.has("0\r\nX-Sum: 7\r\n\r\n"); })) << application.received();
  // Nor does a Connection field make the application's end of it drop what the proxy wrote.
  application.send(kAnswer);
  EXPECT_THAT(read_until(*tunnel, "answer"), StartsWith("HTTP/1.1 200 "));
  send(*tunnel, get_with("/c", str_cat("Connection: x-sub\r\nAuthorization: Bearer ", token("a"), "\r\n")));
  EXPECT_THAT(read_until(*tunnel, "fails"), StartsWith("HTTP/1.1 401 "));
}

TEST_P(TokenTunnelTest, PoliciesAskWhatTheTokenSays) {
  use_policies({for_group("staff")}, rules());
  const auto tunnel = opened();
  send(*tunnel, get("/none"));
  EXPECT_THAT(read_until(*tunnel, "denied"), StartsWith("HTTP/1.1 403 "));
  send(*tunnel, get_with("/guest", str_cat("Authorization: Bearer ", token("guest"), "\r\n")));
  EXPECT_THAT(read_until(*tunnel, "denied"), StartsWith("HTTP/1.1 403 "));
  send(*tunnel, get_with("/staff", str_cat("Authorization: Bearer ", token("staff"), "\r\n")));
  FarEnd application = accept_application();
  ASSERT_TRUE(until([&] { return application.has("x-sub: me\r\n"); }));
  EXPECT_EQ(application.received().find("/guest"), std::string::npos);
  // What it said when it was let in still counts, and is judged by the policies of now.
  use_policies({for_group("staff"), about_path(pb::DENY, "/other")}, rules());
  application.send(kAnswer);
  EXPECT_THAT(read_until(*tunnel, "answer"), StartsWith("HTTP/1.1 200 "));
  send(*tunnel, get_with("/again", str_cat("Authorization: Bearer ", token("staff"), "\r\n")));
  ASSERT_TRUE(until([&] { return application.has("/again") && application.has("\r\n\r\n"); }));
  use_policies({for_group("admin")}, rules());
  EXPECT_EQ(read_until(*tunnel, "anything"), "<broken>");
}

TEST_P(TokenTunnelTest, StreamsOfHttp2AndGrpcGetTheirOwnStatus) {
  use_policies({}, rules());
  const auto tunnel = opened();
  RecordingStream plain, call;
  Client client(*this, *tunnel);
  Http2Fields fields = request_fields("GET", "/bad");
  fields.add("authorization", "Bearer x");
  ASSERT_TRUE(client.session->send_request(plain, fields, true));
  Http2Fields grpc = request_fields("POST", "/bad");
  grpc.add("content-type", "application/grpc");
  grpc.add("authorization", "Bearer x");
  ASSERT_TRUE(client.session->send_request(call, grpc, true));
  ASSERT_TRUE(client.until([&] { return plain.ended && call.ended; }));
  EXPECT_EQ(plain.field(0, ":status"), "401");
  EXPECT_EQ(plain.field(0, "www-authenticate"), "Bearer error=\"invalid_token\"");
  EXPECT_EQ(call.field(0, ":status"), "200");
  EXPECT_EQ(call.field(0, "grpc-status"), "16");
}

TEST_P(TokenTunnelTest, WhereTokensCountNothingHidesRequestsFromThem) {
  use_policies({}, rules());
  const auto upgrade = opened();
  send(*upgrade, get_with("/", "Connection: Upgrade\r\nUpgrade: other\r\n"));
  EXPECT_THAT(read_until(*upgrade, "denied"), StartsWith("HTTP/1.1 403 "));
  const auto opaque = opened();
  send(*opaque, "\x16\x03\x01 no HTTP");
  EXPECT_EQ(read_until(*opaque, "anything"), "<broken>");
  // Unless the port is declared to speak something else.
  use_policies({}, rules(), {application_address_.port});
  const auto declared = opened();
  FarEnd application = accept_application();
  application.send("the server speaks first");
  EXPECT_THAT(read_until(*declared, "first"), StartsWith("the server"));
  // A tunnel that was not read and would have to be.
  use_policies({}, rules());
  EXPECT_EQ(read_until(*declared, "anything"), "<broken>");
}

TEST_P(TokenTunnelTest, AHeadThatWasBegunBeforeTokensCountIsReadByTheRulesOfNow) {
  use_policies({about_path(pb::DENY, "/other")});
  const auto upgraded = opened(), waiting = opened();
  send(*upgraded, get_with("/", "Connection: Upgrade\r\nUpgrade: websocket\r\n"));
  FarEnd socket = accept_application();
  ASSERT_TRUE(until([&] { return socket.has("\r\n\r\n"); }));
  socket.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
  EXPECT_THAT(read_until(*upgraded, "\r\n\r\n"), StartsWith("HTTP/1.1 101 "));
  // Its head is not whole when the rules come.
  send(*waiting, "GET /late HTTP/1.1\r\nHost: shop\r\nX-Sub: root\r\n");
  pass(1);
  use_policies({about_path(pb::DENY, "/other")}, rules());
  send(*waiting, "Authorization: Bearer a.b.c\r\n\r\n");
  EXPECT_THAT(read_until(*waiting, "fails"), StartsWith("HTTP/1.1 401 "));
  // A WebSocket is the resource that its request named.
  socket.send("still here");
  EXPECT_THAT(read_until(*upgraded, "still here"), HasSubstr("still here"));
}

TEST_P(TokenTunnelTest, AnUpgradeThatHidesRequestsEndsWhenTokensBeginToCount) {
  use_policies({dry_run(about_path(pb::DENY, "/admin"))});
  const auto upgraded = opened();
  send(*upgraded, get_with("/", "Connection: Upgrade\r\nUpgrade: other\r\n"));
  FarEnd application = accept_application();
  ASSERT_TRUE(until([&] { return application.has("\r\n\r\n"); }));
  application.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n");
  EXPECT_THAT(read_until(*upgraded, "\r\n\r\n"), StartsWith("HTTP/1.1 101 "));
  use_policies({dry_run(about_path(pb::DENY, "/admin"))}, rules());
  EXPECT_EQ(read_until(*upgraded, "anything"), "<broken>");
}

INSTANTIATE_TEST_SUITE_P(, TokenTunnelTest, testing::Values(IoKind::kEpoll, IoKind::kUring),
                         [](const auto& kind) { return kind.param == IoKind::kEpoll ? "Epoll" : "Uring"; });
INSTANTIATE_TEST_SUITE_P(, JudgedTunnelTest, testing::Values(IoKind::kEpoll, IoKind::kUring),
                         [](const auto& kind) { return kind.param == IoKind::kEpoll ? "Epoll" : "Uring"; });

}  // namespace
}  // namespace weft::proxy
