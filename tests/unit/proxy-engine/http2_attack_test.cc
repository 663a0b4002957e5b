// Http2Session against a peer that writes frames by hand: what is no HTTP/2 is refused where RFC 9113 says
// so, and each known flood ends with GOAWAY(ENHANCE_YOUR_CALM) and its name.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/proxy-engine/http2_peers.h"

namespace weft::proxy {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

class Http2AttackTest : public ::testing::Test {
 protected:
  void SetUp() override {
    EXPECT_EQ(server.hears(preface()), Http2Fault::kNoFault);
    server.said();
  }

  // Sends until the session has had enough; what it said then.
  template <typename Make>
  Endings flood(int most, Make make) {
    for (int i = 0; i < most && server.session->fault() == Http2Fault::kNoFault; ++i) {
      server.hears(make(i));
      if (drain) heard += server.said();
    }
    heard += server.said();
    return endings_in(heard);
  }
  void expect_calm(const Endings& endings, std::string_view reason) {
    EXPECT_EQ(label(server.session->fault()), reason);
    EXPECT_THAT(endings.goaways, ElementsAre(NGHTTP2_ENHANCE_YOUR_CALM));
    EXPECT_EQ(endings.goaway_text, reason);
    EXPECT_TRUE(server.session->done());
  }
  static uint32_t odd(int i) { return static_cast<uint32_t>(2 * i + 1); }
  // A whole request by itself; what the session says to it.
  Endings send_request(std::string_view block, std::string_view data = {}, bool end = true) {
    const bool body = !data.empty();
    std::string bytes = frame(NGHTTP2_HEADERS, kEndHeaders | (!body && end ? kEnd : 0), next, block);
    if (body) bytes += frame(NGHTTP2_DATA, end ? kEnd : 0, next, data);
    next += 2;
    server.hears(bytes);
    return endings_in(server.said());
  }

