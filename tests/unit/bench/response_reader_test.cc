// The response reader of the load generator: tools/bench/response_reader.h. Every response is fed whole and
// byte by byte.
#include "tools/bench/response_reader.h"

#include <gtest/gtest.h>

namespace weft::bench {
namespace {

using State = ResponseReader::State;

State feed_bytewise(ResponseReader& reader, std::string_view text) {
  for (size_t i = 0; i < text.size(); ++i) reader.feed(text.substr(i, 1));
  return reader.state();
}

TEST(ResponseReaderTest, FixedLengthResponseEndsAtItsLength) {
  const std::string text = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nX-Version:  v2 \r\n\r\nv2\n";
  ResponseReader whole("x-version"), bytewise("x-version");
  EXPECT_EQ(whole.feed(text), State::kDone);
  EXPECT_EQ(feed_bytewise(bytewise, text), State::kDone);
  for (const ResponseReader* reader : {&whole, &bytewise}) {
    EXPECT_EQ(reader->status(), 200);
    EXPECT_EQ(reader->header_value(), "v2");
    EXPECT_EQ(reader->body_start(), "v2\n");
    EXPECT_TRUE(reader->keep_alive());
  }
}

TEST(ResponseReaderTest, ChunkedResponseEndsAtItsLastChunk) {
  const std::string text =
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;ext=1\r\nhello\r\n6\r\n world\r\n0\r\nT: "
      "1\r\n\r\n";
  ResponseReader whole, bytewise;
  EXPECT_EQ(whole.feed(text), State::kDone);
  EXPECT_EQ(feed_bytewise(bytewise, text), State::kDone);
  EXPECT_EQ(whole.body_start(), "hello world");
  EXPECT_EQ(bytewise.body_start(), "hello world");
  EXPECT_EQ(whole.body_bytes(), 11u);
  EXPECT_EQ(bytewise.body_bytes(), 11u);
}

TEST(ResponseReaderTest, ResponseWithoutLengthLastsUntilClose) {
  ResponseReader reader;
  EXPECT_EQ(reader.feed("HTTP/1.1 200 OK\r\n\r\nabc"), State::kUntilClose);
  EXPECT_EQ(reader.end_of_stream(), State::kDone);
  EXPECT_FALSE(reader.keep_alive());
}

TEST(ResponseReaderTest, CloseInsideABodyIsNotDone) {
  ResponseReader reader;
  reader.feed("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab");
  EXPECT_NE(reader.end_of_stream(), State::kDone);
}

TEST(ResponseReaderTest, InterimResponseIsFollowedByTheRealOne) {
  ResponseReader reader;
  EXPECT_EQ(reader.feed("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n"), State::kDone);
  EXPECT_EQ(reader.status(), 204);
}

TEST(ResponseReaderTest, ConnectionCloseAndHttp10EndKeepAlive) {
  ResponseReader close;
  close.feed("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
  EXPECT_FALSE(close.keep_alive());
  ResponseReader old;
  old.feed("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n");
  EXPECT_FALSE(old.keep_alive());
}

TEST(ResponseReaderTest, GarbageAndBytesAfterTheEndAreBad) {
  ResponseReader greeting;
  EXPECT_EQ(greeting.feed("220 mail.example ESMTP ready\r\n\r\n"), State::kBad);
  ResponseReader twice;
  EXPECT_EQ(twice.feed("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab"), State::kBad);
}

}  // namespace
}  // namespace weft::bench
