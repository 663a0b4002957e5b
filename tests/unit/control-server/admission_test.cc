// The validating webhook: one POST read strictly, what an object is told, and both over TLS.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "base/strings.h"
#include "control-plane/admission/post_request.h"
#include "control-plane/admission/review.h"
#include "control-plane/control_plane.h"
#include "control-plane/serve/webhook_server.h"
#include "tests/harness/wait.h"
#include "tests/unit/base/scratch_folder.h"
#include "tests/unit/identity/pki.h"

namespace weft::control_plane {
namespace {

using Json = nlohmann::json;
using testing::HasSubstr;
using State = PostRequest::State;

constexpr size_t kMaxBody = 64;

// The state after the whole text, which is the same in whatever pieces it comes.
PostRequest read(const std::string& text) {
  PostRequest whole(kMaxBody), pieces(kMaxBody);
  whole.feed(text);
  for (const char c : text) pieces.feed({&c, 1});
  EXPECT_EQ(whole.state(), pieces.state()) << text.substr(0, 200);
  EXPECT_EQ(whole.status(), pieces.status()) << text.substr(0, 200);
  EXPECT_EQ(whole.body(), pieces.body());
  return whole;
}

std::string post(const std::string& fields, const std::string& body = "") {
  return str_cat("POST /validate?timeout=2s HTTP/1.1\r\nHost: w\r\n", fields, "\r\n", body);
}

TEST(PostRequestTest, ABodyOfTheLengthThatTheHeadSays) {
  const PostRequest request = read(post("Content-Length: 5\r\nContent-Type: application/json\r\n", "hello"));
  ASSERT_EQ(request.state(), State::kDone);
  EXPECT_EQ(request.path(), "/validate");
  EXPECT_EQ(request.body(), "hello");
  EXPECT_EQ(read(post("content-length: 0\r\n")).state(), State::kDone);
  EXPECT_EQ(read(post("Content-Length: 5\r\n", "hell")).state(), State::kBody);
  EXPECT_EQ(read("POST / HTTP/1.1\r\n").state(), State::kHead);
}

TEST(PostRequestTest, WhatCouldBeReadInTwoWaysOrIsTooMuchIsRefused) {
  const std::pair<std::string, int> kRefused[] = {
      {post("Content-Length: 5\r\nContent-Length: 5\r\n", "hello"), 400},
      {post("Content-Length: +5\r\n", "hello"), 400},
      {post("Content-Length: 5, 5\r\n", "hello"), 400},
      {post("Content-Length: 9999999999999\r\n"), 400},
      {post("Content-Length: 5\r\n", "hello!"), 400},
      {post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "hello"), 411},
      {post("Transfer-Encoding: chunked\r\n", "0\r\n\r\n"), 411},
      {post(""), 411},
      {post(str_cat("Content-Length: ", kMaxBody + 1, "\r\n")), 413},
      {post("Content-Length: 5\r\nExpect: 100-continue\r\n"), 417},
      {post("Content-Length : 5\r\n", "hello"), 400},
      {post("Content-Length: 5\r\n folded\r\n", "hello"), 400},
      {post("Content-Length: 5\nX: y\r\n", "hello"), 400},
      {post("Host: again\r\nContent-Length: 0\r\n"), 400},
      {"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: w\r\n\r\n", 405},
      {"POST / HTTP/1.0\r\nHost: w\r\n\r\n", 505},
      {"POST http://w/ HTTP/1.1\r\nHost: w\r\n\r\n", 400},
      {"\x16\x03\x01\r\n\r\n", 400},
      {post(str_cat("X: ", std::string(PostRequest::kMaxHead, 'x'), "\r\n")), 431},
  };
  for (const auto& [text, status] : kRefused) {
    const PostRequest request = read(text);
    EXPECT_EQ(request.state(), State::kRefused) << text.substr(0, 200);
    EXPECT_EQ(request.status(), status) << text.substr(0, 200);
  }
}

TEST(PostRequestTest, AHeadOfTheLargestSizeIsRead) {
  const std::string shortest = post("Content-Length: 0\r\nX: \r\n");
  const size_t more = PostRequest::kMaxHead + 4 - shortest.size();
  EXPECT_EQ(read(post(str_cat("Content-Length: 0\r\nX: ", std::string(more, 'x'), "\r\n"))).state(),
            State::kDone);
  EXPECT_EQ(read(post(str_cat("Content-Length: 0\r\nX: ", std::string(more + 1, 'x'), "\r\n"))).status(),
            431);
}

Json virtual_service(const Json& spec) {
  return {{"apiVersion", "networking.istio.io/v1"},
          {"kind", "VirtualService"},
          {"metadata", {{"namespace", "shop"}, {"name", "cart"}, {"managedFields", Json::array({1})}}},
          {"spec", spec}};
}

Json spec_with_weights(int weight) {
  return {{"hosts", {"cart"}},
          {"http",
           {{{"route",
              {{{"destination", {{"host", "a"}}}, {"weight", weight}},
               {{"destination", {{"host", "b"}}}, {"weight", weight}}}}}}}};
}

Json review_of(const Json& object, const Json& old = Json(), const std::string& operation = "CREATE") {
  const std::string version = object.value("apiVersion", "");
  return {{"apiVersion", "admission.k8s.io/v1"},
          {"kind", "AdmissionReview"},
          {"request",
           {{"uid", "u-1"},
            {"kind",
             {{"group", version.substr(0, version.find('/'))},
              {"version", "v1"},
              {"kind", object.value("kind", "")}}},
            {"operation", operation},
            {"object", object},
            {"oldObject", old}}}};
}

// The response.
Json asked(const Json& request) {
  const auto answer = review(request.dump());
  EXPECT_TRUE(answer.ok()) << answer.status();
  if (!answer.ok()) return Json();
  const Json out = Json::parse(answer->body);
  EXPECT_EQ(out["kind"], "AdmissionReview");
  EXPECT_EQ(out["apiVersion"], "admission.k8s.io/v1");
  EXPECT_EQ(out["response"]["uid"], "u-1");
  EXPECT_EQ(out["response"]["allowed"], answer->allowed);
  return out["response"];
}

TEST(ReviewTest, AnObjectThatWouldBeRefusedIsDeniedInTheWordsOfAnalyze) {
  const Json response = asked(review_of(virtual_service(spec_with_weights(0))));
  EXPECT_FALSE(response["allowed"].get<bool>());
  EXPECT_EQ(response["status"]["code"], 422);
  const test::ScratchFolder folder;
  std::ofstream(folder.file("a.yaml")) << virtual_service(spec_with_weights(0)).dump();
  const std::vector<Finding> findings = analyze({folder.file("a.yaml")});
  const auto error = std::find_if(findings.begin(), findings.end(),
                                  [](const Finding& f) { return f.level == Finding::Level::kError; });
  ASSERT_NE(error, findings.end());
  EXPECT_THAT(response["status"]["message"].get<std::string>(),
              HasSubstr(str_cat("error ", error->code, " ", error->field, ": ", error->message, " (",
                                error->remedy, ")")));
  EXPECT_THAT(response["status"]["message"].get<std::string>(), HasSubstr("VirtualService shop/cart"));
}

TEST(ReviewTest, AGoodObjectIsAllowedAndASuspiciousOneWithAWarning) {
  Json response = asked(review_of(virtual_service(spec_with_weights(50))));
  EXPECT_TRUE(response["allowed"].get<bool>());
  EXPECT_FALSE(response.contains("warnings")) << response;
  Json object = virtual_service(spec_with_weights(50));
  object["metadata"]["annotations"]["weft.dev/meshh"] = "a";
  response = asked(review_of(object));
  EXPECT_TRUE(response["allowed"].get<bool>());
  ASSERT_EQ(response["warnings"].size(), 1U) << response;
  EXPECT_THAT(response["warnings"][0].get<std::string>(), HasSubstr("WF0001"));
  EXPECT_LE(response["warnings"][0].get<std::string>().size(), 250U);
}

TEST(ReviewTest, WhatWasBadBeforeMayBeLabelledButNotChanged) {
  const Json bad = virtual_service(spec_with_weights(0));
  Json labelled = bad;
  labelled["metadata"]["labels"]["a"] = "b";
  const Json response = asked(review_of(labelled, bad, "UPDATE"));
  EXPECT_TRUE(response["allowed"].get<bool>());
  EXPECT_EQ(response["warnings"].size(), 1U);
  Json other = bad;
  other["spec"]["hosts"] = {"basket"};
  EXPECT_FALSE(asked(review_of(other, bad, "UPDATE"))["allowed"].get<bool>());
  EXPECT_FALSE(asked(review_of(bad, virtual_service(spec_with_weights(1)), "UPDATE"))["allowed"].get<bool>());
}

// Of such an object everything but what every object has is its content.
TEST(ReviewTest, WhatHasNoSpecMayBeLabelledToo) {
  Json bad{
      {"apiVersion", "discovery.k8s.io/v1"},
      {"kind", "EndpointSlice"},
      {"metadata",
       {{"namespace", "shop"}, {"name", "cart-1"}, {"labels", {{"kubernetes.io/service-name", "cart"}}}}},
      {"addressType", "IPv4"},
      {"endpoints", {{{"addresses", {"nowhere"}}}}},
      {"ports", {{{"port", 80}}}}};
  ASSERT_FALSE(asked(review_of(bad))["allowed"].get<bool>());
  Json labelled = bad;
  labelled["metadata"]["labels"]["a"] = "b";
  EXPECT_TRUE(asked(review_of(labelled, bad, "UPDATE"))["allowed"].get<bool>());
  Json other = bad;
  other["endpoints"].push_back({{"addresses", {"10.0.0.1"}}});
  EXPECT_FALSE(asked(review_of(other, bad, "UPDATE"))["allowed"].get<bool>());
}

TEST(ReviewTest, WhatIsNotLookedAtIsAllowed) {
  const Json bad = virtual_service(spec_with_weights(0));
  Json request = review_of(bad, bad, "DELETE");
  EXPECT_TRUE(asked(request)["allowed"].get<bool>());
  request = review_of(bad);
  request["request"]["subResource"] = "status";
  EXPECT_TRUE(asked(request)["allowed"].get<bool>());
  request = review_of(bad);
  request["request"]["object"]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z";
  EXPECT_TRUE(asked(request)["allowed"].get<bool>());
  request = review_of(bad);
  request["request"]["kind"]["group"] = "example.com";
  EXPECT_TRUE(asked(request)["allowed"].get<bool>());
  // The server has not made its name yet.
  Json object = virtual_service(spec_with_weights(50));
  object["metadata"] = {{"namespace", "shop"}, {"generateName", "cart-"}};
  EXPECT_TRUE(asked(review_of(object))["allowed"].get<bool>());
}

TEST(ReviewTest, WhatIsNoReviewIsAnError) {
  EXPECT_TRUE(absl::IsInvalidArgument(review("").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(review("{}").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(
      review(R"({"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"})").status()));
  EXPECT_TRUE(absl::IsResourceExhausted(review(std::string(1000, '[')).status()));
  EXPECT_TRUE(absl::IsResourceExhausted(review(std::string(kMaxReviewBytes + 1, ' ')).status()));
}

class WebhookTest : public testing::Test {
 protected:
  void SetUp() override {
    const weft::test::Authority authority = weft::test::make_authority("webhook");
    write("server.crt", to_pem(authority.certificate.get()));
    write("server.key", weft::test::key_pem(authority.key.get()));
  }
  void write(const std::string& name, const std::string& text) { std::ofstream(folder_.file(name)) << text; }
  WebhookServer::Options options() const {
    return {.address = *SocketAddress::parse("127.0.0.1:0"),
            .certificate_file = folder_.file("server.crt"),
            .key_file = folder_.file("server.key")};
  }
  void start(WebhookServer::Options options) {
    auto started = WebhookServer::start(std::move(options));
    ASSERT_TRUE(started.ok()) << started.status();
    server_ = *std::move(started);
  }
  UniqueFd connect() const {
    sockaddr_storage storage{};
    const socklen_t length = server_->address().to_sockaddr(&storage);
    UniqueFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(::connect(socket.get(), reinterpret_cast<sockaddr*>(&storage), length), 0);
    return socket;
  }
  // The whole answer to the text, over TLS.
  std::string exchange(const std::string& text) const {
    const UniqueFd socket = connect();
    const std::unique_ptr<SSL_CTX, FreeWith<SSL_CTX_free>> context(SSL_CTX_new(TLS_client_method()));
    const std::unique_ptr<SSL, FreeWith<SSL_free>> ssl(SSL_new(context.get()));
    SSL_set_fd(ssl.get(), socket.get());
    static const unsigned char kOffer[] = "\x02h2\x08http/1.1";
    SSL_set_alpn_protos(ssl.get(), kOffer, sizeof(kOffer) - 1);
    if (SSL_connect(ssl.get()) != 1) return "no TLS";
    SSL_write(ssl.get(), text.data(), static_cast<int>(text.size()));
    std::string out;
    char chunk[4096];
    for (int n = SSL_read(ssl.get(), chunk, sizeof(chunk)); n > 0;
         n = SSL_read(ssl.get(), chunk, sizeof(chunk)))
      out.append(chunk, static_cast<size_t>(n));
    return out;
  }
  static std::string posted(const std::string& body, const std::string& path = "/validate?timeout=2s") {
    return str_cat("POST ", path, " HTTP/1.1\r\nHost: w\r\nContent-Length: ", body.size(), "\r\n\r\n", body);
  }

  const test::ScratchFolder folder_;
  std::unique_ptr<WebhookServer> server_;
};

TEST_F(WebhookTest, AReviewIsAnsweredOverTlsAndCounted) {
  start(options());
  const std::string denied = exchange(posted(review_of(virtual_service(spec_with_weights(0))).dump()));
  EXPECT_THAT(denied, HasSubstr("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(denied, HasSubstr("\"allowed\":false"));
  EXPECT_THAT(exchange(posted(review_of(virtual_service(spec_with_weights(1))).dump())),
              HasSubstr("\"allowed\":true"));
  EXPECT_THAT(exchange(posted("{}")), HasSubstr("HTTP/1.1 400 "));
  EXPECT_THAT(exchange(posted("{}", "/other")), HasSubstr("HTTP/1.1 404 "));
  EXPECT_THAT(exchange("GET / HTTP/1.1\r\nHost: w\r\n\r\n"), HasSubstr("HTTP/1.1 405 "));
  const WebhookServer::Counts counts = server_->counts();
  EXPECT_EQ(counts.allowed, 1U);
  EXPECT_EQ(counts.denied, 1U);
  EXPECT_EQ(counts.failed, 3U);
}

TEST_F(WebhookTest, WhoSaysNothingIsSentAwayAndOthersAreServedAfterwards) {
  WebhookServer::Options few = options();
  few.max_connections = 2;
  // Enough for the exchange below, of a machine with much to do.
  few.timeout = std::chrono::seconds(2);
  start(std::move(few));
  const UniqueFd first = connect(), second = connect();
  EXPECT_THAT(exchange(posted(review_of(virtual_service(spec_with_weights(1))).dump())),
              HasSubstr("\"allowed\":true"));
  EXPECT_TRUE(
      harness::wait_until(std::chrono::seconds(30), [this] { return server_->counts().failed == 2; }));
}

TEST_F(WebhookTest, TheEndDoesNotWaitForWhoSaysNothing) {
  WebhookServer::Options slow = options();
  slow.timeout = std::chrono::hours(1);
  start(std::move(slow));
  const UniqueFd silent = connect();
  // Accepted, because a later one was served.
  EXPECT_THAT(exchange(posted("{}")), HasSubstr("HTTP/1.1 400 "));
  server_.reset();
  char byte = 0;
  EXPECT_LE(::recv(silent.get(), &byte, 1, 0), 0);
}

TEST_F(WebhookTest, ACertificateThatIsNoneIsAnErrorAtTheStart) {
  write("server.crt", "none");
  const auto started = WebhookServer::start(options());
  ASSERT_FALSE(started.ok());
  EXPECT_THAT(std::string(started.status().message()), HasSubstr("server.crt"));
}

}  // namespace
}  // namespace weft::control_plane
