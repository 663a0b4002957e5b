// The HTTP mode of weft-test-peer: GET /bytes/N answers N bytes with a length, GET /chunked/N the same in
// chunks, GET /head its own head, GET /hang nothing; any request with a body is read to its end and answered
// with its size. One connection per call, keep-alive, blocking.
#include "tests/harness/peer_http.h"

#include <algorithm>
#include <cctype>
#include <optional>
#include <string>
#include <string_view>

#include "base/strings.h"
#include "tests/harness/peer_io.h"

namespace weft::harness {
namespace {

struct Head {
  std::string path;
  std::string text;  // as it came, lines ended by "\n"
  uint64_t length = 0;
  bool chunked = false;
  bool expects_continue = false;
};

std::optional<Head> read_head(Stream& stream) {
  Head head;
  for (bool first = true;; first = false) {
    const auto line = stream.read_line();
    if (!line) return std::nullopt;
    if (line->empty()) return head;
    str_append(&head.text, *line, "\n");
    std::string lower = *line;
    std::transform(lower.begin(), lower.end(), lower.begin(),
                   [](unsigned char c) { return std::tolower(c); });
    if (first) {
      const size_t from = line->find(' ') + 1;
      head.path = line->substr(from, line->find(' ', from) - from);
    } else if (lower.rfind("content-length: ", 0) == 0) {
      head.length = parse_integer<uint64_t>(lower.substr(16)).value_or(0);
    } else if (lower.rfind("transfer-encoding: chunked", 0) == 0) {
      head.chunked = true;
    } else if (lower.rfind("expect: 100-continue", 0) == 0) {
      head.expects_continue = true;
    }
  }
}

std::optional<uint64_t> read_chunked(Stream& stream) {
  uint64_t total = 0;
  for (;;) {
    const auto line = stream.read_line();
    if (!line) return std::nullopt;
    const auto size = parse_integer<uint64_t>(line->substr(0, line->find(';')), 16);
    if (!size) return std::nullopt;
    if (*size > 0 && !stream.skip(*size)) return std::nullopt;
    const auto end = stream.read_line();
    if (!end) return std::nullopt;
    if (*size == 0) return total;
    total += *size;
  }
}

bool send_chunked(Stream& stream, uint64_t bytes) {
  const std::string data(64 * 1024, 'c');
  if (!stream.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")) return false;
  while (bytes > 0) {
    const uint64_t n = std::min<uint64_t>(bytes, data.size());
    static constexpr char kDigits[] = "0123456789abcdef";
    std::string size;
    for (uint64_t rest = n; rest > 0; rest /= 16) size.insert(size.begin(), kDigits[rest % 16]);
    if (!stream.write(str_cat(size, "\r\n", std::string_view(data).substr(0, n), "\r\n"))) return false;
    bytes -= n;
  }
  return stream.write("0\r\n\r\n");
}

bool send_fixed(Stream& stream, uint64_t bytes) {
  const std::string data(64 * 1024, 'f');
  if (!stream.write(str_cat("HTTP/1.1 200 OK\r\nContent-Length: ", bytes, "\r\n\r\n"))) return false;
  while (bytes > 0) {
    const uint64_t n = std::min<uint64_t>(bytes, data.size());
    if (!stream.write(std::string_view(data).substr(0, n))) return false;
    bytes -= n;
  }
  return true;
}

bool answer(Stream& stream, const Head& head, uint64_t received) {
  if (head.path.rfind("/bytes/", 0) == 0) {
    return send_fixed(stream, parse_integer<uint64_t>(head.path.substr(7)).value_or(0));
  }
  if (head.path.rfind("/chunked/", 0) == 0) {
    return send_chunked(stream, parse_integer<uint64_t>(head.path.substr(9)).value_or(0));
  }
  // Nothing until the client leaves.
  if (head.path == "/hang") return stream.skip(1);
  const std::string body =
      head.path == "/head" ? head.text : str_cat("received=", received, " peer=", stream.peer(), "\n");
  return stream.write(str_cat("HTTP/1.1 200 OK\r\nContent-Length: ", body.size(), "\r\n\r\n", body));
}

}  // namespace

void serve_http(Stream& stream) {
  while (const auto head = read_head(stream)) {
    if (head->expects_continue && !stream.write("HTTP/1.1 100 Continue\r\n\r\n")) return;
    std::optional<uint64_t> received = head->length;
    if (head->chunked) {
      received = read_chunked(stream);
    } else if (!stream.skip(head->length)) {
      return;
    }
    if (!received || !answer(stream, *head, *received)) return;
  }
}

}  // namespace weft::harness
