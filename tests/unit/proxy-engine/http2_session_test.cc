// Http2Session against itself: what a client session sends a server session hears, and the other way round.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/proxy-engine/http2_peers.h"

namespace weft::proxy {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class Http2SessionTest : public ::testing::Test {
 protected:
  Peer client{Http2Session::Role::kClient};
  Peer server{Http2Session::Role::kServer};
  RecordingStream request;

  RecordingStream& open(const Http2Fields& fields, bool last) {
    EXPECT_TRUE(client.session->send_request(request, fields, last));
    talk(client, server);
    return server.streams.back();
  }
};

TEST_F(Http2SessionTest, ARequestAndItsResponseArriveWholeAndBothSidesKnowThatTheyAreComplete) {
  RecordingStream& served = open(request_fields("GET", "/a?b"), true);
  EXPECT_EQ(served.field(0, ":path"), "/a?b");
  EXPECT_TRUE(served.ended);
  EXPECT_TRUE(server.session->send_response(served, response_fields(), false));
  const iovec body[] = {piece("hello "), piece("world")};
  server.session->offer(served, body, true, {});
  talk(client, server);
  EXPECT_EQ(request.field(0, ":status"), "200");
  EXPECT_EQ(request.body, "hello world");
  EXPECT_TRUE(request.ended);
  EXPECT_EQ(served.taken, 1);
  EXPECT_THAT(request.closed, ElementsAre(Http2StreamEnd::kComplete));
  EXPECT_THAT(served.closed, ElementsAre(Http2StreamEnd::kComplete));
  EXPECT_EQ(server.session->open_streams(), 0u);
}

// A name of one byte that the table expands to much (RFC 7541 §2.3.2).
TEST(Http2PauseTest, ALookEndsWhenItDecodedEnoughAndGoesOnWhereItEnded) {
  Http2Limits limits;
  limits.decoded_at_once = 4'000;
  limits.empty_frames = {1, 0};
  Peer server(Http2Session::Role::kServer, limits);
  const std::string block = request_block() + std::string(1, '\x40') +
                            literal("x-big", std::string(1'000, 'v')).substr(1) + std::string(15, '\xbe');
  std::string bytes =
      preface() + frame(NGHTTP2_HEADERS, kEndHeaders | kEnd, 1, block) + frame(NGHTTP2_DATA, 0, 1);
  int looks = 0;
  size_t decoded = 0;
  while ((!bytes.empty() || server.session->paused()) && looks < 100) {
    ASSERT_EQ(server.hears(bytes), Http2Fault::kNoFault) << "a frame was counted twice";
    bytes.erase(0, server.session->taken());
    const size_t now = server.session->decoded_head_bytes();
    EXPECT_LE(now - decoded, limits.decoded_at_once + 1'100);
    decoded = now;
    ++looks;
  }
  EXPECT_GE(looks, 4);
  EXPECT_GT(decoded, 16'000u);
  ASSERT_EQ(server.streams.size(), 1u);
  EXPECT_EQ(server.stream(0).field(0, "x-big").size(), 1'000u);
  EXPECT_EQ(server.stream(0).heads[0].size(), 20u);
  EXPECT_EQ(server.session->frames(), 3u);
}

// The last field of a head may be the one that is too much: nothing is left to give, but its end to look at.
TEST(Http2PauseTest, AHeadThatEndsWithTheBytesIsWholeAfterALookAtNothing) {
  Http2Limits limits;
  limits.decoded_at_once = 1;
  Peer server(Http2Session::Role::kServer, limits);
  std::string bytes = preface() + frame(NGHTTP2_HEADERS, kEndHeaders | kEnd, 1, request_block());
  for (int i = 0; i < 20 && !bytes.empty(); ++i) {
    ASSERT_EQ(server.hears(bytes), Http2Fault::kNoFault);
    bytes.erase(0, server.session->taken());
  }
  ASSERT_TRUE(bytes.empty());
  ASSERT_TRUE(server.session->paused());
  EXPECT_TRUE(server.streams.empty());
  ASSERT_EQ(server.hears({}), Http2Fault::kNoFault);
  EXPECT_FALSE(server.session->paused());
  ASSERT_EQ(server.streams.size(), 1u);
  EXPECT_TRUE(server.stream(0).ended);
}

TEST_F(Http2SessionTest, InterimHeadsComeBeforeTheFinalOne) {
  RecordingStream& served = open(request_fields(), true);
  EXPECT_TRUE(server.session->send_interim(served, response_fields("103")));
  talk(client, server);
  EXPECT_TRUE(server.session->send_response(served, response_fields("204"), true));
  talk(client, server);
  ASSERT_EQ(request.heads.size(), 2u);
  EXPECT_EQ(request.field(0, ":status"), "103");
  EXPECT_EQ(request.field(1, ":status"), "204");
}

TEST_F(Http2SessionTest, TrailersFollowABodyInBothDirections) {
  RecordingStream& served = open(request_fields("POST"), false);
  const std::vector<Header> up = {{"X-Sum", "7"}, {"content-length", "9"}};
  const iovec body[] = {piece("abc")};
  client.session->offer(request, body, true, up);
  talk(client, server);
  EXPECT_EQ(served.body, "abc");
  EXPECT_EQ(served.trailers, "x-sum=7;");
  const std::vector<Header> down = {{"grpc-status", "0"}};
  EXPECT_TRUE(server.session->send_response(served, response_fields(), false));
  server.session->offer(served, {}, true, down);
  talk(client, server);
  EXPECT_EQ(request.trailers, "grpc-status=0;");
  EXPECT_EQ(served.taken, 1);
  EXPECT_THAT(request.closed, ElementsAre(Http2StreamEnd::kComplete));
}

TEST_F(Http2SessionTest, ABodyInManyOffersArrivesInOrder) {
  RecordingStream& served = open(request_fields("POST"), false);
  std::string expected;
  for (int i = 0; i < 50; ++i) {
    const std::string part(1000 + static_cast<size_t>(i), static_cast<char>('a' + i % 26));
    const iovec body[] = {piece(part)};
    client.session->offer(request, body, i == 49, {});
    talk(client, server);
    expected += part;
  }
  EXPECT_EQ(served.body, expected);
  EXPECT_EQ(request.taken, 50);
  EXPECT_TRUE(served.ended);
}

TEST_F(Http2SessionTest, PayloadStopsAtTheWindowUntilTheReceiverAcceptedIt) {
  RecordingStream& served = open(request_fields("POST"), false);
  const std::string big(3 * server.limits.stream_window_bytes, 'x');
  const iovec body[] = {piece(big)};
  client.session->offer(request, body, true, {});
  talk(client, server);
  EXPECT_EQ(served.body.size(), server.limits.stream_window_bytes);
  EXPECT_EQ(request.taken, 0);
  while (served.body.size() < big.size()) {
    const size_t before = served.body.size();
    server.session->accepted(served, server.limits.stream_window_bytes);
    talk(client, server);
    ASSERT_GT(served.body.size(), before);
  }
  EXPECT_EQ(request.taken, 1);
  EXPECT_TRUE(served.ended);
}

TEST_F(Http2SessionTest, AReceiverThatNeverAcceptsHoldsNoMoreThanTheConnectionsWindow) {
  const std::string big(4 * server.limits.connection_window_bytes, 'x');
  const iovec body[] = {piece(big)};
  std::deque<RecordingStream> requests(64);
  for (RecordingStream& each : requests) {
    ASSERT_TRUE(client.session->send_request(each, request_fields("POST"), false));
    client.session->offer(each, body, true, {});
  }
  talk(client, server);
  size_t held = 0;
  for (const RecordingStream& served : server.streams) held += served.body.size();
  EXPECT_LE(held, server.limits.connection_window_bytes);
}

TEST_F(Http2SessionTest, AForgottenStreamGivesItsShareOfTheConnectionsWindowBack) {
  const std::string big(server.limits.stream_window_bytes, 'x');
  const iovec body[] = {piece(big)};
  for (int i = 0; i < 50; ++i) {
    auto each = std::make_unique<RecordingStream>();
    ASSERT_TRUE(client.session->send_request(*each, request_fields("POST"), false));
    client.session->offer(*each, body, false, {});
    talk(client, server);
    ASSERT_EQ(server.streams.back().body.size(), big.size()) << "stream " << i;
    server.session->detach(server.streams.back());
    talk(client, server);
    EXPECT_THAT(each->closed, ElementsAre(Http2StreamEnd::kCancelled));
  }
}

TEST_F(Http2SessionTest, AnAnswerBeforeTheEndOfItsRequestArrivesWholeAndThenAsksForNoMore) {
  RecordingStream& served = open(request_fields("POST"), false);
  const std::string text = "enough";
  const iovec body[] = {piece(text)};
  const std::vector<Header> trailers = {{"grpc-status", "8"}};
  // All of it in one batch, and then the stream is forgotten.
  server.session->send_response(served, response_fields(), false);
  server.session->offer(served, body, true, trailers);
  std::string said = server.said();
  server.session->detach(served);
  said += server.said();
  EXPECT_THAT(endings_in(said).resets, ElementsAre(NGHTTP2_NO_ERROR));
  client.hears(said);
  EXPECT_EQ(request.body, text);
  EXPECT_EQ(request.trailers, "grpc-status=8;");
  EXPECT_THAT(request.closed, ElementsAre(Http2StreamEnd::kComplete));
}

TEST_F(Http2SessionTest, AnAnswerThatIsOnlyAHeadIsNotLostToItsReset) {
  RecordingStream& served = open(request_fields("POST"), false);
  server.session->send_response(served, response_fields("429"), true);
  server.session->detach(served);
  client.hears(server.said());
  ASSERT_EQ(request.heads.size(), 1u);
  EXPECT_EQ(request.field(0, ":status"), "429");
  EXPECT_THAT(request.closed, ElementsAre(Http2StreamEnd::kComplete));
}

TEST_F(Http2SessionTest, AResetReachesTheOtherSideWithItsMeaning) {
  RecordingStream& served = open(request_fields("POST"), false);
  server.session->reset(served, NGHTTP2_REFUSED_STREAM);
  talk(client, server);
  EXPECT_THAT(request.closed, ElementsAre(Http2StreamEnd::kRefused));
  RecordingStream second;
  ASSERT_TRUE(client.session->send_request(second, request_fields(), true));
  talk(client, server);
  client.session->reset(second, NGHTTP2_CANCEL);
  talk(client, server);
  EXPECT_THAT(server.streams.back().closed, ElementsAre(Http2StreamEnd::kCancelled));
  EXPECT_EQ(server.session->fault(), Http2Fault::kNoFault);
}

TEST_F(Http2SessionTest, AStreamObjectThatGoesAwayCancelsItsStream) {
  {
    RecordingStream gone;
    ASSERT_TRUE(client.session->send_request(gone, request_fields("POST"), false));
    talk(client, server);
  }
  talk(client, server);
  EXPECT_THAT(server.streams.back().closed, ElementsAre(Http2StreamEnd::kCancelled));
  EXPECT_EQ(client.session->open_streams(), 0u);
}

TEST_F(Http2SessionTest, ASessionThatEndsTellsItsOpenStreams) {
  RecordingStream& served = open(request_fields("POST"), false);
  server.session.reset();
  EXPECT_THAT(served.closed, ElementsAre(Http2StreamEnd::kConnectionLost));
  EXPECT_FALSE(served.attached());
}

TEST_F(Http2SessionTest, AStreamThatItsOwnerRefusesIsSafeToRepeat) {
  server.refusing = true;
  ASSERT_TRUE(client.session->send_request(request, request_fields("POST"), false));
  talk(client, server);
  EXPECT_THAT(request.closed, ElementsAre(Http2StreamEnd::kRefused));
}

TEST_F(Http2SessionTest, AGracefulEndLetsOpenStreamsFinishAndLosesNoneThatWereUnderWay) {
  RecordingStream& served = open(request_fields(), true);
  server.session->begin_shutdown();
  // The client has not heard of it yet.
  RecordingStream crossing;
  ASSERT_TRUE(client.session->send_request(crossing, request_fields(), true));
  talk(client, server);
  EXPECT_GE(client.goaways, 1);
  EXPECT_FALSE(client.session->can_open_stream());
  RecordingStream late;
  EXPECT_FALSE(client.session->send_request(late, request_fields(), true));
  ASSERT_EQ(server.streams.size(), 2u);
  EXPECT_FALSE(server.session->done());
  EXPECT_TRUE(server.session->send_response(served, response_fields(), true));
  EXPECT_TRUE(server.session->send_response(server.streams[1], response_fields(), true));
  talk(client, server);
  EXPECT_THAT(request.closed, ElementsAre(Http2StreamEnd::kComplete));
  EXPECT_THAT(crossing.closed, ElementsAre(Http2StreamEnd::kComplete));
  EXPECT_TRUE(server.session->done());
  EXPECT_TRUE(client.session->done());
}

TEST_F(Http2SessionTest, StreamsAboveTheLastOneOfAGoawayAreToldThatTheyWereNotProcessed) {
  talk(client, server);
  ASSERT_TRUE(client.session->send_request(request, request_fields("POST"), false));
  client.said();
  client.hears(frame(NGHTTP2_GOAWAY, 0, 0, u32(0) + u32(NGHTTP2_NO_ERROR)));
  EXPECT_THAT(request.closed, ElementsAre(Http2StreamEnd::kRefused));
}

TEST_F(Http2SessionTest, AClientOpensNoMoreStreamsThanTheServerAllows) {
  Http2Limits narrow;
  narrow.max_concurrent_streams = 2;
  Peer small(Http2Session::Role::kServer, narrow);
  talk(client, small);
  EXPECT_EQ(client.session->peer_max_streams(), 2u);
  RecordingStream first, second, third;
  EXPECT_TRUE(client.session->send_request(first, request_fields(), true));
  EXPECT_TRUE(client.session->send_request(second, request_fields(), true));
  EXPECT_FALSE(client.session->send_request(third, request_fields(), true));
  talk(client, small);
  EXPECT_TRUE(small.session->send_response(small.streams[0], response_fields(), true));
  talk(client, small);
  EXPECT_TRUE(client.session->send_request(third, request_fields(), true));
}

TEST_F(Http2SessionTest, APingIsAnswered) {
  client.session->send_ping();
  talk(client, server);
  EXPECT_EQ(client.pongs, 1);
}

TEST_F(Http2SessionTest, LargePayloadIsReferredToAndSmallPayloadCopied) {
  RecordingStream& served = open(request_fields(), true);
  ASSERT_TRUE(server.session->send_response(served, response_fields(), false));
  const std::string small(100, 's');
  const std::string large(8000, 'l');
  const iovec body[] = {piece(small), piece(large)};
  server.session->offer(served, body, true, {});
  Http2Output out(1000);
  server.session->output(server.now, &out);
  EXPECT_TRUE(out.refers_to_payload());
  bool large_is_in_place = false;
  for (const iovec& each : out.pieces()) {
    large_is_in_place = large_is_in_place || each.iov_base == large.data();
    EXPECT_NE(each.iov_base, static_cast<const void*>(small.data()));
  }
  EXPECT_TRUE(large_is_in_place);
}

TEST_F(Http2SessionTest, ManyStreamsWithManyPiecesNeverNeedMorePiecesThanOneWritevTakes) {
  const std::string part(3000, 'p');
  std::vector<iovec> body(30, piece(part));
  std::deque<RecordingStream> requests(20);
  for (RecordingStream& each : requests)
    ASSERT_TRUE(client.session->send_request(each, request_fields(), true));
  talk(client, server);
  for (RecordingStream& served : server.streams) {
    ASSERT_TRUE(server.session->send_response(served, response_fields(), false));
    server.session->offer(served, body, true, {});
  }
  Http2Output out(0);
  do {
    out.clear();
    server.session->output(server.now, &out);
    EXPECT_LE(out.pieces().size(), Http2Output::kMaxPieces);
    std::string bytes;
    for (const iovec& each : out.pieces())
      bytes.append(static_cast<const char*>(each.iov_base), each.iov_len);
    client.hears(bytes);
  } while (!out.empty());
  size_t sum = 0;
  for (const RecordingStream& each : requests) sum += each.body.size();
  EXPECT_EQ(sum, std::min<size_t>(20 * 30 * part.size(), client.limits.connection_window_bytes));
}

TEST_F(Http2SessionTest, AnUpgradedConnectionBeginsWithItsRequestAsStreamOne) {
  RecordingStream first;
  ASSERT_TRUE(server.session->upgrade(std::string_view("\0\3\0\0\0\x64", 6), false, first));
  EXPECT_EQ(first.id(), 1);
  EXPECT_TRUE(server.session->send_response(first, response_fields(), false));
  const iovec body[] = {piece("upgraded")};
  server.session->offer(first, body, true, {});
  EXPECT_THAT(endings_in(server.said()).goaways, IsEmpty());
  EXPECT_THAT(first.closed, ElementsAre(Http2StreamEnd::kComplete));
  EXPECT_EQ(server.hears(preface()), Http2Fault::kNoFault);
}

}  // namespace
}  // namespace weft::proxy
