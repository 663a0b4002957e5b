// The lists of framing_variants.h and how they are combined.
#include "tests/unit/proxy-engine/framing_variants.h"

#include <array>
#include <random>
#include <string_view>

#include "base/strings.h"
#include "tests/unit/proxy-engine/framing_lists.h"

namespace weft::proxy {
namespace {

using namespace std::string_view_literals;  // NOLINT: bytes with NUL

constexpr std::string_view kHidden = "GET /hidden HTTP/1.1\r\nHost: hidden\r\n\r\n";

std::vector<std::string> bodies() {
  const std::string hidden(kHidden);
  return {"",
          "HELLO",
          "5\r\nHELLO\r\n0\r\n\r\n",
          "0\r\n\r\n",
          str_cat("0\r\n\r\n", hidden),
          str_cat("HELLO", hidden),
          str_cat(absl::Hex(hidden.size()), "\r\n", hidden, "\r\n0\r\n\r\n")};
}

struct Framed {
  std::string_view field;  // with CRLF
  std::string_view body;
};
constexpr Framed kGoodFramings[] = {{"", ""},
                                    {"Content-Length: 5\r\n", "HELLO"},
                                    {"Transfer-Encoding: chunked\r\n", "5\r\nHELLO\r\n0\r\n\r\n"}};

std::string post(std::string_view framing, std::string_view body, std::string_view version = "1.1") {
  return str_cat("POST / HTTP/", version, "\r\nHost: a\r\nConnection: keep-alive\r\n", framing, "\r\n\r\n",
                 body);
}

void add_framings(std::vector<std::string>* out) {
  std::vector<std::string> blocks(std::begin(kLengths), std::end(kLengths));
  blocks.insert(blocks.end(), std::begin(kCodings), std::end(kCodings));
  const std::vector<std::string> every_body = bodies();
  for (const std::string& block : blocks) {
    for (const std::string& body : every_body) {
      out->push_back(post(block, body));
      out->push_back(post(block, body, "1.0"));
    }
  }
  // Two fields that should not meet, in both orders; the bodies that fit one of them.
  const auto add_pair = [&](std::string_view a, std::string_view b) {
    for (const size_t body : {2, 4, 5}) {
      out->push_back(post(str_cat(a, "\r\n", b), every_body[body]));
      out->push_back(post(str_cat(b, "\r\n", a), every_body[body]));
    }
  };
  for (const std::string_view length : kLengths) add_pair(length, kCodings[0]);
  for (const std::string_view coding : kCodings) add_pair(kLengths[0], coding);
}

void add_lists(std::vector<std::string>* out) {
  for (const std::string_view chunks : kChunks) out->push_back(post("Transfer-Encoding: chunked", chunks));
  for (const Framed& framed : kGoodFramings) {
    for (const std::string_view line : kRequestLines)
      out->push_back(str_cat(line, "\r\nHost: a\r\n", framed.field, "\r\n", framed.body));
    for (const std::string_view host : kHosts) {
      out->push_back(str_cat("POST / HTTP/1.1\r\n", host, "\r\n", framed.field, "\r\n", framed.body));
      out->push_back(str_cat("POST http://a/ HTTP/1.1\r\n", host, "\r\n", framed.field, "\r\n", framed.body));
    }
    for (const std::string_view field : kFields) {
      out->push_back(
          str_cat("POST / HTTP/1.1\r\nHost: a\r\n", field, "\r\n", framed.field, "\r\n", framed.body));
      out->push_back(
          str_cat("POST / HTTP/1.1\r\n", field, "\r\nHost: a\r\n", framed.field, "\r\n", framed.body));
    }
  }
}

// One to three small changes. The first byte stays: other first bytes make the connection no HTTP at all.
std::string changed(std::string message, std::mt19937* random) {
  constexpr std::array kPieces = {"\r"sv, "\n"sv,       "\r\n"sv,  " "sv,       "\t"sv,   "\0"sv,   ":"sv,
                                  ";"sv,  ","sv,        "0"sv,     "5"sv,       "\x0b"sv, "\x7f"sv, "\x80"sv,
                                  "a"sv,  "\r\n\r\n"sv, "\r\n "sv, "chunked"sv, "-"sv,    "_"sv};
  for (size_t n = 1 + (*random)() % 3; n > 0; --n) {
    const size_t at = 1 + (*random)() % (message.size() - 1);
    const std::string_view piece = kPieces[(*random)() % kPieces.size()];
    switch ((*random)() % 4) {
      case 0:
        message.insert(at, piece);
        break;
      case 1:
        message.replace(at, 1, piece);
        break;
      case 2:
        message.erase(at, 1 + (*random)() % 4);
        break;
      default:
        message.insert(at, message.substr(at, 1 + (*random)() % 16));
        break;
    }
  }
  return message;
}

void add_changed(std::vector<std::string>* out) {
  const std::string bases[] = {
      "POST /a/b?c HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nX: y\r\n\r\nHELLO",
      "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;x\r\nHELLO\r\n0\r\nT: u\r\n\r\n",
      "PUT http://a/b HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\n",
      "POST / HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nHELLO",
  };
  std::mt19937 random(5);
  for (int round = 0; round < 300; ++round) {
    for (const std::string& base : bases) out->push_back(changed(base, &random));
  }
}

}  // namespace

std::vector<std::string> framing_variants() {
  std::vector<std::string> out;
  add_framings(&out);
  add_lists(&out);
  add_changed(&out);
  return out;
}

}  // namespace weft::proxy
