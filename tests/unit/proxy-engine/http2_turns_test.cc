// What a client of HTTP/2 that asks for much at once takes of the worker: its pod's share of each turn, and
// nothing of the service for what it took back at once.
#include <gtest/gtest.h>
#include <poll.h>

#include <algorithm>

#include "tests/unit/proxy-engine/http2_peers.h"
#include "tests/unit/proxy-engine/turned_rig.h"

namespace weft::proxy {
namespace {

std::string ask_and_take_back(int count) {
  std::string out = preface();
  for (int i = 0; i < count; ++i) {
    const auto id = static_cast<uint32_t>(2 * i + 1);
    out += frame(NGHTTP2_HEADERS, kEndHeaders | kEnd, id, request_block()) +
           frame(NGHTTP2_RST_STREAM, 0, id, u32(NGHTTP2_CANCEL));
  }
  return out;
}

// Turns until so many exchanges have ended; how many of them did in one turn at most.
size_t most_in_a_turn(TurnedRig& rig, size_t wanted) {
  size_t most = 0, before = rig.sink().count();
  EXPECT_TRUE(rig.turn_until([&] {
    const size_t now = rig.sink().count();
    most = std::max(most, now - before);
    before = now;
    return now == wanted;
  }));
  return most;
}

TEST(Http2TurnsTest, ARequestThatIsTakenBackInTheSameBreathDialsNobody) {
  TurnedRig rig;
  FarEnd client = rig.connect();
  ASSERT_TRUE(rig.give(client, ask_and_take_back(1)));
  ASSERT_TRUE(rig.turn_until([&] { return rig.sink().count() == 1; }));
  EXPECT_EQ(rig.sink().wait(1).at(0).outcome, Outcome::kDownstreamReset);
  pollfd service{.fd = rig.service(), .events = POLLIN, .revents = 0};
  EXPECT_EQ(poll(&service, 1, 0), 0) << "somebody was dialled";
  // One that stays is served.
  ASSERT_TRUE(rig.give(client, frame(NGHTTP2_HEADERS, kEndHeaders | kEnd, 3, request_block())));
  FarEnd server = rig.accept_upstream();
  EXPECT_TRUE(rig.turn_until([&] { return server.has("PRI * HTTP/2.0"); }));
  EXPECT_EQ(rig.pool().open(), 1u);
}

// An increment that overflows the stream's window (CVE-2025-8671 uses that).
TEST(Http2TurnsTest, ARequestThatBreaksTheRulesInTheSameBreathDialsNobody) {
  TurnedRig rig;
  FarEnd client = rig.connect();
  ASSERT_TRUE(rig.give(client, preface() + frame(NGHTTP2_HEADERS, kEndHeaders, 1, request_block("POST")) +
                                   frame(NGHTTP2_WINDOW_UPDATE, 0, 1, u32(0x7fffffff))));
  ASSERT_TRUE(rig.turn_until([&] { return rig.sink().count() == 1; }));
  EXPECT_EQ(rig.sink().wait(1).at(0).outcome, Outcome::kBadRequest);
  pollfd service{.fd = rig.service(), .events = POLLIN, .revents = 0};
  EXPECT_EQ(poll(&service, 1, 0), 0) << "somebody was dialled";
}

TEST(Http2TurnsTest, ManyRequestsOfOnePodAreBegunInItsShareOfEachTurn) {
  constexpr size_t kRequests = 400;
  TurnedRig rig;
  FarEnd client = rig.connect();
  const std::string bytes = ask_and_take_back(kRequests);
  ASSERT_EQ(client.send(bytes), bytes.size());
  const size_t most = most_in_a_turn(rig, kRequests);
  EXPECT_LT(most, kRequests / 4);
}

// A byte each for fields of nearly 4 KiB (CVE-2026-47774).
TEST(Http2TurnsTest, WhatHeadsAreDecodedToCountsAgainstTheShareOfATurn) {
  constexpr size_t kRequests = 10;
  TurnedRig rig;
  FarEnd client = rig.connect();
  std::string bytes = preface();
  for (size_t i = 0; i < kRequests; ++i) {
    const auto id = static_cast<uint32_t>(2 * i + 1);
    std::string block = request_block();
    if (i == 0) block += std::string(1, '\x40') + literal("x-big", std::string(3'900, 'v')).substr(1);
    block += std::string(i == 0 ? 4 : 5, '\xbe');
    bytes += frame(NGHTTP2_HEADERS, kEndHeaders | kEnd, id, block) +
             frame(NGHTTP2_RST_STREAM, 0, id, u32(NGHTTP2_CANCEL));
  }
  ASSERT_EQ(client.send(bytes), bytes.size());
  const size_t most = most_in_a_turn(rig, kRequests);
  EXPECT_EQ(most, 1u) << "20 KiB are more than a share";
}

// DATA frames of one byte (CVE-2019-9511): their payload alone would be a small part of a share.
TEST(Http2TurnsTest, FramesOfAByteCountAsWhatTheyCost) {
  constexpr size_t kFrames = 4'000;
  TurnedRig rig;
  FarEnd client = rig.connect();
  ASSERT_TRUE(rig.give(client, preface() + frame(NGHTTP2_HEADERS, kEndHeaders, 1, request_block("POST"))));
  FarEnd server = rig.accept_upstream();
  std::string bytes;
  for (size_t i = 0; i < kFrames; ++i) bytes += frame(NGHTTP2_DATA, 0, 1, "x");
  ASSERT_EQ(client.send(bytes), bytes.size());
  Peer peer(Http2Session::Role::kServer);
  size_t turns = 0, heard = 0;
  EXPECT_TRUE(rig.turn_until([&] {
    const std::string& all = server.received();
    turns += all.size() > heard ? 1 : 0;
    peer.hears(std::string_view(all).substr(heard));
    heard = all.size();
    return !peer.streams.empty() && peer.stream(0).body.size() == kFrames;
  }));
  EXPECT_GE(turns, kFrames * 512 / FairShare::kQuantum / 2) << "its pod went on beyond its share";
}

TEST(Http2TurnsTest, TheExchangesOfAClientThatLeavesEndOneInATurn) {
  constexpr size_t kRequests = 20;
  TurnedRig::Setup setup;
  setup.upstream.max_streams = 1;
  TurnedRig rig(setup);
  FarEnd client = rig.connect();
  std::string bytes = preface();
  for (size_t i = 0; i < kRequests; ++i)
    bytes += frame(NGHTTP2_HEADERS, kEndHeaders | kEnd, static_cast<uint32_t>(2 * i + 1), request_block());
  ASSERT_TRUE(rig.give(client, bytes));
  std::vector<FarEnd> servers;
  for (size_t i = 0; i < kRequests; ++i) servers.push_back(rig.accept_upstream());
  ASSERT_TRUE(rig.turn_until([&] { return rig.pool().open() == kRequests; }));
  client.reset();
  const size_t most = most_in_a_turn(rig, kRequests);
  EXPECT_EQ(most, 1u);
  EXPECT_TRUE(rig.turn_until([&] { return rig.connections() == 0; }));
  for (size_t i = 0; i < kRequests; ++i)
    EXPECT_EQ(rig.sink().wait(kRequests).at(i).outcome, Outcome::kDownstreamReset);
}

TEST(Http2TurnsTest, AClientThatAsksAndLeavesInTheSameBreathDialsNobody) {
  constexpr size_t kRequests = 10;
  TurnedRig rig;
  FarEnd client = rig.connect();
  std::string bytes = preface();
  for (size_t i = 0; i < kRequests; ++i)
    bytes += frame(NGHTTP2_HEADERS, kEndHeaders | kEnd, static_cast<uint32_t>(2 * i + 1), request_block());
  ASSERT_EQ(client.send(bytes), bytes.size());
  client.finish_sending();
  most_in_a_turn(rig, kRequests);
  pollfd service{.fd = rig.service(), .events = POLLIN, .revents = 0};
  EXPECT_EQ(poll(&service, 1, 0), 0) << "somebody was dialled";
}

}  // namespace
}  // namespace weft::proxy
