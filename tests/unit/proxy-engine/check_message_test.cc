// What providers are asked and what their answers are taken for: the bytes, without any connection.
#include "userspace-proxy/policy/check_message.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/strings.h"
#include "proto/weft/mesh/v1/mesh_config.pb.h"
#include "proto/xds/external_auth.pb.h"

namespace weft::proxy {
namespace {

namespace auth = envoy::service::auth::v3;
using Kind = CheckAnswer::Kind;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

// As a server of gRPC frames it.
std::string framed(const auth::CheckResponse& message) {
  const std::string bytes = message.SerializeAsString();
  std::string out(5, '\0');
  out[3] = static_cast<char>(bytes.size() >> 8);
  out[4] = static_cast<char>(bytes.size());
  return out + bytes;
}

void add(google::protobuf::RepeatedPtrField<auth::HeaderValueOption>* to, const char* key,
         const char* value) {
  auth::HeaderValue& header = *to->Add()->mutable_header();
  header.set_key(key);
  header.set_value(value);
}

RequestHead head_of(std::vector<Header> headers) {
  RequestHead out;
  out.method = "GET";
  out.target = "/a?b=c";
  out.authority = "shop";
  out.headers = std::move(headers);
  return out;
}

CheckQuestion about(const RequestHead& head, std::string_view body = {}) {
  return {.head = head,
          .client = *SocketAddress::parse("10.0.0.2:4000"),
          .server = *SocketAddress::parse("10.0.0.1:80"),
          .client_id = "spiffe://cluster.local/ns/shop/sa/web",
          .server_uid = "cart",
          .body = body,
          .unix_ns = 1'500'000'000};
}

auth::AttributeContext asked(const ExternalProvider& provider, const CheckQuestion& question) {
  const std::string bytes = grpc_question(provider, question);
  EXPECT_EQ(bytes.size(), 5 + static_cast<size_t>(static_cast<unsigned char>(bytes[3])) * 256 +
                              static_cast<unsigned char>(bytes[4]));
  auth::CheckRequest out;
  EXPECT_TRUE(out.ParseFromString(bytes.substr(5)));
  return out.attributes();
}

std::vector<std::string> lines(const std::vector<Header>& headers) {
  std::vector<std::string> out;
  for (const Header& header : headers) out.push_back(str_cat(header.name, ": ", header.value));
  return out;
}

TEST(CheckMessageTest, AQuestionSaysWhoAsksWhomForWhat) {
  const RequestHead head = head_of({{"Host", "shop"},
                                    {"X-User", "a"},
                                    {"x-user", "b"},
                                    {"X-Bytes", "a\xff\xe2\x82\xac"},
                                    {"Connection", "x-hop"},
                                    {"x-hop", "1"},
                                    {"Keep-Alive", "2"}});
  const auto said = asked(ExternalProvider(), about(head, "hi"));
  EXPECT_EQ(said.source().address().socket_address().address(), "10.0.0.2");
  EXPECT_EQ(said.source().address().socket_address().port_value(), 4000u);
  EXPECT_EQ(said.source().principal(), "spiffe://cluster.local/ns/shop/sa/web");
  EXPECT_EQ(said.destination().address().socket_address().port_value(), 80u);
  EXPECT_EQ(said.destination().service(), "cart");
  EXPECT_EQ(said.request().time().seconds(), 1);
  EXPECT_EQ(said.request().time().nanos(), 500'000'000);
  const auto& http = said.request().http();
  EXPECT_EQ(http.method(), "GET");
  EXPECT_EQ(http.path(), "/a?b=c");
  EXPECT_EQ(http.host(), "shop");
  EXPECT_EQ(http.protocol(), "HTTP/1.1");
  EXPECT_EQ(http.body(), "hi");
  const std::map<std::string, std::string> headers(http.headers().begin(), http.headers().end());
  EXPECT_THAT(headers, ElementsAre(std::pair(":authority", "shop"), std::pair(":method", "GET"),
                                   std::pair(":path", "/a?b=c"), std::pair(":scheme", "http"),
                                   std::pair("host", "shop"), std::pair("x-bytes", "a!\xe2\x82\xac"),
                                   std::pair("x-user", "a,b")))
      << "what the application does not get is not asked with";
}

TEST(CheckMessageTest, ABodyOfBytesIsAskedWithAsBytesOnlyWhereThatIsWanted) {
  const RequestHead head = head_of({});
  ExternalProvider provider;
  provider.raw_body = true;
  EXPECT_EQ(asked(provider, about(head, "\xff\x01")).request().http().raw_body(), "\xff\x01");
  EXPECT_EQ(asked(ExternalProvider(), about(head, "\xff\x01")).request().http().body(), "!\x01");
}

TEST(CheckMessageTest, AnAnswerOfGrpcAllowsDeniesAndEdits) {
  auth::CheckResponse ok;
  auto& allowed = *ok.mutable_ok_response();
  add(allowed.mutable_headers(), "X-User", " me ");
  add(allowed.mutable_headers(), "x-more", "2");
  allowed.mutable_headers(1)->mutable_append()->set_value(true);
  allowed.add_headers_to_remove("x-secret");
  add(allowed.mutable_response_headers_to_add(), "x-seen", "1");
  const CheckAnswer answer = read_grpc_answer(framed(ok));
  ASSERT_EQ(answer.kind, Kind::kAllowed);
  std::vector<Header> headers = {{"x-user", "forged"}, {"x-more", "1"}, {"X-Secret", "s"}};
  apply_to_request(answer.request, &headers);
  EXPECT_THAT(lines(headers), ElementsAre("x-more: 1", "x-user: me", "x-more: 2"));
  EXPECT_TRUE(sets(answer.response, "X-Seen"));

  auth::CheckResponse no;
  no.mutable_status()->set_code(7);
  EXPECT_EQ(read_grpc_answer(framed(no)).kind, Kind::kDenied);
  EXPECT_EQ(read_grpc_answer(framed(no)).status, 403);
  no.mutable_denied_response()->mutable_status()->set_code(429);
  no.mutable_denied_response()->set_body("later");
  add(no.mutable_denied_response()->mutable_headers(), "retry-after", "1");
  const CheckAnswer denied = read_grpc_answer(framed(no));
  EXPECT_EQ(denied.status, 429);
  EXPECT_EQ(denied.body, "later");
  EXPECT_TRUE(sets(denied.response, "retry-after"));
}

TEST(CheckMessageTest, WhatTheMessageOrTheConnectionNeedsStaysAsItIs) {
  auth::CheckResponse ok;
  for (const char* name : {"Host", ":path", "content-length", "Transfer-Encoding", "connection", "te"})
    add(ok.mutable_ok_response()->mutable_headers(), name, "1");
  ok.mutable_ok_response()->add_headers_to_remove("host");
  const CheckAnswer answer = read_grpc_answer(framed(ok));
  EXPECT_EQ(answer.kind, Kind::kAllowed);
  EXPECT_THAT(answer.request, IsEmpty());
}

TEST(CheckMessageTest, AnAnswerThatIsNoneIsAFailureWithAReason) {
  auth::CheckResponse ok;
  add(ok.mutable_ok_response()->mutable_headers(), "x-user", "a\r\nx-admin: yes");
  auth::CheckResponse name;
  add(name.mutable_ok_response()->mutable_headers(), "x user", "a");
  auth::CheckResponse many;
  for (size_t i = 0; i <= kMaxCheckEdits; ++i) add(many.mutable_ok_response()->mutable_headers(), "x-a", "1");
  std::string compressed = framed(auth::CheckResponse());
  compressed[0] = 1;
  for (const std::string& bytes :
       {framed(ok), framed(name), framed(many), compressed, std::string(), std::string("\0\0\0\0\1", 5),
        framed(auth::CheckResponse()) + "x", std::string("\0\0\0\0\1\xff", 6)}) {
    const CheckAnswer answer = read_grpc_answer(bytes);
    EXPECT_EQ(answer.kind, Kind::kFailed);
    EXPECT_FALSE(answer.problem.empty());
  }
}

TEST(CheckMessageTest, WhatSomeServersTakeForAnEditedFieldGoesWithIt) {
  const std::vector<FieldEdit> edits = {{FieldEdit::Kind::kSet, "x-user-id", "me"},
                                        {FieldEdit::Kind::kRemove, "x-secret", ""}};
  std::vector<Header> headers = {
      {"X_User-ID", "forged"}, {"x_user_id", "forged"}, {"X_Secret", "s"}, {"x-user", "stays"}};
  apply_to_request(edits, &headers);
  EXPECT_THAT(lines(headers), ElementsAre("x-user: stays", "x-user-id: me"));
  headers = {{"x_secret", "s"}};
  apply_to_response(edits, &headers);
  EXPECT_THAT(lines(headers), ElementsAre("x_secret: s", "x-user-id: me")) << "clients read what they get";
}

TEST(CheckMessageTest, ADenialStaysOneWhateverIsWrongWithTheRestOfIt) {
  auth::CheckResponse no;
  no.mutable_status()->set_code(7);
  auto& denied = *no.mutable_denied_response();
  denied.set_body("no");
  add(denied.mutable_headers(), "x-why", "a\r\nx-admin: yes");
  add(denied.mutable_headers(), "x why", "a");
  for (size_t i = 0; i <= kMaxCheckEdits; ++i) add(denied.mutable_headers(), "x-a", "1");
  for (const int status : {99, 1000, -1}) {
    denied.mutable_status()->set_code(static_cast<decltype(denied.status().code())>(status));
    const CheckAnswer answer = read_grpc_answer(framed(no));
    EXPECT_EQ(answer.kind, Kind::kDenied);
    EXPECT_EQ(answer.status, 403);
    EXPECT_EQ(answer.body, "no");
    EXPECT_EQ(answer.response.size(), kMaxCheckEdits);
    EXPECT_FALSE(sets(answer.response, "x-why"));
  }
}

ExternalProviderPtr http_provider(const char* text) {
  weft::mesh::v1::ExternalProvider message;
  message.set_name("p");
  message.set_host("authz");
  message.set_port(80);
  auto& http = *message.mutable_http();
  if (std::string_view(text) == "lists") {
    http.set_path_prefix("/check");
    http.add_request_fields()->set_exact("x-ext");
    http.add_request_fields()->set_prefix("x-b-");
    http.add_request_fields()->set_suffix("-id");
    (*http.mutable_added_fields())["x-added"] = "yes";
    http.add_fields_to_upstream()->set_prefix("x-up");
    http.add_fields_on_allow()->set_exact("x-down");
    http.add_fields_on_deny()->set_exact("x-why");
  }
  return *ExternalProvider::compile(message);
}

TEST(CheckMessageTest, OverHttpAProviderIsAskedWithWhatItWantsAndNoMore) {
  const RequestHead head = head_of({{"Host", "shop"},
                                    {"Authorization", "Bearer t"},
                                    {"X-Ext", "1"},
                                    {"x-b-3", "2"},
                                    {"request-ID", "3"},
                                    {"x-added", "forged"},
                                    {"cookie", "c"},
                                    {"content-length", "2"}});
  RequestHead out;
  std::string text;
  const auto provider = http_provider("lists");
  http_question(*provider, about(head), &out, &text);
  EXPECT_EQ(out.target, "/check/a?b=c");
  EXPECT_EQ(out.authority, "shop");
  EXPECT_EQ(out.body, BodyKind::kNone);
  EXPECT_THAT(lines(out.headers), ElementsAre("host: shop", "Authorization: Bearer t", "X-Ext: 1", "x-b-3: 2",
                                              "request-ID: 3", "x-added: yes", "content-length: 0"));
  http_question(*http_provider(""), about(head, "hi"), &out, &text);
  EXPECT_EQ(out.target, "/a?b=c");
  EXPECT_EQ(out.body, BodyKind::kLength);
  EXPECT_THAT(lines(out.headers), ElementsAre("host: shop", "Authorization: Bearer t", "content-length: 2"));
}

TEST(CheckMessageTest, OverHttpOnlyThe200OfTheProviderAllows) {
  const auto provider = http_provider("lists");
  ResponseHead head;
  head.headers = {{"x-up-1", "a"},        {"X-Up-1", "b"},         {"x-down", "d"}, {"x-why", "w"},
                  {"location", "/login"}, {"content-length", "9"}, {"server", "s"}};
  head.status = 200;
  const CheckAnswer allowed = read_http_answer(*provider, head, "body");
  EXPECT_EQ(allowed.kind, Kind::kAllowed);
  std::vector<Header> headers = {{"x-up-1", "forged"}};
  apply_to_request(allowed.request, &headers);
  EXPECT_THAT(lines(headers), ElementsAre("x-up-1: a", "x-up-1: b"));
  EXPECT_TRUE(sets(allowed.response, "x-down"));
  EXPECT_EQ(allowed.response.size(), 1u);
  for (const uint16_t status : {201, 204, 302, 401, 403}) {
    head.status = status;
    const CheckAnswer denied = read_http_answer(*provider, head, "body");
    EXPECT_EQ(denied.kind, Kind::kDenied) << status;
    EXPECT_EQ(denied.status, status);
    EXPECT_EQ(denied.body, "body");
    EXPECT_EQ(denied.response.size(), 2u) << "x-why and location";
  }
  head.status = 503;
  EXPECT_EQ(read_http_answer(*provider, head, "").kind, Kind::kFailed);
  head.status = 403;
  EXPECT_EQ(read_http_answer(*http_provider(""), head, "").response.size(), 6u) << "all but the length";
  head.headers.assign(kMaxCheckEdits + 1, {"x-up-1", "a"});
  const CheckAnswer many = read_http_answer(*http_provider(""), head, "");
  EXPECT_EQ(many.kind, Kind::kDenied) << "it has said no";
  EXPECT_EQ(many.response.size(), kMaxCheckEdits);
  head.status = 200;
  EXPECT_EQ(read_http_answer(*provider, head, "").kind, Kind::kFailed);
}

}  // namespace
}  // namespace weft::proxy
