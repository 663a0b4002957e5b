// What the HTTP/1 codec refuses and what it lets through, as sentences: every row is a message that two
// readers could take for different ones, or one that looks like it and is none.
#include <gtest/gtest.h>

#include "base/strings.h"
#include "userspace-proxy/http/authority.h"
#include "userspace-proxy/http/http1_head.h"
#include "userspace-proxy/http/http1_writer.h"
#include "userspace-proxy/http/path.h"

namespace weft::proxy {
namespace {

using namespace std::string_view_literals;  // NOLINT: bytes with NUL

constexpr ParseResult kGood = ParseResult::kComplete;
constexpr ParseResult kBad = ParseResult::kBad;
constexpr ParseResult k501 = ParseResult::kNotImplemented;

// Line structure and grammar, as the exchange applies them.
ParseResult parse_text(std::string_view bytes, HeadText* text) {
  size_t consumed = 0;
  return text->feed(bytes, 64 * 1024, &consumed);
}

ParseResult parse(std::string_view bytes, HeadText* text, RequestHead* head) {
  const ParseResult lines = parse_text(bytes, text);
  return lines == kGood ? parse_request(text->text(), head) : lines;
}

struct FieldRow {
  const char* sentence;
  std::string_view fields;
  ParseResult result;
};

// Between "POST / HTTP/1.1", "Host: a" and the empty line.
const FieldRow kFraming[] = {
    {"a length with spaces around it is that length", "Content-Length:  3  \r\n", kGood},
    {"a length may have leading zeros", "Content-Length: 003\r\n", kGood},
    {"a length is decimal", "Content-Length: 0xA\r\n", kBad},
    {"a length has no sign", "Content-Length: +3\r\n", kBad},
    {"a length is not negative", "Content-Length: -0\r\n", kBad},
    {"a length has no fraction", "Content-Length: 3.0\r\n", kBad},
    {"a length has no exponent", "Content-Length: 1e1\r\n", kBad},
    {"a length is one number", "Content-Length: 3 3\r\n", kBad},
    {"a length is no list", "Content-Length: 3,3\r\n", kBad},
    {"a length is no list with an empty member", "Content-Length: 3,\r\n", kBad},
    {"a length is not quoted", "Content-Length: \"3\"\r\n", kBad},
    {"a length is not empty", "Content-Length:\r\n", kBad},
    {"a length fits 62 bits", "Content-Length: 4611686018427387904\r\n", kGood},
    {"a length above 62 bits is none", "Content-Length: 4611686018427387905\r\n", kBad},
    {"a length has ASCII digits", "Content-Length: \xef\xbc\x93\r\n", kBad},
    {"a vertical tab is no white space",
     "Content-Length: \x0b"
     "3\r\n",
     kBad},
    {"there is one length", "Content-Length: 3\r\nContent-Length: 3\r\n", kBad},
    {"the name of a length has no case", "content-length: 3\r\nCONTENT-LENGTH: 3\r\n", kBad},
    {"a length of nothing and a coding conflict, too", "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
     kBad},
    {"a coding and a length conflict in this order, too",
     "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n", kBad},
    {"a gateway's spelling of a length is refused", "Content_Length: 3\r\n", kBad},
    {"a gateway's spelling of a coding is refused", "Transfer_Encoding: chunked\r\n", kBad},
    {"chunked is the one coding we take off", "Transfer-Encoding: chunked\r\n", kGood},
    {"codings have no case", "Transfer-Encoding: cHuNkEd\r\n", kGood},
    {"a coding may have white space around it", "Transfer-Encoding: \t chunked \t\r\n", kGood},
    {"a coding over chunked does not end anywhere", "Transfer-Encoding: chunked, gzip\r\n", kBad},
    {"a coding without chunked does not end anywhere", "Transfer-Encoding: gzip\r\n", kBad},
    {"identity is no coding any more", "Transfer-Encoding: identity\r\n", kBad},
    {"another coding under chunked is not implemented", "Transfer-Encoding: gzip, chunked\r\n", k501},
    {"chunked is applied once", "Transfer-Encoding: chunked, chunked\r\n", kBad},
    {"a coding is not empty", "Transfer-Encoding:\r\n", kBad},
    {"a list of codings has no empty member", "Transfer-Encoding: chunked,\r\n", kBad},
    {"chunked has no parameter", "Transfer-Encoding: chunked;q=1\r\n", kBad},
    {"chunked is not quoted", "Transfer-Encoding: \"chunked\"\r\n", kBad},
    {"chunked is a whole word", "Transfer-Encoding: xchunked\r\n", kBad},
    {"there is one coding field", "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", kBad},
    {"a control is no white space",
     "Transfer-Encoding: \x0c"
     "chunked\r\n",
     kBad},
    {"a no-break space is no white space",
     "Transfer-Encoding: \xa0"
     "chunked\r\n",
     kBad},
};

const FieldRow kFields[] = {
    {"a value may have bytes above 0x7f", "X: \xc3\xa9\r\n", kGood},
    {"a value may have a tab inside", "X: a\tb\r\n", kGood},
    {"a value may be empty", "X:\r\nY: \t\r\n", kGood},
    {"a value has no control",
     "X: a\x1b"
     "b\r\n",
     kBad},
    {"a value has no DEL",
     "X: a\x7f"
     "b\r\n",
     kBad},
    {"a value has no NUL at its end", "X: a\0\r\n"sv, kBad},
    {"a value has no bare CR", "X: a\rContent-Length: 3\r\n", kBad},
    {"a value has no bare LF", "X: a\nContent-Length: 3\r\n", kBad},
    {"a line ends in one CR", "X: a\r\r\n", kBad},
    {"a line is not folded", "X: a\r\n b\r\n", kBad},
    {"a line is not folded with a tab", "X: a\r\n\tb\r\n", kBad},
    {"a folded empty value is folded", "X:\r\n Content-Length: 3\r\n", kBad},
    {"there is no space before the colon", "X : a\r\n", kBad},
    {"there is no tab before the colon", "X\t: a\r\n", kBad},
    {"a name is not empty", ": a\r\n", kBad},
    {"a line has a colon", "X\r\n", kBad},
    {"a name has no space inside", "X Y: a\r\n", kBad},
    {"a name has no bytes above 0x7f", "X\xc3\xa9: a\r\n", kBad},
    {"a name has no separators", "X(a): b\r\n", kBad},
    {"a name has no brackets", "X[0]: b\r\n", kBad},
    {"a name has no quotes", "\"X\": b\r\n", kBad},
    {"a name may have underscores", "X_Y: a\r\n", kGood},
    {"a name may have every character of a token", "!#$%&'*+-.^_`|~: a\r\n", kGood},
    {"a second Host is refused", "Host: a\r\n", kBad},
    {"a second Host in another case is refused", "hOST: b\r\n", kBad},
};

TEST(Http1StrictTest, FieldsFrameAMessageInOneWayOrAreRefused) {
  for (const FieldRow& row : kFraming) {
    HeadText text;
    RequestHead head;
    EXPECT_EQ(parse(str_cat("POST / HTTP/1.1\r\nHost: a\r\n", row.fields, "\r\n"), &text, &head), row.result)
        << row.sentence;
  }
  for (const FieldRow& row : kFields) {
    HeadText text;
    RequestHead head;
    EXPECT_EQ(parse(str_cat("POST / HTTP/1.1\r\nHost: a\r\n", row.fields, "\r\n"), &text, &head), row.result)
        << row.sentence;
  }
}

struct LineRow {
  const char* sentence;
  std::string_view line;
  ParseResult result = kBad;
};

const LineRow kRequestLines[] = {
    {"origin form", "GET /a?b HTTP/1.1", kGood},
    {"an odd character is none of ours to judge", "GET /a\"<>^`{|}\\b HTTP/1.1", kGood},
    {"two spaces after the method", "GET  / HTTP/1.1"},
    {"two spaces before the version", "GET /  HTTP/1.1"},
    {"a tab for a space", "GET\t/ HTTP/1.1"},
    {"a tab in the target", "GET /a\tb HTTP/1.1"},
    {"a space after the version", "GET / HTTP/1.1 "},
    {"a space in the target", "GET /a HTTP/1.1 HTTP/1.1"},
    {"a space before the method", " GET / HTTP/1.1"},
    {"a control in the target", "GET /\x01 HTTP/1.1"},
    {"NUL in the target", "GET /\0 HTTP/1.1"sv},
    {"DEL in the target", "GET /\x7f HTTP/1.1"},
    {"bytes above 0x7f in the target", "GET /\xc3\xa9 HTTP/1.1"},
    {"bytes above 0x7f in the query", "GET /?\xc3\xa9 HTTP/1.1"},
    {"a fragment", "GET /#a HTTP/1.1"},
    {"a fragment in the query", "GET /?a#b HTTP/1.1"},
    {"an empty method", " / HTTP/1.1"},
    {"bytes above 0x7f in the method", "G\xc3\xa9T / HTTP/1.1"},
    {"NUL in the method", "G\0T / HTTP/1.1"sv},
    {"an unknown method with a separator", "GET; / HTTP/1.1"},
    {"an empty target", "GET  HTTP/1.1"},
    {"no target", "GET HTTP/1.1"},
    {"no version", "GET /"},
    {"version 0.9", "GET / HTTP/0.9"},
    {"version 1.10", "GET / HTTP/1.10"},
    {"version 1.2", "GET / HTTP/1.2"},
    {"version 11", "GET / HTTP/11"},
    {"version 1,1", "GET / HTTP/1,1"},
    {"version 01.1", "GET / HTTP/01.1"},
    {"version without a minor number", "GET / HTTP/1."},
    {"another protocol", "SOURCE / ICE/1.0"},
    {"another protocol, too", "OPTIONS / RTSP/1.0"},
    {"the preface of HTTP/2", "PRI * HTTP/2.0"},
    {"a target without slash", "GET a HTTP/1.1"},
    {"a backslash for the slash", "GET \\a HTTP/1.1"},
    {"a target of a query only", "GET ?a HTTP/1.1"},
    {"an authority as the target", "GET a:80 HTTP/1.1"},
    {"absolute form with another host", "GET http://b/ HTTP/1.1"},
    {"absolute form with a port that Host lacks", "GET http://a:81/ HTTP/1.1"},
    {"absolute form with the default port that Host lacks", "GET http://a:80/ HTTP/1.1", kGood},
    {"absolute form", "GET http://a/b HTTP/1.1", kGood},
    {"absolute form without path", "GET http://A?b HTTP/1.1", kGood},
    {"absolute form with user", "GET http://u@a/ HTTP/1.1"},
    {"absolute form without host", "GET http:///b HTTP/1.1"},
    {"absolute form of another scheme", "GET https://a/ HTTP/1.1"},
    {"absolute form with one slash", "GET http:/a HTTP/1.1"},
    {"absolute form with a backslash", "GET http://a\\@b/ HTTP/1.1"},
    {"absolute form with a fragment", "GET http://a/#b HTTP/1.1"},
    {"the asterisk is for OPTIONS", "OPTIONS * HTTP/1.1", kGood},
    {"the asterisk for another method", "DELETE * HTTP/1.1"},
    {"the asterisk with more", "OPTIONS *a HTTP/1.1"},
    {"the asterisk with a query", "OPTIONS *?a HTTP/1.1"},
    {"CONNECT to another authority than Host", "CONNECT a:81 HTTP/1.1"},
    {"CONNECT to another host than Host", "CONNECT b:80 HTTP/1.1"},
    {"CONNECT to the default port that Host lacks, as Node.js says it", "CONNECT a:80 HTTP/1.1", kGood},
    {"CONNECT without a port", "CONNECT a HTTP/1.1"},
    {"CONNECT to a path", "CONNECT /a HTTP/1.1"},
    {"CONNECT to a URI", "CONNECT http://a/ HTTP/1.1"},
};

TEST(Http1StrictTest, ARequestLineIsThreeWordsOrRefused) {
  for (const LineRow& row : kRequestLines) {
    HeadText text;
    RequestHead head;
    EXPECT_EQ(parse(str_cat(row.line, "\r\nHost: a\r\n\r\n"), &text, &head), row.result) << row.sentence;
  }
}

TEST(Http1StrictTest, MethodsWithoutContentHaveNone) {
  const auto result = [](std::string_view line, std::string_view framing) {
    HeadText text;
    RequestHead head;
    return parse(str_cat(line, " HTTP/1.1\r\nHost: a\r\n", framing, "\r\n"), &text, &head);
  };
  EXPECT_EQ(result("TRACE /", ""), kGood);
  EXPECT_EQ(result("TRACE /", "Content-Length: 0\r\n"), kGood);
  EXPECT_EQ(result("TRACE /", "Content-Length: 1\r\n"), kBad);
  EXPECT_EQ(result("TRACE /", "Transfer-Encoding: chunked\r\n"), kBad);
  EXPECT_EQ(result("CONNECT a:1", "Content-Length: 1\r\n"), kBad);
  EXPECT_EQ(result("CONNECT a:1", "Transfer-Encoding: chunked\r\n"), kBad);
  EXPECT_EQ(result("GET /", "Content-Length: 1\r\n"), kGood) << "unusual, and framed like any other";
}

TEST(Http1StrictTest, ACodingNeedsHttp11) {
  for (const std::string_view coding : {"chunked", "gzip, chunked", "gzip"}) {
    HeadText text;
    RequestHead head;
    EXPECT_EQ(
        parse(str_cat("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: ", coding, "\r\n\r\n"), &text, &head),
        kBad);
  }
}

TEST(AuthorityTest, IsTheSameInAnyCaseAndWithTheDefaultPort) {
  EXPECT_TRUE(same_authority("a", "A"));
  EXPECT_TRUE(same_authority("a:80", "A"));
  EXPECT_TRUE(same_authority("[::1]", "[::1]:80"));
  EXPECT_FALSE(same_authority("a:80", "b"));
  EXPECT_FALSE(same_authority("a:8080", "a"));
  EXPECT_FALSE(same_authority("a:443", "a"));
  EXPECT_FALSE(same_authority("a:080", "a"));
}

TEST(AuthorityTest, NamesOneHostAndMaybeAPort) {
  const std::string longest = std::string(255, 'a');
  for (const std::string_view good :
       {"a"sv, "a:80"sv, "a:"sv, "a:0"sv, "a:65535"sv, "A.b-c_d.example."sv, "10.0.0.1:8080"sv, "[::1]"sv,
        "[2001:db8::1]:80"sv, "[::ffff:10.0.0.1]"sv, "a;b"sv, std::string_view(longest)}) {
    EXPECT_TRUE(valid_authority(good)) << good;
  }
  for (const std::string_view bad : {""sv,
                                     ":80"sv,
                                     "a:65536"sv,
                                     "a:+1"sv,
                                     "a:-1"sv,
                                     "a:8o"sv,
                                     "a:80:80"sv,
                                     "a:000080"sv,
                                     "a b"sv,
                                     "a\tb"sv,
                                     "u@a"sv,
                                     "a/b"sv,
                                     "a?b"sv,
                                     "a#b"sv,
                                     "a\\b"sv,
                                     "a,b"sv,
                                     "a%2eb"sv,
                                     "a\0b"sv,
                                     "a\x7f"sv,
                                     "a\xc3\xa9"sv,
                                     "<a>"sv,
                                     "a\"b"sv,
                                     "[::1"sv,
                                     "::1"sv,
                                     "[]"sv,
                                     "[10.0.0.1]"sv,
                                     "[::1]80"sv,
                                     "[::1]:x"sv,
                                     "[fe80::1%eth0]"sv,
                                     "[v1.a]"sv,
                                     "[::1\0]"sv,
                                     "a]"sv}) {
    EXPECT_FALSE(valid_authority(bad)) << bad;
  }
  EXPECT_FALSE(valid_authority(longest + "a"));
}

TEST(Http1StrictTest, HostIsAnAuthority) {
  for (const std::string_view bad : {"", "u@a", "a b", "a%2eb", "a:99999", "a\x01", "http://a"}) {
    HeadText text;
    RequestHead head;
    EXPECT_EQ(parse(str_cat("GET / HTTP/1.1\r\nHost: ", bad, "\r\n\r\n"), &text, &head), kBad) << bad;
  }
}

std::string forwarded(std::string_view bytes, PathNormalisation level = PathNormalisation::kBase) {
  HeadText text;
  RequestHead head;
  std::string target, out;
  EXPECT_EQ(parse(bytes, &text, &head), kGood) << bytes;
  EXPECT_TRUE(normalise_target(level, &target, &head));
  write_request_head(head, RequestForm{.fallback_host = "fallback"}, &out);
  return out;
}

TEST(Http1StrictTest, AbsoluteFormBecomesOriginForm) {
  EXPECT_EQ(forwarded("GET http://a/b/../c?d HTTP/1.1\r\nHost: a\r\n\r\n"),
            "GET /c?d HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_EQ(forwarded("GET http://a/b/../c HTTP/1.1\r\nHost: a\r\n\r\n", PathNormalisation::kNone),
            "GET /b/../c HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_EQ(forwarded("GET http://a?d HTTP/1.1\r\nHost: a\r\n\r\n"), "GET /?d HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_EQ(forwarded("GET http://a HTTP/1.0\r\n\r\n"), "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_EQ(forwarded("OPTIONS http://a HTTP/1.1\r\nHost: a\r\n\r\n"),
            "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
}

TEST(Http1StrictTest, ALengthIsForwardedInOneSpelling) {
  EXPECT_EQ(forwarded("POST / HTTP/1.1\r\nHost: a\r\ncontent-length:\t010\r\n\r\n"),
            "POST / HTTP/1.1\r\nHost: a\r\ncontent-length: 10\r\n\r\n");
}

struct ResponseRow {
  const char* sentence;
  std::string_view bytes;
  ParseResult result = kBad;
  BodyKind body = BodyKind::kNone;
  bool keep_alive = true;
};

const ResponseRow kResponses[] = {
    {"a status line may lack the reason", "HTTP/1.1 204\r\n\r\n", kGood},
    {"a reason may be empty", "HTTP/1.1 204 \r\n\r\n", kGood},
    {"a reason has no control", "HTTP/1.1 200 a\x01\r\n\r\n"},
    {"a reason has no bare CR", "HTTP/1.1 200 a\rX: b\r\n\r\n"},
    {"a status has three digits", "HTTP/1.1 20 OK\r\n\r\n"},
    {"a status has no four digits", "HTTP/1.1 2000 OK\r\n\r\n"},
    {"a status has a space after it", "HTTP/1.1 200OK\r\n\r\n"},
    {"a status is after one space", "HTTP/1.1  200 OK\r\n\r\n"},
    {"a status is at least 100", "HTTP/1.1 099 OK\r\n\r\n"},
    {"another protocol is none of ours", "RTSP/1.0 200 OK\r\n\r\n"},
    {"HTTP/2.0 is none of ours", "HTTP/2.0 200 OK\r\n\r\n"},
    {"a value has no bare LF", "HTTP/1.1 200 OK\r\nX: a\nContent-Length: 0\r\n\r\n"},
    {"a response is not folded", "HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n"},
    {"two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n"},
    {"a list of lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\n"},
    {"length and coding", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"},
    {"length and coding, for a bodiless status, too",
     "HTTP/1.1 304 No\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"},
    {"another coding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"},
    {"a coding in HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"},
    {"an interim response with a length", "HTTP/1.1 103 Hints\r\nContent-Length: 5\r\n\r\n"},
    {"an interim response with a coding", "HTTP/1.1 100 Continue\r\nTransfer-Encoding: chunked\r\n\r\n"},
    {"a switch of protocols with a length", "HTTP/1.1 101 Up\r\nContent-Length: 5\r\n\r\n"},
    {"an interim response may say that it has nothing", "HTTP/1.1 100 Continue\r\nContent-Length: 0\r\n\r\n",
     kGood},
    {"204 with a length ends at its head, and so does the connection",
     "HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\n", kGood, BodyKind::kNone, false},
    {"204 with a coding ends at its head, and so does the connection",
     "HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n", kGood, BodyKind::kNone, false},
    {"204 that says it has nothing is an ordinary one", "HTTP/1.1 204 No\r\nContent-Length: 0\r\n\r\n",
     kGood},
    {"304 may tell the length of what it stands for", "HTTP/1.1 304 No\r\nContent-Length: 5\r\n\r\n", kGood},
    {"304 may tell the coding of what it stands for", "HTTP/1.1 304 No\r\nTransfer-Encoding: chunked\r\n\r\n",
     kGood},
};

TEST(Http1StrictTest, AResponseEndsInOnePlaceOrIsRefused) {
  for (const ResponseRow& row : kResponses) {
    HeadText text;
    ResponseHead head;
    ParseResult result = parse_text(row.bytes, &text);
    if (result == kGood) result = parse_response(text.text(), false, &head);
    EXPECT_EQ(result, row.result) << row.sentence;
    if (result != kGood) continue;
    EXPECT_EQ(head.body, row.body) << row.sentence;
    EXPECT_EQ(head.keep_alive, row.keep_alive) << row.sentence;
  }
}

TEST(Http1StrictTest, InterimAndEmptyResponsesAreForwardedWithoutLength) {
  for (const std::string_view status : {"100 Continue", "204 No"}) {
    HeadText text;
    ResponseHead head;
    std::string out;
    ASSERT_EQ(parse_text(str_cat("HTTP/1.1 ", status, "\r\nContent-Length: 0\r\nX: a\r\n\r\n"), &text),
              kGood);
    ASSERT_EQ(parse_response(text.text(), false, &head), kGood);
    write_response_head(head, ResponseForm(), &out);
    EXPECT_EQ(out, str_cat("HTTP/1.1 ", status, "\r\nX: a\r\n\r\n"));
  }
}

}  // namespace
}  // namespace weft::proxy
