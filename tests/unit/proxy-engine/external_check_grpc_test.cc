// Providers of CUSTOM that speak gRPC: envoy.service.auth.v3.Authorization/Check.
#include "tests/unit/proxy-engine/external_check_rig.h"

namespace weft::proxy {
namespace {

namespace pb = istio::security;
namespace auth = envoy::service::auth::v3;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

class ExternalCheckGrpcTest : public ExternalCheckTest {
 protected:
  void SetUp() override {
    ExternalCheckTest::SetUp();
    message_.clear_http();
  }
};

// A server of gRPC at the end of what was accepted.
class Grpc : public Peer {
 public:
  explicit Grpc(FarEnd end) : Peer(Http2Session::Role::kServer), end_(std::move(end)) {}
  bool asked() {
    turn();
    return !streams.empty() && streams[0].ended;
  }
  void turn() {
    hears(std::string_view(end_.received()).substr(heard_));
    heard_ = end_.received().size();
    end_.send(said());
  }
  void answer(const auth::CheckResponse& message, std::string_view status = "0") {
    RecordingStream& asked = streams.back();
    const std::string bytes = message.SerializeAsString();
    text_ = std::string(5, '\0');
    for (size_t i = 0; i < 4; ++i) text_[4 - i] = static_cast<char>(bytes.size() >> (8 * i));
    text_ += bytes;
    trailers_ = {{"grpc-status", status}};
    session->send_response(asked, response_fields(), false);
    payload_ = piece(text_);
    session->offer(asked, std::span(&payload_, 1), true, trailers_);
    turn();
  }

 private:
  FarEnd end_;
  size_t heard_ = 0;
  std::string text_;
  iovec payload_{};
  std::vector<Header> trailers_;
};

TEST_P(ExternalCheckGrpcTest, AProviderOfGrpcIsAskedByCheck) {
  use_policies({custom(everything(pb::DENY), "ask")});
  FarEnd client = connect(agent::PeerIdentity{"cluster.local", "shop", "web"});
  client.send(get("/a?b=c", "x-token: t\r\n"));
  Grpc provider(accept_provider());
  ASSERT_TRUE(until([&] { return provider.asked(); }));
  EXPECT_EQ(provider.stream(0).field(0, ":path"), "/envoy.service.auth.v3.Authorization/Check");
  EXPECT_EQ(provider.stream(0).field(0, "content-type"), "application/grpc");
  auth::CheckRequest asked;
  ASSERT_TRUE(asked.ParseFromString(provider.stream(0).body.substr(5)));
  EXPECT_EQ(asked.attributes().request().http().path(), "/a?b=c");
  EXPECT_EQ(asked.attributes().request().http().headers().at("x-token"), "t");
  EXPECT_EQ(asked.attributes().source().principal(), "spiffe://cluster.local/ns/shop/sa/web");
  auth::CheckResponse ok;
  auth::HeaderValue& user = *ok.mutable_ok_response()->add_headers()->mutable_header();
  user.set_key("x-user");
  user.set_value("me");
  auth::HeaderValue& seen = *ok.mutable_ok_response()->add_response_headers_to_add()->mutable_header();
  seen.set_key("x-seen");
  seen.set_value("1");
  provider.answer(ok);
  FarEnd application = accept_application();
  ASSERT_TRUE(until([&] { return application.has("\r\n\r\n"); }));
  EXPECT_THAT(application.received(), HasSubstr("x-user: me\r\n"));
  application.send(kAnswer);
  ASSERT_TRUE(until([&] { return client.has("answer"); }));
  EXPECT_THAT(client.received(), HasSubstr("x-seen: 1\r\n"));
}

TEST_P(ExternalCheckGrpcTest, AProviderOfGrpcDeniesOrFails) {
  use_policies({custom(everything(pb::DENY), "ask")});
  FarEnd client = connect();
  client.send(get("/a"));
  Grpc provider(accept_provider());
  ASSERT_TRUE(until([&] { return provider.asked(); }));
  auth::CheckResponse no;
  no.mutable_status()->set_code(7);
  no.mutable_denied_response()->mutable_status()->set_code(429);
  no.mutable_denied_response()->set_body("later");
  provider.answer(no);
  ASSERT_TRUE(until([&] {
    provider.turn();
    return client.has("later");
  }));
  EXPECT_THAT(client.received(), StartsWith("HTTP/1.1 429 "));
  client.forget_received();
  client.send(get("/b"));
  ASSERT_TRUE(until([&] {
    provider.turn();
    return provider.streams.size() == 2 && provider.streams[1].ended;
  }));
  provider.answer(auth::CheckResponse(), "14");
  ASSERT_TRUE(until([&] {
    provider.turn();
    return client.has("provider_failed");
  }));
  EXPECT_EQ(context_->external.denied, 1u);
  EXPECT_EQ(context_->external.failed, 1u);
}

TEST_P(ExternalCheckGrpcTest, AnAnswerOfGrpcThatNobodyCanReadLetsNobodyIn) {
  message_.set_fail_open(true);
  use_policies({custom(everything(pb::DENY), "ask")});
  FarEnd client = connect();
  client.send(get("/a"));
  Grpc provider(accept_provider());
  ASSERT_TRUE(until([&] { return provider.asked(); }));
  auth::CheckResponse no;
  no.mutable_status()->set_code(7);
  no.mutable_denied_response()->set_body(std::string(kMaxCheckAnswer, 'x'));
  provider.answer(no);
  ASSERT_TRUE(until([&] {
    provider.turn();
    return client.has("provider_failed");
  })) << "too long";
  EXPECT_THAT(client.received(), StartsWith("HTTP/1.1 403 "));
  EXPECT_EQ(::accept4(application_.get(), nullptr, nullptr, 0), -1) << "nobody was let in";
}

INSTANTIATE_TEST_SUITE_P(, ExternalCheckGrpcTest, testing::Values(IoKind::kEpoll, IoKind::kUring),
                         [](const auto& kind) { return kind.param == IoKind::kEpoll ? "Epoll" : "Uring"; });

}  // namespace
}  // namespace weft::proxy
