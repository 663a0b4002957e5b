// BodyDecoder: fixed, chunked and until-close bodies, torn anywhere, and chunked ones that must be refused.
#include "userspace-proxy/http/body_decoder.h"

#include <gtest/gtest.h>

#include "base/strings.h"

namespace weft::proxy {
namespace {

struct Decoded {
  BodyDecoder::State state;
  std::string payload, trailers;
  size_t consumed;
};

Decoded decode(BodyKind kind, uint64_t length, std::string_view bytes, size_t step) {
  BodyDecoder decoder;
  decoder.start(kind, length);
  Decoded out{};
  while (out.consumed < bytes.size() && decoder.state() == BodyDecoder::State::kMore) {
    const BodyDecoder::Step taken = decoder.next(bytes.substr(out.consumed, step));
    out.payload.append(taken.data);
    out.consumed += taken.consumed;
  }
  out.state = decoder.state();
  out.trailers = decoder.trailers();
  return out;
}

TEST(BodyDecoderTest, StopsAfterAFixedLength) {
  for (size_t step : {1, 3, 100}) {
    const Decoded out = decode(BodyKind::kLength, 5, "helloGET /", step);
    EXPECT_EQ(out.state, BodyDecoder::State::kDone);
    EXPECT_EQ(out.payload, "hello");
    EXPECT_EQ(out.consumed, 5u);
  }
}

TEST(BodyDecoderTest, TakesChunksApartHoweverTheyAreTorn) {
  const std::string_view body =
      "5\r\nhello\r\n00A;x=\"y\"\r\n0123456789\r\n0\r\nSum: 7\r\nHost: evil\r\n\r\nnext";
  for (size_t step = 1; step <= body.size(); ++step) {
    const Decoded out = decode(BodyKind::kChunked, 0, body, step);
    ASSERT_EQ(out.state, BodyDecoder::State::kDone) << step;
    EXPECT_EQ(out.payload, "hello0123456789");
    EXPECT_EQ(out.trailers, "Sum: 7\r\n") << "a trailer must not carry routing fields";
    EXPECT_EQ(out.consumed, body.size() - 4);
  }
}

TEST(BodyDecoderTest, RefusesMalformedChunks) {
  const std::string too_long_extension = str_cat("1;", std::string(5000, 'x'), "\r\na\r\n0\r\n\r\n");
  const std::string too_long_trailer = str_cat("0\r\nX: ", std::string(9000, 'x'), "\r\n\r\n");
  for (const std::string_view bad : {std::string_view("\r\nhello"),
                                     std::string_view("x\r\n"),
                                     std::string_view("-1\r\n"),
                                     std::string_view("+1\r\n"),
                                     std::string_view("0x1\r\n"),
                                     std::string_view("1 \r\na\r\n"),
                                     std::string_view(" 1\r\na\r\n"),
                                     std::string_view("1\na\n0\n\n"),
                                     std::string_view("1\r\na0\r\n"),
                                     std::string_view("1\r\nab\r\n"),
                                     std::string_view("1\r\na\n0\r\n"),
                                     std::string_view("1\rXa\r\n"),
                                     std::string_view("FFFFFFFFFFFFFFFF\r\n"),
                                     std::string_view("0000000000000000001\r\na\r\n"),
                                     std::string_view("1;a\nb\r\na\r\n"),
                                     std::string_view("0\r\nno colon\r\n\r\n"),
                                     std::string_view("0\r\n: x\r\n\r\n"),
                                     std::string_view("0\r\na b: x\r\n\r\n"),
                                     std::string_view("0\r\nX: 1\n\r\n"),
                                     std::string_view("0\r\nX : 1\r\n\r\n"),
                                     std::string_view("0\r\nX: 1\r\n folded\r\n\r\n"),
                                     std::string_view("0\r\nX: \x01\r\n\r\n"),
                                     std::string_view("0\r\nX: a\rb\r\n\r\n"),
                                     std::string_view("1;\x01\r\na\r\n"),
                                     std::string_view("1;\r\r\na\r\n"),
                                     std::string_view("1\t\r\na\r\n"),
                                     std::string_view("1,1\r\na\r\n"),
                                     std::string_view(";a\r\n"),
                                     std::string_view("1\r\na\r\n\r\n"),
                                     std::string_view("1\r\n\r\na\r\n"),
                                     std::string_view(too_long_extension),
                                     std::string_view(too_long_trailer)}) {
    for (size_t step : {size_t{1}, bad.size()}) {
      EXPECT_EQ(decode(BodyKind::kChunked, 0, bad, step).state, BodyDecoder::State::kBad)
          << bad.substr(0, 40);
    }
  }
}

TEST(BodyDecoderTest, EndOfStreamEndsOnlyABodyThatWaitsForIt) {
  BodyDecoder decoder;
  decoder.start(BodyKind::kUntilClose, 0);
  EXPECT_EQ(decoder.next("abc").data, "abc");
  EXPECT_EQ(decoder.end_of_stream(), BodyDecoder::State::kDone);
  decoder.start(BodyKind::kLength, 3);
  decoder.next("ab");
  EXPECT_EQ(decoder.end_of_stream(), BodyDecoder::State::kBad);
  decoder.start(BodyKind::kChunked, 0);
  decoder.next("1\r\na\r\n");
  EXPECT_EQ(decoder.end_of_stream(), BodyDecoder::State::kBad);
}

}  // namespace
}  // namespace weft::proxy
