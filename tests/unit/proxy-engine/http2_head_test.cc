// Heads between HTTP/2 fields and the form the exchange works with, both ways.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "userspace-proxy/http/http1_writer.h"
#include "userspace-proxy/http/http2_fields.h"
#include "userspace-proxy/http/http2_head.h"

namespace weft::proxy {
namespace {

using ::testing::ElementsAre;

using List = std::vector<std::pair<std::string, std::string>>;

FieldBlock block_of(const List& fields) {
  FieldBlock block;
  for (const auto& [name, value] : fields) block.add(name, value, 64 * 1024, 128);
  return block;
}

List with(List more) {
  List fields = {{":method", "GET"}, {":scheme", "http"}, {":authority", "shop:80"}, {":path", "/a/b?c=d"}};
  for (auto& field : more) fields.push_back(std::move(field));
  return fields;
}

ParseResult request(const List& fields, RequestHead* head, bool end = true) {
  static FieldBlock block;
  block = block_of(fields);
  return make_request(block, end, head);
}

List list_of(const Http2Fields& fields) {
  List list;
  for (const nghttp2_nv& nv : fields.span()) {
    list.emplace_back(std::string(reinterpret_cast<const char*>(nv.name), nv.namelen),
                      std::string(reinterpret_cast<const char*>(nv.value), nv.valuelen));
  }
  return list;
}

TEST(Http2HeadTest, PseudoFieldsBecomeMethodTargetAndAuthority) {
  RequestHead head;
  ASSERT_EQ(request(with({{"x", "y"}}), &head), ParseResult::kComplete);
  EXPECT_EQ(head.method, "GET");
  EXPECT_EQ(head.target, "/a/b?c=d");
  EXPECT_EQ(head.path, "/a/b");
  EXPECT_EQ(head.query, "c=d");
  EXPECT_EQ(head.authority, "shop:80");
  EXPECT_EQ(head.body, BodyKind::kNone);
  ASSERT_EQ(head.headers.size(), 1u);
  EXPECT_EQ(head.headers[0].name, "x");
}

TEST(Http2HeadTest, ABodyIsFramedByItsLengthOrByItself) {
  RequestHead head;
  ASSERT_EQ(request(with({{"content-length", "7"}}), &head, false), ParseResult::kComplete);
  EXPECT_EQ(head.body, BodyKind::kLength);
  EXPECT_EQ(head.content_length, 7u);
  ASSERT_EQ(request(with({}), &head, false), ParseResult::kComplete);
  EXPECT_EQ(head.body, BodyKind::kChunked);
  EXPECT_EQ(request(with({{"content-length", "7"}}), &head, true), ParseResult::kBad);
}

TEST(Http2HeadTest, CookieCrumbsBecomeOneField) {
  RequestHead head;
  ASSERT_EQ(request(with({{"cookie", "a=b"}, {"x", "y"}, {"cookie", "c=d"}, {"cookie", "e=f"}}), &head),
            ParseResult::kComplete);
  EXPECT_EQ(head.find("cookie"), "a=b; c=d; e=f");
  EXPECT_EQ(head.headers.size(), 2u);
  EXPECT_EQ(head.find("x"), "y");
}

TEST(Http2HeadTest, HostIsTheSameFactAsAuthority) {
  RequestHead head;
  ASSERT_EQ(request(with({{"host", "SHOP:80"}}), &head), ParseResult::kComplete);
  EXPECT_FALSE(head.find("host"));
  EXPECT_EQ(request(with({{"host", "other"}}), &head), ParseResult::kBad);
  EXPECT_EQ(request(with({{"host", "shop:80"}, {"host", "shop:80"}}), &head), ParseResult::kBad);
  ASSERT_EQ(request({{":method", "GET"}, {":scheme", "http"}, {":path", "/"}, {"host", "shop"}}, &head),
            ParseResult::kComplete);
  EXPECT_EQ(head.authority, "shop");
  EXPECT_EQ(request({{":method", "GET"}, {":scheme", "http"}, {":path", "/"}}, &head), ParseResult::kBad);
}

TEST(Http2HeadTest, WhatWouldSplitAnHttp1HeadIsRefused) {
  RequestHead head;
  for (const std::string& value : {std::string("a\r\nb: c"), std::string("a\nb"), std::string("a\0b", 3)}) {
    EXPECT_EQ(request(with({{"x", value}}), &head), ParseResult::kBad);
    EXPECT_EQ(request(with({{value, "x"}}), &head), ParseResult::kBad);
    EXPECT_EQ(
        request({{":method", "GET"}, {":scheme", "http"}, {":authority", value}, {":path", "/"}}, &head),
        ParseResult::kBad);
    EXPECT_EQ(request({{":method", "GET"}, {":scheme", "http"}, {":authority", "s"}, {":path", "/" + value}},
                      &head),
              ParseResult::kBad);
    EXPECT_EQ(request({{":method", value}, {":scheme", "http"}, {":authority", "s"}, {":path", "/"}}, &head),
              ParseResult::kBad);
  }
}

// Anywhere in a value of any length, some of which are looked at in another way.
TEST(Http2HeadTest, WhatWouldSplitAnHttp1HeadIsFoundInLongValues) {
  RequestHead head;
  for (const size_t size : {127, 128, 129, 200, 5'000}) {
    EXPECT_EQ(request(with({{"x", std::string(size, 'v')}}), &head), ParseResult::kComplete);
    for (const char bad : {'\0', '\r', '\n'}) {
      for (const size_t at : {size_t{0}, size / 2, size - 1}) {
        std::string value(size, 'v');
        value[at] = bad;
        EXPECT_EQ(request(with({{"x", value}}), &head), ParseResult::kBad) << size << ' ' << at;
      }
    }
  }
}

TEST(Http2HeadTest, OddRequestsAreRefused) {
  RequestHead head;
  EXPECT_EQ(request({{":method", "GET"}, {":scheme", "ftp"}, {":authority", "s"}, {":path", "/"}}, &head),
            ParseResult::kBad);
  EXPECT_EQ(request({{":method", "GET"}, {":scheme", "http"}, {":authority", "s"}, {":path", "*"}}, &head),
            ParseResult::kBad);
  EXPECT_EQ(
      request({{":method", "OPTIONS"}, {":scheme", "http"}, {":authority", "s"}, {":path", "*"}}, &head),
      ParseResult::kComplete);
  EXPECT_EQ(request({{":method", "GET"}, {":scheme", "http"}, {":authority", "u@s"}, {":path", "/"}}, &head),
            ParseResult::kBad);
  EXPECT_EQ(request(with({{"connection", "close"}}), &head), ParseResult::kBad);
  EXPECT_EQ(request(with({{"te", "trailers"}}), &head), ParseResult::kComplete);
}

TEST(Http2HeadTest, ConnectOpensATunnelToAnAuthority) {
  RequestHead head;
  ASSERT_EQ(request({{":method", "CONNECT"}, {":authority", "s:1"}}, &head), ParseResult::kComplete);
  EXPECT_EQ(head.method, "CONNECT");
  EXPECT_EQ(head.target, "s:1");
  EXPECT_EQ(head.authority, "s:1");
  EXPECT_EQ(head.protocol, "");
  EXPECT_EQ(head.body, BodyKind::kNone);
  EXPECT_EQ(request({{":method", "CONNECT"}, {":authority", "s"}}, &head), ParseResult::kBad);
  EXPECT_EQ(request({{":method", "CONNECT"}, {":authority", "s:1"}, {":path", "/"}}, &head),
            ParseResult::kBad);
  EXPECT_EQ(request({{":method", "CONNECT"}, {":authority", "s:1"}, {"content-length", "1"}}, &head),
            ParseResult::kBad);
}

TEST(Http2HeadTest, ConnectWithAProtocolIsAnUpgradedGet) {
  RequestHead head;
  const List asked = {{":method", "CONNECT"}, {":protocol", "websocket"}, {":scheme", "http"},
                      {":authority", "s"},    {":path", "/chat?a"},       {"sec-websocket-version", "13"}};
  ASSERT_EQ(request(asked, &head), ParseResult::kComplete);
  EXPECT_EQ(head.method, "GET");
  EXPECT_EQ(head.protocol, "websocket");
  EXPECT_EQ(head.path, "/chat");
  EXPECT_EQ(head.query, "a");
  EXPECT_EQ(head.body, BodyKind::kNone);
  for (const char* left_out : {":scheme", ":authority", ":path"}) {
    List less = asked;
    std::erase_if(less, [&](const auto& field) { return field.first == left_out; });
    EXPECT_EQ(request(less, &head), ParseResult::kBad) << left_out;
  }
  EXPECT_EQ(request(with({}), &head), ParseResult::kComplete);
  EXPECT_EQ(head.protocol, "") << "of the request before";
  EXPECT_EQ(request({{":method", "GET"},
                     {":protocol", "websocket"},
                     {":scheme", "http"},
                     {":authority", "s"},
                     {":path", "/"}},
                    &head),
            ParseResult::kBad);
}

TEST(Http2HeadTest, AnUpgradedGetOfHttp1BecomesConnectWithItsProtocol) {
  HeadText text;
  size_t consumed = 0;
  ASSERT_EQ(text.feed("GET /chat HTTP/1.1\r\nHost: s\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n"
                      "Sec-WebSocket-Key: AAAA\r\nSec-WebSocket-Version: 13\r\n\r\n",
                      4096, &consumed),
            ParseResult::kComplete);
  RequestHead head;
  ASSERT_EQ(parse_request(text.text(), &head), ParseResult::kComplete);
  Http2Fields fields;
  fields.add_request(head, RequestForm{.upgrade = true});
  EXPECT_THAT(list_of(fields),
              ElementsAre(std::pair(":method", "CONNECT"), std::pair(":protocol", "websocket"),
                          std::pair(":scheme", "http"), std::pair(":authority", "s"),
                          std::pair(":path", "/chat"), std::pair("Sec-WebSocket-Version", "13")));
}

TEST(Http2HeadTest, AHeadOverTheBudgetIsTooLarge) {
  List fields = with({});
  for (int i = 0; i < 200; ++i) fields.emplace_back("x", "y");
  RequestHead head;
  EXPECT_EQ(request(fields, &head), ParseResult::kTooLarge);
}

TEST(Http2HeadTest, AnHttp2RequestReadsWellAsHttp1) {
  RequestHead head;
  ASSERT_EQ(request(with({{"cookie", "a"}, {"cookie", "b"}, {"te", "trailers"}}), &head, false),
            ParseResult::kComplete);
  std::string text;
  write_request_head(head, RequestForm(), &text);
  EXPECT_EQ(text,
            "GET /a/b?c=d HTTP/1.1\r\nHost: shop:80\r\ncookie: a; b\r\nTE: trailers\r\nConnection: TE\r\n"
            "Transfer-Encoding: chunked\r\n\r\n");
}

TEST(Http2HeadTest, AResponseHasAStatusAndAFraming) {
  ResponseHead head;
  FieldBlock block = block_of({{":status", "200"}, {"content-length", "5"}});
  ASSERT_EQ(make_response(block, false, false, &head), ParseResult::kComplete);
  EXPECT_EQ(head.status, 200);
  EXPECT_EQ(head.body, BodyKind::kLength);
  EXPECT_EQ(make_response(block, true, false, &head), ParseResult::kBad);
  ASSERT_EQ(make_response(block, true, true, &head), ParseResult::kComplete);
  EXPECT_EQ(head.body, BodyKind::kNone);
  for (const char* status : {"", "20", "2000", "abc", "101", "099"}) {
    FieldBlock bad = block_of({{":status", status}});
    EXPECT_EQ(make_response(bad, false, false, &head), ParseResult::kBad) << status;
  }
}

TEST(Http2HeadTest, TrailersLoseWhatMayNotBeThere) {
  PooledVector<Header> trailers;
  const FieldBlock good = block_of({{"grpc-status", "0"}, {"content-length", "9"}, {"grpc-message", "ok"}});
  ASSERT_TRUE(make_trailers(good, &trailers));
  ASSERT_EQ(trailers.size(), 2u);
  EXPECT_EQ(trailers[1].name, "grpc-message");
  EXPECT_FALSE(make_trailers(block_of({{"x", "a\r\nb"}}), &trailers));
}

TEST(Http2HeadTest, AnHttp1RequestLosesWhatBelongsToItsConnection) {
  HeadText text;
  size_t consumed = 0;
  ASSERT_EQ(text.feed("GET http://shop/a?b HTTP/1.1\r\nHost: shop\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\n"
                      "TE: trailers, gzip\r\nX-Keep: 2\r\n\r\n",
                      4096, &consumed),
            ParseResult::kComplete);
  RequestHead head;
  ASSERT_EQ(parse_request(text.text(), &head), ParseResult::kComplete);
  Http2Fields fields;
  fields.add_request(head, RequestForm{.fallback_host = "fallback"});
  EXPECT_THAT(list_of(fields), ElementsAre(std::pair(":method", "GET"), std::pair(":scheme", "http"),
                                           std::pair(":authority", "shop"), std::pair(":path", "/a?b"),
                                           std::pair("X-Keep", "2"), std::pair("te", "trailers")));
}

TEST(Http2HeadTest, AResponseOfHttp1LosesItsFraming) {
  ResponseHead head;
  head.status = 206;
  head.headers = {{"Transfer-Encoding", "chunked"}, {"ETag", "x"}, {"Keep-Alive", "1"}};
  Http2Fields fields;
  fields.add_response(head);
  EXPECT_THAT(list_of(fields), ElementsAre(std::pair(":status", "206"), std::pair("ETag", "x")));
}

}  // namespace
}  // namespace weft::proxy