  Peer server{Http2Session::Role::kServer};
  uint32_t next = 1;
  std::string heard;
  bool drain = true;
};

TEST_F(Http2AttackTest, RapidResetEnds) {
  const Endings endings = flood(5000, [](int i) {
    return frame(NGHTTP2_HEADERS, kEndHeaders | kEnd, odd(i), request_block()) +
           frame(NGHTTP2_RST_STREAM, 0, odd(i), u32(NGHTTP2_CANCEL));
  });
  expect_calm(endings, "resets");
}

TEST_F(Http2AttackTest, AClientMayCancelNowAndThenForALongTime) {
  flood(5000, [this](int i) {
    server.now += kNsPerSecond / 40;
    return frame(NGHTTP2_HEADERS, kEndHeaders | kEnd, odd(i), request_block()) +
           frame(NGHTTP2_RST_STREAM, 0, odd(i), u32(NGHTTP2_CANCEL));
  });
  EXPECT_EQ(server.session->fault(), Http2Fault::kNoFault);
  EXPECT_EQ(server.streams.size(), 5000u);
}

TEST_F(Http2AttackTest, ResetsThatThePeerMakesUsSendAreCountedToo) {
  // MadeYouReset: an increment that overflows the stream's window.
  const Endings endings = flood(5000, [](int i) {
    return frame(NGHTTP2_HEADERS, kEndHeaders | kEnd, odd(i), request_block()) +
           frame(NGHTTP2_WINDOW_UPDATE, 0, odd(i), u32(0x7fffffff));
  });
  expect_calm(endings, "provoked_resets");
  EXPECT_LE(endings.resets.size(), server.limits.provoked_resets.burst + 1);
}

TEST_F(Http2AttackTest, MalformedRequestsAreCountedAsResetsThatThePeerProvoked) {
  const Endings endings = flood(5000, [](int i) {
    return frame(NGHTTP2_HEADERS, kEndHeaders | kEnd, odd(i), request_block() + literal("connection", "x"));
  });
  expect_calm(endings, "provoked_resets");
}

TEST_F(Http2AttackTest, PingsEnd) {
  expect_calm(flood(5000, [](int) { return frame(NGHTTP2_PING, 0, 0, "12345678"); }), "pings");
}

TEST_F(Http2AttackTest, AnswersThatNobodyReadsDoNotPileUp) {
  drain = false;
  flood(5000, [](int) { return frame(NGHTTP2_PING, 0, 0, "12345678"); });
  EXPECT_NE(server.session->fault(), Http2Fault::kNoFault);
  EXPECT_LE(heard.size(), 64u * 1024);
}

TEST_F(Http2AttackTest, SettingsEnd) {
  expect_calm(flood(5000, [](int) { return frame(NGHTTP2_SETTINGS, 0, 0); }), "settings");
}

TEST_F(Http2AttackTest, PrioritiesEnd) {
  expect_calm(flood(5000, [](int) { return frame(NGHTTP2_PRIORITY, 0, 1, u32(0) + "\x10"); }), "priorities");
}

TEST_F(Http2AttackTest, APriorityWithoutAStreamOrOfAStreamOnItselfIsAProtocolError) {
  for (const auto& [stream, parent] : {std::pair{0u, 1u}, std::pair{3u, 3u}, std::pair{3u, 0x80000003u}}) {
    Peer other(Http2Session::Role::kServer);
    other.hears(preface());
    // Cut anywhere.
    for (const char& byte : frame(NGHTTP2_PRIORITY, 0, stream, u32(parent) + "\x10"))
      other.hears(std::string_view(&byte, 1));
    EXPECT_EQ(other.session->fault(), Http2Fault::kProtocol) << stream;
    EXPECT_THAT(endings_in(other.said()).goaways, ElementsAre(NGHTTP2_PROTOCOL_ERROR));
  }
}

TEST_F(Http2AttackTest, WindowUpdatesEnd) {
  expect_calm(flood(5000, [](int) { return frame(NGHTTP2_WINDOW_UPDATE, 0, 0, u32(1)); }), "window_updates");
}

TEST_F(Http2AttackTest, EmptyDataFramesEnd) {
  server.hears(frame(NGHTTP2_HEADERS, kEndHeaders, 1, request_block("POST")));
  expect_calm(flood(5000, [](int) { return frame(NGHTTP2_DATA, 0, 1); }), "empty_frames");
}

TEST_F(Http2AttackTest, UnknownFramesEnd) {
  expect_calm(flood(5000, [](int) { return frame(0x42, 0, 0, "?"); }), "unknown_frames");
}

TEST_F(Http2AttackTest, ContinuationsEnd) {
  server.hears(frame(NGHTTP2_HEADERS, kEnd, 1, request_block()));
  const Endings endings =
      flood(5000, [](int) { return frame(NGHTTP2_CONTINUATION, 0, 1, literal("x", "y")); });
  expect_calm(endings, "continuations");
}

TEST_F(Http2AttackTest, IndexedReferencesToABigFieldCountWithTheirDecodedSize) {
  // A field of 4,000 bytes into the dynamic table, then one byte for each repetition (CVE-2016-6581).
  std::string block = request_block() + "\x40";
  block += literal("x-big", std::string(3900, 'b')).substr(1);
  block += std::string(12'000, '\xbe');
  server.hears(frame(NGHTTP2_HEADERS, kEndHeaders | kEnd, 1, block));
  expect_calm(endings_in(server.said()), "head_flood");
  EXPECT_LT(server.session->memory_in_use(), 256u * 1024);
}

TEST_F(Http2AttackTest, CookieCrumbsCountWithTheirOverhead) {
  // The crumb is in the table: each repetition is one byte on the wire.
  std::string block = request_block() + "\x40" + literal("cookie", "a").substr(1);
  block += std::string(500, '\xbe');
  send_request(block);
  ASSERT_EQ(server.streams.size(), 1u);
  EXPECT_TRUE(server.stream(0).heads[0].too_large());
  EXPECT_LE(server.stream(0).heads[0].size(), server.limits.max_fields);
}

TEST_F(Http2AttackTest, HeadsThatAreHeldDoNotGrowBeyondTheConnectionsBudget) {
  const std::string big(15'000, 'h');
  for (int i = 0; i < 90; ++i) {
    server.hears(frame(NGHTTP2_HEADERS, kEndHeaders, odd(i), request_block("POST") + literal("x", big)));
    heard += server.said();
  }
  size_t held = 0;
  for (const RecordingStream& stream : server.streams)
    held += stream.attached() ? stream.heads[0].charge() : 0;
  EXPECT_LE(held, server.limits.max_held_head_bytes);
  EXPECT_THAT(endings_in(heard).resets, Contains(NGHTTP2_REFUSED_STREAM));
}

TEST_F(Http2AttackTest, AConnectionEndsBeforeItsMemoryDoes) {
  Http2Limits tight;
  tight.max_library_bytes = 64 * 1024;
  tight.max_concurrent_streams = 10'000;
  Peer small(Http2Session::Role::kServer, tight);
  small.hears(preface());
  for (int i = 0; i < 10'000 && small.session->fault() == Http2Fault::kNoFault; ++i)
    small.hears(frame(NGHTTP2_HEADERS, kEndHeaders, odd(i), request_block("POST")));
  EXPECT_EQ(small.session->fault(), Http2Fault::kMemory);
  EXPECT_LE(small.session->memory_in_use(), tight.max_library_bytes + tight.max_held_head_bytes);
}

TEST_F(Http2AttackTest, WhatIsNoPrefaceIsAProtocolError) {
  Peer other(Http2Session::Role::kServer);
  EXPECT_EQ(other.hears("GET / HTTP/1.1\r\nhost: shop\r\n\r\n"), Http2Fault::kProtocol);
  EXPECT_TRUE(other.session->wants_output());
}

// One malformed request each: it must be reset with PROTOCOL_ERROR and never become a stream.
struct Malformed {
  const char* what;
  std::string block;
  std::string data = {};
};

class Http2MalformedTest : public Http2AttackTest, public ::testing::WithParamInterface<Malformed> {};

TEST_P(Http2MalformedTest, IsResetAndNeverComplete) {
  const Endings endings = send_request(GetParam().block, GetParam().data);
  EXPECT_THAT(endings.goaways, IsEmpty());
  EXPECT_THAT(endings.resets, ElementsAre(NGHTTP2_PROTOCOL_ERROR));
  for (const RecordingStream& stream : server.streams)
    EXPECT_THAT(stream.closed, ElementsAre(Http2StreamEnd::kProtocol));
  // The connection is none the worse.
  EXPECT_THAT(send_request(request_block()).resets, IsEmpty());
}

std::string pseudo(std::string_view method, std::string_view scheme, std::string_view path) {
  std::string block;
  if (!method.empty()) block += literal(":method", method);
  if (!scheme.empty()) block += literal(":scheme", scheme);
  if (!path.empty()) block += literal(":path", path);
  return block + literal(":authority", "shop");
}

INSTANTIATE_TEST_SUITE_P(
    Requests, Http2MalformedTest,
    ::testing::Values(
        Malformed{"no_method", pseudo("", "http", "/")}, Malformed{"no_scheme", pseudo("GET", "", "/")},
        Malformed{"no_path", pseudo("GET", "http", "")},
        Malformed{"two_paths", request_block() + literal(":path", "/b")},
        Malformed{"unknown_pseudo", request_block() + literal(":weft", "x")},
        Malformed{"response_pseudo", request_block() + literal(":status", "200")},
        Malformed{"pseudo_after_field", literal(":method", "GET") + literal("x", "y") +
                                            literal(":scheme", "http") + literal(":path", "/")},
        Malformed{"upper_case_name", request_block() + literal("X-Upper", "y")},
        Malformed{"empty_name", request_block() + literal("", "y")},
        Malformed{"space_in_name", request_block() + literal("x y", "z")},
        Malformed{"colon_in_name", request_block() + literal("x:y", "z")},
        Malformed{"line_break_in_value", request_block() + literal("x", "a\r\nx-smuggled: 1")},
        Malformed{"line_feed_in_value", request_block() + literal("x", "a\nb")},
        Malformed{"nul_in_value", request_block() + literal("x", std::string_view("a\0b", 3))},
        Malformed{"line_break_in_path", pseudo("GET", "http", "/a HTTP/1.1\r\nx: y")},
        Malformed{"space_in_method", pseudo("GET /x", "http", "/")},
        Malformed{"path_without_slash", pseudo("GET", "http", "a")},
        Malformed{"connection", request_block() + literal("connection", "close")},
        Malformed{"keep_alive", request_block() + literal("keep-alive", "1")},
        Malformed{"proxy_connection", request_block() + literal("proxy-connection", "close")},
        Malformed{"transfer_encoding", request_block() + literal("transfer-encoding", "chunked")},
        Malformed{"upgrade", request_block() + literal("upgrade", "websocket")},
        Malformed{"te_not_trailers", request_block() + literal("te", "gzip")},
        Malformed{"length_beyond_body", request_block("POST") + literal("content-length", "9"), "abc"},
        Malformed{"body_beyond_length", request_block("POST") + literal("content-length", "1"), "abc"},
        Malformed{"length_without_body", request_block("POST") + literal("content-length", "3")},
        Malformed{"two_lengths",
                  request_block("POST") + literal("content-length", "3") + literal("content-length", "3"),
                  "abc"},
        Malformed{"bad_length", request_block("POST") + literal("content-length", "+3"), "abc"}),
    [](const auto& each) { return std::string(each.param.what); });

TEST_F(Http2AttackTest, APushFromAServerIsAProtocolError) {
  Peer client(Http2Session::Role::kClient);
  RecordingStream request;
  ASSERT_TRUE(client.session->send_request(request, request_fields(), true));
  client.said();
  client.hears(frame(NGHTTP2_SETTINGS, 0, 0) + frame(NGHTTP2_SETTINGS, NGHTTP2_FLAG_ACK, 0) +
               frame(NGHTTP2_PUSH_PROMISE, kEndHeaders, 1, u32(2) + request_block()));
  EXPECT_THAT(endings_in(client.said()).goaways, ElementsAre(NGHTTP2_PROTOCOL_ERROR));
  EXPECT_EQ(client.session->fault(), Http2Fault::kProtocol);
}

TEST_F(Http2AttackTest, APushThatCrossesOurSettingsIsClosedAndGivesNoStream) {
  Peer client(Http2Session::Role::kClient);
  RecordingStream request;
  ASSERT_TRUE(client.session->send_request(request, request_fields(), true));
  client.said();
  client.hears(frame(NGHTTP2_SETTINGS, 0, 0) +
               frame(NGHTTP2_PUSH_PROMISE, kEndHeaders, 1, u32(2) + request_block()));
  EXPECT_EQ(endings_in(client.said()).resets.size(), 1u);
  EXPECT_THAT(client.streams, IsEmpty());
  EXPECT_THAT(request.closed, IsEmpty());
}

TEST_F(Http2AttackTest, AResponseThatBreaksItsLengthIsAProtocolErrorOfItsStream) {
  Peer client(Http2Session::Role::kClient);
  RecordingStream request;
  ASSERT_TRUE(client.session->send_request(request, request_fields(), true));
  client.said();
  client.hears(
      frame(NGHTTP2_SETTINGS, 0, 0) +
      frame(NGHTTP2_HEADERS, kEndHeaders, 1, literal(":status", "200") + literal("content-length", "9")) +
      frame(NGHTTP2_DATA, kEnd, 1, "short"));
  EXPECT_THAT(endings_in(client.said()).resets, ElementsAre(NGHTTP2_PROTOCOL_ERROR));
  EXPECT_THAT(request.closed, ElementsAre(Http2StreamEnd::kProtocol));
  EXPECT_FALSE(request.ended);
}

TEST_F(Http2AttackTest, BytesOneByOneMeanTheSame) {
  Peer slow(Http2Session::Role::kServer);
  const std::string bytes = preface() + frame(NGHTTP2_HEADERS, kEndHeaders, 1, request_block("POST")) +
                            frame(NGHTTP2_DATA, kEnd, 1, "payload");
  for (const char& byte : bytes) ASSERT_EQ(slow.hears(std::string_view(&byte, 1)), Http2Fault::kNoFault);
  ASSERT_EQ(slow.streams.size(), 1u);
  EXPECT_EQ(slow.stream(0).body, "payload");
  EXPECT_TRUE(slow.stream(0).ended);
}

}  // namespace
}  // namespace weft::proxy
