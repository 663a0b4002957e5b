// Plain connections to a pod whose policies ask about requests, as the kernel hands them over: judged request
// by request, passed on unread where no request could change the verdict, ended when a change forbids them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include "base/strings.h"
#include "tests/unit/proxy-engine/client_hello.h"
#include "tests/unit/proxy-engine/http2_peers.h"
#include "tests/unit/proxy-engine/plain_inbound_rig.h"
#include "tests/unit/proxy-engine/policy_messages.h"

namespace weft::proxy {
namespace {

namespace pb = istio::security;
using ::testing::EndsWith;
using ::testing::StartsWith;

std::string get(std::string_view path) { return str_cat("GET ", path, " HTTP/1.1\r\nHost: shop\r\n\r\n"); }
constexpr char kAnswer[] = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nanswer";

TEST_P(PlainInboundTest, EachRequestIsJudgedAndRecorded) {
  use_policies({about_path(pb::DENY, "/admin")});
  FarEnd client = connect();
  client.send(get("/a/../%61dmin"));
  ASSERT_TRUE(until([&] { return client.has("RBAC: access denied"); }));
  EXPECT_THAT(client.received(), StartsWith("HTTP/1.1 403 Forbidden\r\n"));
  client.send(get("/ok"));
  FarEnd application = accept_application();
  ASSERT_TRUE(until([&] { return application.has("\r\n\r\n"); }));
  EXPECT_THAT(application.received(), StartsWith("GET /ok HTTP/1.1\r\n"));
  application.send(kAnswer);
  ASSERT_TRUE(until([&] { return client.has("answer"); }));
  const std::vector<SeenRecord> records = sink_.wait(2);
  ASSERT_EQ(records.size(), 2u) << "nobody else saw what comes from outside";
  EXPECT_EQ(records[0].outcome, Outcome::kAccessDenied);
  EXPECT_EQ(records[0].status, 403);
  EXPECT_EQ(records[1].outcome, Outcome::kOk);
  EXPECT_EQ(records[1].path, "/ok");
  EXPECT_EQ(server_->use->connections.get(), 1u) << "it is one of the pod's";
}

TEST_P(PlainInboundTest, AnIdentityThatIsKnownCounts) {
  AuthorizationPtr allow = with_principal(about_path(pb::ALLOW, "/ok"), "cluster.local/ns/shop/sa/client");
  use_policies({allow});
  FarEnd stranger = connect();
  ASSERT_TRUE(over(stranger)) << "no request of it could be allowed";
  EXPECT_EQ(stranger.received(), "");
  FarEnd known = connect(agent::PeerIdentity{"cluster.local", "shop", "client"});
  known.send(get("/ok"));
  FarEnd application = accept_application();
  ASSERT_TRUE(until([&] { return application.has("GET /ok HTTP/1.1\r\n"); }));
  application.send(kAnswer);
  ASSERT_TRUE(until([&] { return known.has("answer"); }));
  EXPECT_EQ(sink_.wait(1).size(), 1u) << "where it went out it was counted";
  EXPECT_EQ(sink_.wait(1)[0].outcome, Outcome::kAccessDenied);
}

TEST_P(PlainInboundTest, Http2IsJudgedStreamByStream) {
  use_policies({about_path(pb::DENY, "/admin")});
  FarEnd end = connect();
  Peer client(Http2Session::Role::kClient);
  RecordingStream denied;
  ASSERT_TRUE(client.session->send_request(denied, request_fields("GET", "/admin"), true));
  size_t heard = 0;
  ASSERT_TRUE(until([&] {
    if (const std::string bytes = client.said(); !bytes.empty()) end.send(bytes);
    client.hears(std::string_view(end.received()).substr(heard));
    heard = end.received().size();
    return denied.ended;
  }));
  EXPECT_EQ(denied.field(0, ":status"), "403");
}

TEST_P(PlainInboundTest, BytesPassUnreadWhereNoRequestCouldChangeTheVerdict) {
  use_policies({on_port(about_path(pb::DENY, "/admin"), 1)});
  FarEnd client = connect();
  FarEnd application = accept_application();
  // The server speaks first.
  application.send("220 ready\r\n");
  ASSERT_TRUE(until([&] { return client.has("220 ready\r\n"); }));
  client.send("GET /admin is no request here\r\n");
  ASSERT_TRUE(until([&] { return application.has("here\r\n"); }));
  // It would have to be read from its beginning.
  change_policies({about_path(pb::DENY, "/admin")});
  EXPECT_TRUE(over(client));
  EXPECT_EQ(sink_.wait(1)[0].protocol, ExchangeRecord::Protocol::kTcp);
  EXPECT_EQ(sink_.wait(1)[0].outcome, Outcome::kAccessDenied);
}

TEST_P(PlainInboundTest, WhatIsNoHttpNeverReachesTheApplication) {
  use_policies({about_path(pb::DENY, "/admin")});
  FarEnd client = connect();
  client.send("\x16\x03\x01 no HTTP at all\r\n\r\n");
  ASSERT_TRUE(over(client));
  EXPECT_EQ(sink_.wait(1)[0].outcome, Outcome::kAccessDenied);
  EXPECT_EQ(::accept4(application_.get(), nullptr, nullptr, 0), -1);
}

TEST_P(PlainInboundTest, AChangeEndsWhatItForbidsAndNothingElse) {
  use_policies({about_path(pb::DENY, "/admin")});
  FarEnd slow = connect();
  slow.send(get("/slow"));
  FarEnd application = accept_application();
  ASSERT_TRUE(until([&] { return application.has("/slow"); }));
  FarEnd fast = connect();
  fast.send(get("/fast"));
  FarEnd elsewhere = accept_application();
  ASSERT_TRUE(until([&] { return elsewhere.has("/fast"); }));
  change_policies({about_path(pb::DENY, "/slow")});
  ASSERT_TRUE(over(slow));
  elsewhere.send(kAnswer);
  ASSERT_TRUE(until([&] { return fast.has("answer"); }));
  EXPECT_THAT(fast.received(), EndsWith("answer"));
  EXPECT_EQ(fast.end(), FarEnd::End::kOpen);
  change_policies({everything(pb::DENY)});
  EXPECT_TRUE(over(fast));
}

TEST_P(PlainInboundTest, APodThatIsNotKnownLetsNobodyIn) {
  use_policies({nullptr});
  FarEnd client = connect();
  EXPECT_TRUE(over(client));
}

TEST_P(PlainInboundTest, PoliciesThatDecideNothingAreCountedAndNothingIsRefused) {
  use_policies({dry_run(about_path(pb::DENY, "/new")), audit(about_path(pb::DENY, "/seen"))});
  FarEnd client = connect();
  FarEnd application;
  for (const char* path : {"/ok", "/new", "/seen"}) {
    client.send(get(path));
    if (application.fd() < 0) application = accept_application();
    ASSERT_TRUE(until([&] { return application.has(path); })) << path;
    application.send(kAnswer);
    ASSERT_TRUE(until([&] { return client.has("answer"); })) << path;
    client.forget_received();
  }
  EXPECT_EQ(context_->shadow.allowed, 2u);
  EXPECT_EQ(context_->shadow.denied, 1u);
  EXPECT_EQ(context_->shadow.audited, 1u);
  // What is no HTTP, and what waits for its server, goes on as it is.
  FarEnd bytes = connect();
  bytes.send("\x16\x03\x01 no HTTP at all\r\n\r\n");
  FarEnd elsewhere = accept_application();
  ASSERT_TRUE(until([&] { return elsewhere.has("at all"); }));
  FarEnd silent = connect();
  clock_.advance(kNsPerSecond);
  FarEnd greeting = accept_application();
  greeting.send("220 ready");
  ASSERT_TRUE(until([&] { return silent.has("220 ready"); }));
  EXPECT_EQ(context_->shadow.denied, 3u);
  EXPECT_EQ(context_->shadow.audited, 3u);
  // One that is enforced now wants to read from the beginning.
  change_policies({about_path(pb::DENY, "/new")});
  EXPECT_TRUE(over(bytes));
}

TEST_P(PlainInboundTest, TlsIsJudgedByTheServerThatItAsksForAndPassedOnAsItIs) {
  use_policies({about_server_name(pb::ALLOW, "Good.example")});
  const std::string hello = client_hello("good.example");
  FarEnd client = connect();
  client.send(hello.substr(0, 9));
  pass(1);
  client.send(hello.substr(9));
  FarEnd application = accept_application();
  ASSERT_TRUE(until([&] { return application.received() == hello; }));
  application.send("its server hello");
  ASSERT_TRUE(until([&] { return client.has("server hello"); }));
  for (const std::string& other : {client_hello("bad.example"), client_hello(""), std::string("+PING\r\n"),
                                   get("/ok"), client_hello("good.example").insert(1, "x")}) {
    FarEnd refused = connect();
    refused.send(other);
    EXPECT_TRUE(over(refused)) << other;
    EXPECT_EQ(refused.received(), "");
  }
  const std::vector<SeenRecord> records = sink_.wait(5);
  ASSERT_EQ(records.size(), 5u) << "the one that is allowed is under way";
  for (const SeenRecord& one : records) EXPECT_EQ(one.outcome, Outcome::kAccessDenied);
  EXPECT_EQ(::accept4(application_.get(), nullptr, nullptr, 0), -1);
  change_policies({about_server_name(pb::ALLOW, "other.example")});
  EXPECT_TRUE(over(client)) << "its name is remembered";
}

TEST_P(PlainInboundTest, ADeniedServerNameLeavesAllElseAlone) {
  use_policies({about_server_name(pb::DENY, "bad.example")});
  for (const std::string& bytes :
       {client_hello("good.example"), client_hello(""), std::string("+PING\r\n"), get("/ok")}) {
    FarEnd client = connect();
    client.send(bytes);
    FarEnd application = accept_application();
    ASSERT_TRUE(until([&] { return application.received() == bytes; })) << bytes;
  }
  FarEnd denied = connect();
  denied.send(client_hello("bad.example"));
  EXPECT_TRUE(over(denied));
  // A server might find a name in what we cannot read.
  FarEnd broken = connect();
  broken.send(client_hello("bad example"));
  EXPECT_TRUE(over(broken));
  FarEnd half = connect();
  half.send(client_hello("bad.example").substr(0, 20));
  pass(1);
  pass(context_->limits.head_timeout_ms + 1);
  EXPECT_TRUE(over(half)) << "the rest could come later";
  EXPECT_EQ(::accept4(application_.get(), nullptr, nullptr, 0), -1);
}

TEST_P(PlainInboundTest, ServerNamesAndRequestsAreAskedSideBySide) {
  use_policies({about_server_name(pb::ALLOW, "good.example"), about_path(pb::ALLOW, "/ok")});
  FarEnd tls = connect();
  tls.send(client_hello("good.example"));
  FarEnd application = accept_application();
  ASSERT_TRUE(until([&] { return application.received() == client_hello("good.example"); }));
  FarEnd plain = connect();
  plain.send(get("/ok"));
  FarEnd elsewhere = accept_application();
  ASSERT_TRUE(until([&] { return elsewhere.has("GET /ok HTTP/1.1\r\n"); }));
  elsewhere.send(kAnswer);
  ASSERT_TRUE(until([&] { return plain.has("answer"); }));
  plain.send(get("/no"));
  ASSERT_TRUE(until([&] { return plain.has("RBAC: access denied"); }));
  FarEnd other = connect();
  other.send(client_hello("bad.example"));
  EXPECT_TRUE(over(other));
}

TEST_P(PlainInboundTest, APolicyThatDecidesNothingLooksAtServerNames) {
  use_policies({dry_run(about_server_name(pb::DENY, "bad.example"))});
  for (const char* name : {"good.example", "bad.example"}) {
    FarEnd client = connect();
    client.send(client_hello(name));
    FarEnd application = accept_application();
    ASSERT_TRUE(until([&] { return application.received() == client_hello(name); }));
  }
  EXPECT_EQ(context_->shadow.allowed, 1u);
  EXPECT_EQ(context_->shadow.denied, 1u);
}

INSTANTIATE_TEST_SUITE_P(, PlainInboundTest, testing::Values(IoKind::kEpoll, IoKind::kUring),
                         [](const auto& kind) { return kind.param == IoKind::kEpoll ? "Epoll" : "Uring"; });

}  // namespace
}  // namespace weft::proxy
