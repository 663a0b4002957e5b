// Each known attack on HTTP/2 with what it may cost at most: frames taken before the connection ends, frames
// answered, bytes held for each byte received.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/proxy-engine/http2_peers.h"

namespace weft::proxy {
namespace {

using ::testing::ElementsAre;

constexpr uint32_t kHuge = 0x7fffffff;

uint32_t odd(size_t i) { return static_cast<uint32_t>(2 * i + 1); }

// An attacker's connection: counts what it sent and what it got for it.
class Attacker {
 public:
  explicit Attacker(const Http2Limits& limits = Http2Limits()) : server(Http2Session::Role::kServer, limits) {
    send(preface());
  }
  // False: the session has had enough.
  bool send(std::string_view bytes) {
    sent_bytes += bytes.size();
    server.hears(bytes);
    heard += server.said();
    return server.session->fault() == Http2Fault::kNoFault;
  }
  // Sends what `make` makes until the session has had enough; how often that was.
  template <typename Make>
  size_t flood(Make make) {
    constexpr size_t kMost = 20'000;
    size_t count = 0;
    while (count < kMost && send(make(count++))) continue;
    return count;
  }
  Endings endings() const { return endings_in(heard); }

  Peer server;
  size_t sent_bytes = 0;
  std::string heard;
};

std::string whole_request(size_t i) {
  return frame(NGHTTP2_HEADERS, kEndHeaders | kEnd, odd(i), request_block());
}
std::string open_request(size_t i) {
  return frame(NGHTTP2_HEADERS, kEndHeaders, odd(i), request_block("POST"));
}

// Ways to make a server reset a stream that the client opened (CVE-2025-8671).
struct Trigger {
  const char* name;
  std::function<std::string(size_t)> frames;
};

class MadeYouResetTest : public ::testing::TestWithParam<Trigger> {};

TEST_P(MadeYouResetTest, EndsAfterABoundedNumberOfStreams) {
  Attacker attacker;
  const size_t rounds = attacker.flood(GetParam().frames);
  const Http2Limits limits;
  EXPECT_NE(attacker.server.session->fault(), Http2Fault::kNoFault);
  EXPECT_EQ(attacker.endings().goaways.size(), 1u);
  EXPECT_LE(rounds, limits.provoked_resets.burst + 2);
  EXPECT_LE(attacker.server.streams.size(), limits.provoked_resets.burst + 2);
  EXPECT_TRUE(attacker.server.session->done());
}

INSTANTIATE_TEST_SUITE_P(
    Triggers, MadeYouResetTest,
    ::testing::Values(
        Trigger{"increment_of_zero",
                [](size_t i) { return open_request(i) + frame(NGHTTP2_WINDOW_UPDATE, 0, odd(i), u32(0)); }},
        Trigger{
            "window_overflow",
            [](size_t i) { return open_request(i) + frame(NGHTTP2_WINDOW_UPDATE, 0, odd(i), u32(kHuge)); }},
        Trigger{"data_after_the_end",
                [](size_t i) { return whole_request(i) + frame(NGHTTP2_DATA, 0, odd(i), "more"); }},
        Trigger{"head_after_the_end",
                [](size_t i) {
                  return whole_request(i) + frame(NGHTTP2_HEADERS, kEndHeaders, odd(i), request_block());
                }},
        Trigger{"priority_of_a_wrong_length",
                [](size_t i) { return open_request(i) + frame(NGHTTP2_PRIORITY, 0, odd(i), "four"); }},
        Trigger{"priority_on_itself",
                [](size_t i) {
                  return open_request(i) + frame(NGHTTP2_PRIORITY, 0, odd(i), u32(odd(i)) + "\x10");
                }}),
    [](const auto& each) { return std::string(each.param.name); });

// Floods of one kind of frame: the fault, and the most frames that are taken.
struct Flood {
  const char* fault;
  size_t most;
  std::function<std::string(size_t)> frames;
  bool on_a_stream = false;
};

class FloodTest : public ::testing::TestWithParam<Flood> {};

TEST_P(FloodTest, EndsAfterABoundedNumberOfFrames) {
  Attacker attacker;
  if (GetParam().on_a_stream) attacker.send(open_request(0));
  const size_t frames = attacker.flood(GetParam().frames);
  EXPECT_EQ(label(attacker.server.session->fault()), GetParam().fault);
  EXPECT_LE(frames, GetParam().most);
  EXPECT_THAT(attacker.endings().goaways, ElementsAre(NGHTTP2_ENHANCE_YOUR_CALM));
  EXPECT_EQ(attacker.endings().goaway_text, GetParam().fault);
  // It is not told more than it said.
  EXPECT_LE(attacker.heard.size(), attacker.sent_bytes + 256);
}

INSTANTIATE_TEST_SUITE_P(
    Kinds, FloodTest,
    ::testing::Values(
        Flood{"resets", 501,
              [](size_t i) {
                return whole_request(i) + frame(NGHTTP2_RST_STREAM, 0, odd(i), u32(NGHTTP2_CANCEL));
              }},
        Flood{"pings", 501, [](size_t) { return frame(NGHTTP2_PING, 0, 0, "12345678"); }},
        Flood{"settings", 51, [](size_t) { return frame(NGHTTP2_SETTINGS, 0, 0); }},
        Flood{"priorities", 201, [](size_t) { return frame(NGHTTP2_PRIORITY, 0, 1, u32(0) + "\x10"); }},
        Flood{"window_updates", 501, [](size_t) { return frame(NGHTTP2_WINDOW_UPDATE, 0, 0, u32(1)); }},
        Flood{"empty_frames", 21, [](size_t) { return frame(NGHTTP2_DATA, 0, 1); }, true},
        Flood{"unknown_frames", 101, [](size_t) { return frame(0x42, 0, 0, "?"); }},
        Flood{"continuations", 10,
              [](size_t i) {
                return i == 0 ? frame(NGHTTP2_HEADERS, kEnd, 1, request_block())
                              : frame(NGHTTP2_CONTINUATION, 0, 1, literal("x", "y"));
              }}),
    [](const auto& each) { return std::string(each.param.fault); });

TEST(Http2FloodTest, AWindowOfOneByteDoesNotMakeManyFrames) {
  Attacker attacker;
  attacker.send(frame(NGHTTP2_SETTINGS, 0, 0, std::string("\0\x4", 2) + u32(1)) + whole_request(0));
  const std::string body(20'000, 'b');
  const iovec pieces[] = {piece(body)};
  ASSERT_TRUE(attacker.server.session->send_response(attacker.server.stream(0), response_fields(), false));
  attacker.server.session->offer(attacker.server.stream(0), pieces, true, {});
  const size_t rounds = attacker.flood([](size_t) { return frame(NGHTTP2_WINDOW_UPDATE, 0, 1, u32(1)); });
  EXPECT_EQ(label(attacker.server.session->fault()), "tiny_windows");
  EXPECT_LE(rounds, Http2Limits().tiny_windows.burst + 1);
}

TEST(Http2FloodTest, WindowsThatAreSmallButUsableAreFine) {
  Attacker attacker;
  attacker.send(frame(NGHTTP2_SETTINGS, 0, 0, std::string("\0\x4", 2) + u32(256)) + whole_request(0));
  const std::string body(100'000, 'b');
  const iovec pieces[] = {piece(body)};
  ASSERT_TRUE(attacker.server.session->send_response(attacker.server.stream(0), response_fields(), false));
  attacker.server.session->offer(attacker.server.stream(0), pieces, true, {});
  for (int i = 0; i < 500; ++i) {
    attacker.send(frame(NGHTTP2_WINDOW_UPDATE, 0, 1, u32(200)) +
                  frame(NGHTTP2_WINDOW_UPDATE, 0, 0, u32(200)));
  }
  EXPECT_EQ(attacker.server.session->fault(), Http2Fault::kNoFault);
  EXPECT_EQ(attacker.server.stream(0).taken, 1);
}

TEST(Http2FloodTest, WhatIsLeftOfAWindowAfterFullFramesMayBeSmall) {
  constexpr size_t kFullFrame = 16'384, kRest = 30, kRounds = 400;
  Attacker client;
  client.send(whole_request(0));
  const std::string body((kRounds + 8) * (kFullFrame + kRest), 'b');
  const iovec pieces[] = {piece(body)};
  ASSERT_TRUE(client.server.session->send_response(client.server.stream(0), response_fields(), false));
  client.server.session->offer(client.server.stream(0), pieces, true, {});
  for (size_t i = 0; i < kRounds; ++i) {
    const std::string credit = u32(kFullFrame + kRest);
    ASSERT_TRUE(
        client.send(frame(NGHTTP2_WINDOW_UPDATE, 0, 1, credit) + frame(NGHTTP2_WINDOW_UPDATE, 0, 0, credit)));
  }
  EXPECT_GT(client.heard.size(), kRounds * kFullFrame);
}

TEST(Http2FloodTest, PayloadThatComesByteByByteIsHeldOnlyUpToTheWindow) {
  Attacker attacker;
  // Our settings count from their acknowledgement on.
  attacker.send(frame(NGHTTP2_SETTINGS, NGHTTP2_FLAG_ACK, 0) + open_request(0));
  const uint32_t window = attacker.server.limits.stream_window_bytes;
  for (uint32_t i = 0; i < window; ++i) ASSERT_TRUE(attacker.send(frame(NGHTTP2_DATA, 0, 1, "b")));
  EXPECT_EQ(attacker.server.stream(0).body.size(), window);
  // Nobody accepted it, so there is no credit.
  EXPECT_FALSE(attacker.send(frame(NGHTTP2_DATA, 0, 1, "b")) && attacker.server.stream(0).closed.empty());
  // The library tells the frame that breaks the window before it judges it.
  EXPECT_LE(attacker.server.stream(0).body.size(), window + 1);
}

// A field in the table, then a byte for each repetition; cookies in crumbs; no window, so that nothing ends.
std::string bomb(size_t i, std::string_view name, size_t value_bytes, size_t references) {
  std::string block = request_block("POST");
  if (i == 0) block += "\x40" + literal(name, std::string(value_bytes, 'v')).substr(1);
  block += std::string(references, '\xbe');
  return frame(NGHTTP2_HEADERS, kEndHeaders, odd(i), block);
}

TEST(Http2FloodTest, ABombOfIndexedFieldsHoldsNoMoreThanOneConnectionGets) {
  for (const auto& [name, value_bytes, references] :
       {std::tuple{"x-big", 3900, 15}, std::tuple{"cookie", 3900, 15}, std::tuple{"cookie", 1, 110}}) {
    Attacker attacker;
    attacker.send(frame(NGHTTP2_SETTINGS, 0, 0, std::string("\0\x4", 2) + u32(0)));
    attacker.flood([&](size_t i) {
      return i < 100 ? bomb(i, name, static_cast<size_t>(value_bytes), static_cast<size_t>(references))
                     : std::string();
    });
    const Http2Limits limits;
    EXPECT_LE(attacker.server.session->held_head_bytes(), limits.max_held_head_bytes);
    EXPECT_LE(attacker.server.session->memory_in_use(),
              limits.max_held_head_bytes + limits.max_library_bytes);
  }
}

TEST(Http2FloodTest, AHeadFarBeyondItsLimitEndsTheConnectionWithoutBeingKept) {
  Attacker attacker;
  attacker.send(bomb(0, "x-big", 3900, 12'000));
  EXPECT_EQ(label(attacker.server.session->fault()), "head_flood");
  EXPECT_TRUE(attacker.server.streams.empty());
  EXPECT_LE(attacker.server.session->memory_in_use(), 64u * 1024);
}

}  // namespace
}  // namespace weft::proxy
