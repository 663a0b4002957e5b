// The HTTP/1 codec without I/O: what is accepted, and the table of what must never get through.
#include "userspace-proxy/http/http1_head.h"

#include <gtest/gtest.h>

#include "base/strings.h"
#include "userspace-proxy/http/http1_writer.h"
#include "userspace-proxy/http/protocol_detect.h"

namespace weft::proxy {
namespace {

// As the exchange does it: line structure first, then the grammar; `step` bytes at a time.
ParseResult parse(std::string_view bytes, RequestHead* head, HeadText* text, size_t step) {
  for (size_t at = 0; at < bytes.size(); at += step) {
    size_t consumed = 0;
    const ParseResult result = text->feed(bytes.substr(at, step), 64 * 1024, &consumed);
    if (result == ParseResult::kComplete) return parse_request(text->text(), head);
    if (result != ParseResult::kNeedMore) return result;
  }
  return ParseResult::kNeedMore;
}

ParseResult parse(std::string_view bytes) {
  RequestHead head;
  HeadText whole, torn;
  const ParseResult result = parse(bytes, &head, &whole, bytes.size());
  EXPECT_EQ(parse(bytes, &head, &torn, 1), result) << "depends on how the bytes arrive: " << bytes;
  return result;
}

struct Bad {
  const char* name;
  std::string_view bytes;
  ParseResult result = ParseResult::kBad;
};

using namespace std::string_view_literals;  // NOLINT: bytes with NUL

const Bad kBadRequests[] = {
    {"length and chunked",
     "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"},
    {"chunked and length",
     "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n"},
    {"two lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n"},
    {"same length twice", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n"},
    {"length list", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 3\r\n\r\n"},
    {"negative length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n"},
    {"plus length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n"},
    {"hex length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x1\r\n\r\n"},
    {"empty length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \r\n\r\n"},
    {"length overflow", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\n"},
    {"length near overflow", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551615\r\n\r\n"},
    {"length with space", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1 1\r\n\r\n"},
    {"chunked twice",
     "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"},
    {"chunked in 1.0", "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"},
    {"two hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"},
    {"same host twice", "GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n"},
    {"no host", "GET / HTTP/1.1\r\n\r\n"},
    {"host with space", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n"},
    {"host with user", "GET / HTTP/1.1\r\nHost: me@a\r\n\r\n"},
    {"host list", "GET / HTTP/1.1\r\nHost: a,b\r\n\r\n"},
    {"host against target", "GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n"},
    {"folded header", "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n"},
    {"folded with tab", "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n\t2\r\n\r\n"},
    {"space before the first field", "GET / HTTP/1.1\r\n Host: a\r\n\r\n"},
    {"NUL in value", "GET / HTTP/1.1\r\nHost: a\r\nX: 1\0002\r\n\r\n"sv},
    {"NUL in name", "GET / HTTP/1.1\r\nHost: a\r\nX\0Y: 1\r\n\r\n"sv},
    {"bare CR in value", "GET / HTTP/1.1\r\nHost: a\r\nX: 1\rY: 2\r\n\r\n"},
    {"bare LF", "GET / HTTP/1.1\nHost: a\n\n"},
    {"bare LF in fields", "GET / HTTP/1.1\r\nHost: a\nX: 1\r\n\r\n"},
    {"CR CR LF", "GET / HTTP/1.1\r\r\nHost: a\r\n\r\n"},
    {"space before colon", "GET / HTTP/1.1\r\nHost: a\r\nContent-Length : 1\r\n\r\n"},
    {"empty name", "GET / HTTP/1.1\r\nHost: a\r\n: 1\r\n\r\n"},
    {"no colon", "GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n"},
    {"control in name", "GET / HTTP/1.1\r\nHost: a\r\nX\x01: 1\r\n\r\n"},
    {"control in value", "GET / HTTP/1.1\r\nHost: a\r\nX: \x01\r\n\r\n"},
    {"HTTP/2.0", "GET / HTTP/2.0\r\nHost: a\r\n\r\n"},
    {"HTTP/0.9", "GET /\r\n\r\n"},
    {"HTTP/1.2", "GET / HTTP/1.2\r\nHost: a\r\n\r\n"},
    {"lower case http", "GET / http/1.1\r\nHost: a\r\n\r\n"},
    {"not a method", "G@T / HTTP/1.1\r\nHost: a\r\n\r\n"},
    {"lower case method", "get / HTTP/1.1\r\nHost: a\r\n\r\n"},
    {"space in target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"},
    {"fragment", "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n"},
    {"no slash", "GET a HTTP/1.1\r\nHost: a\r\n\r\n"},
    {"star for GET", "GET * HTTP/1.1\r\nHost: a\r\n\r\n"},
    {"other scheme", "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n"},
    {"blank flood", "\r\n\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"},
    {"TLS hello", "\x16\x03\x01\x02\x00\x01\n"sv},
    {"other coding", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
     ParseResult::kNotImplemented},
    {"hidden coding", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n"},
    {"coding without name", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip,,chunked\r\n\r\n"},
    {"chunked within chunked",
     "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip, chunked\r\n\r\n"},
    {"connect", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", ParseResult::kComplete},
    {"connect_without_port", "CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n", ParseResult::kBad},
    {"connect_with_content", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\nContent-Length: 1\r\n\r\n",
     ParseResult::kBad},
};

TEST(Http1HeadTest, RefusesEveryAmbiguousOrMalformedRequest) {
  for (const Bad& bad : kBadRequests) {
    EXPECT_EQ(parse(bad.bytes), bad.result) << bad.name;
  }
}

TEST(Http1HeadTest, RefusesMoreHeadersThanTheLimit) {
  std::string bytes = "GET / HTTP/1.1\r\nHost: a\r\n";
  for (size_t i = 1; i < kMaxHeaders; ++i) str_append(&bytes, "X", i, ": 1\r\n");
  EXPECT_EQ(parse(bytes + "\r\n"), ParseResult::kComplete);
  EXPECT_EQ(parse(bytes + "One-More: 1\r\n\r\n"), ParseResult::kTooLarge);
}

TEST(Http1HeadTest, TakesARequestApart) {
  HeadText text;
  RequestHead head;
  const std::string_view bytes =
      "\r\nPOST /a/b?c=d?e HTTP/1.1\r\nHost: shop:8080\r\nEmpty:\r\nContent-Length: 12\r\nX:  1 2 "
      "\t\r\n\r\nbody";
  ASSERT_EQ(parse(bytes, &head, &text, 7), ParseResult::kComplete);
  EXPECT_EQ(head.method, "POST");
  EXPECT_EQ(head.target, "/a/b?c=d?e");
  EXPECT_EQ(head.path, "/a/b");
  EXPECT_EQ(head.query, "c=d?e");
  EXPECT_EQ(head.authority, "shop:8080");
  EXPECT_EQ(head.body, BodyKind::kLength);
  EXPECT_EQ(head.content_length, 12u);
  EXPECT_TRUE(head.keep_alive);
  ASSERT_EQ(head.headers.size(), 4u);
  EXPECT_EQ(head.headers[1].name, "Empty");
  EXPECT_EQ(head.headers[1].value, "");
  EXPECT_EQ(head.find("x"), "1 2");
}

TEST(Http1HeadTest, LeavesNothingOfTheRequestThatTheHeadHeldBefore) {
  RequestHead head;
  head.major_version = 2;
  head.scheme = "https";
  head.protocol = "websocket";
  HeadText text;
  ASSERT_EQ(parse("GET / HTTP/1.1\r\nHost: a\r\n\r\n", &head, &text, 1), ParseResult::kComplete);
  EXPECT_EQ(head.major_version, 1);
  EXPECT_EQ(head.scheme, "http");
  EXPECT_EQ(head.protocol, "");
}

TEST(Http1HeadTest, LeavesTheBytesBehindTheHeadAlone) {
  HeadText text;
  size_t consumed = 0;
  const std::string_view head = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
  EXPECT_EQ(text.feed(str_cat(head, "GET /next"), 1000, &consumed), ParseResult::kComplete);
  EXPECT_EQ(consumed, head.size());
}

TEST(Http1HeadTest, TakesTheAuthorityFromAnAbsoluteTarget) {
  HeadText text;
  RequestHead head;
  ASSERT_EQ(parse("GET http://Shop:80?q HTTP/1.1\r\nHost: shop:80\r\n\r\n", &head, &text, 99),
            ParseResult::kComplete);
  EXPECT_EQ(head.authority, "Shop:80");
  EXPECT_EQ(head.path, "/");
  EXPECT_EQ(head.query, "q");
}

TEST(Http1HeadTest, KnowsWhoKeepsTheConnection) {
  const auto keeps = [](std::string_view version, std::string_view connection) {
    HeadText text;
    RequestHead head;
    const std::string bytes =
        str_cat("GET / HTTP/", version, "\r\nHost: a\r\nConnection: ", connection, "\r\n\r\n");
    EXPECT_EQ(parse(bytes, &head, &text, bytes.size()), ParseResult::kComplete);
    return head.keep_alive;
  };
  EXPECT_TRUE(keeps("1.1", "foo"));
  EXPECT_FALSE(keeps("1.1", "foo, Close"));
  EXPECT_FALSE(keeps("1.0", "foo"));
  EXPECT_TRUE(keeps("1.0", "Keep-Alive"));
}

ResponseHead response(std::string_view bytes, bool request_was_head,
                      ParseResult expected = ParseResult::kComplete) {
  ResponseHead head;
  EXPECT_EQ(parse_response(bytes, request_was_head, &head), expected) << bytes;
  return head;
}

TEST(Http1HeadTest, KnowsWhereAResponseBodyEnds) {
  EXPECT_EQ(response("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", false).body, BodyKind::kLength);
  EXPECT_EQ(response("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", true).body, BodyKind::kNone);
  EXPECT_EQ(response("HTTP/1.1 204 No Content\r\n\r\n", false).body, BodyKind::kNone);
  EXPECT_EQ(response("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", false).body, BodyKind::kNone);
  EXPECT_EQ(response("HTTP/1.1 100 Continue\r\n\r\n", false).body, BodyKind::kNone);
  EXPECT_EQ(response("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", false).body,
            BodyKind::kChunked);
  EXPECT_EQ(response("HTTP/1.1 200\r\n\r\n", false).body, BodyKind::kUntilClose);
}

TEST(Http1HeadTest, RefusesAResponseThatFramesItselfTwice) {
  response("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", false,
           ParseResult::kBad);
  response("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", false, ParseResult::kBad);
  response("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", false, ParseResult::kBad);
  response("ICY 200 OK\r\n\r\n", false, ParseResult::kBad);
}

TEST(Http1HeadTest, NothingOfAnHttp2RequestIsLeftInAHeadThatIsUsedAgain) {
  HeadText text;
  RequestHead head{.scheme = "https", .protocol = "websocket", .major_version = 2, .minor_version = 0};
  ASSERT_EQ(parse("GET / HTTP/1.1\r\nHost: a\r\n\r\n", &head, &text, 999), ParseResult::kComplete);
  EXPECT_EQ(head.major_version, 1);
  EXPECT_EQ(head.minor_version, 1);
  EXPECT_EQ(head.scheme, "http");
  EXPECT_EQ(head.protocol, "");
}

TEST(Http1WriterTest, GivesAStatusThatCameWithoutAReasonItsUsualOne) {
  const auto line = [](uint16_t status, std::string_view reason) {
    std::string out;
    write_response_head(ResponseHead{.status = status, .reason = reason}, ResponseForm(), &out);
    return out.substr(0, out.find("\r\n"));
  };
  EXPECT_EQ(line(200, ""), "HTTP/1.1 200 OK");
  EXPECT_EQ(line(103, ""), "HTTP/1.1 103 Early Hints");
  EXPECT_EQ(line(511, ""), "HTTP/1.1 511 Network Authentication Required");
  EXPECT_EQ(line(299, ""), "HTTP/1.1 299 ");
  EXPECT_EQ(line(200, "Fine"), "HTTP/1.1 200 Fine");
}

TEST(Http1WriterTest, NeverDropsHostOrLengthBecauseConnectionNamesThem) {
  HeadText text;
  RequestHead head;
  ASSERT_EQ(parse("POST / HTTP/1.1\r\nHost: a\r\nConnection: host, content-length, x\r\nX: "
                  "1\r\nContent-Length: 1\r\n\r\n",
                  &head, &text, 999),
            ParseResult::kComplete);
  std::string out;
  write_request_head(head, RequestForm(), &out);
  EXPECT_EQ(out, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n");
}

TEST(Http1WriterTest, ForwardsTrailersWishButNoUpgradeToCleartextHttp2) {
  HeadText text;
  RequestHead head;
  ASSERT_EQ(
      parse("GET / HTTP/1.1\r\nHost: a\r\nTE: trailers, gzip\r\nConnection: Upgrade, TE, HTTP2-Settings\r\n"
            "Upgrade: h2c\r\nHTTP2-Settings: x\r\n\r\n",
            &head, &text, 999),
      ParseResult::kComplete);
  EXPECT_FALSE(wants_upgrade(head));
  std::string out;
  write_request_head(head, RequestForm(), &out);
  EXPECT_EQ(out, "GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: TE\r\n\r\n");
}

TEST(ProtocolDetectTest, TellsHttpFromTheRest) {
  EXPECT_EQ(detect_protocol("GET / HTTP/1.1"), Detected::kHttp1);
  EXPECT_EQ(detect_protocol("OPT"), Detected::kNeedMore);
  EXPECT_EQ(detect_protocol("PRI * HTTP/2.0\r\n"), Detected::kHttp2);
  EXPECT_EQ(detect_protocol("PRI"), Detected::kNeedMore);
  EXPECT_EQ(detect_protocol("\x16\x03\x01"), Detected::kOther);
  EXPECT_EQ(detect_protocol("GETTING"), Detected::kOther);
}

TEST(ProtocolDetectTest, TakesAnyTextForHttpWhereHttpIsDeclared) {
  EXPECT_EQ(detect_declared_http("GET / HTTP/1.1"), Detected::kHttp1);
  EXPECT_EQ(detect_declared_http("\r\nM-SEARCH * HTTP/1.1"), Detected::kHttp1);
  EXPECT_EQ(detect_declared_http("GET nonsense"), Detected::kHttp1);
  EXPECT_EQ(detect_declared_http("PRI /x HTTP/1.1"), Detected::kHttp1);
  EXPECT_EQ(detect_declared_http("GE"), Detected::kHttp1);
  // Text that is no request is refused by the codec; a server might skip what is odd about it.
  EXPECT_EQ(detect_declared_http(" GET / HTTP/1.1"), Detected::kHttp1);
  EXPECT_EQ(detect_declared_http("\tGET / HTTP/1.1"), Detected::kHttp1);
  EXPECT_EQ(detect_declared_http("\r\n\r\n\r\n"), Detected::kHttp1);
  EXPECT_EQ(detect_declared_http(std::string(40, 'A')), Detected::kHttp1);
  EXPECT_EQ(detect_declared_http("PRI * HTT"), Detected::kNeedMore);
  EXPECT_EQ(detect_declared_http(""), Detected::kNeedMore);
  EXPECT_EQ(detect_declared_http("PRI * HTTP/2.0\r\n\r\nSM"), Detected::kHttp2);
  EXPECT_EQ(detect_declared_http("\x16\x03\x01"), Detected::kOther);
  EXPECT_EQ(detect_declared_http(std::string_view("\0\0", 2)), Detected::kOther);
  EXPECT_EQ(detect_declared_http("\xff"), Detected::kOther);
}

}  // namespace
}  // namespace weft::proxy
