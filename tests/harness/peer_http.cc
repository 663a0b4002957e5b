// The HTTP mode of weft-test-peer: GET /bytes/N answers N bytes with a length, GET /chunked/N the same in
// chunks, GET /head its own head, GET /hang nothing; any request with a body is read to its end and answered
// with its size. One connection per call, keep-alive, blocking.
#include "tests/harness/peer_http.h"

#include <poll.h>

#include <algorithm>
#include <atomic>
#include <cctype>
#include <optional>
#include <string>
#include <string_view>

#include "base/strings.h"
#include "tests/harness/peer_io.h"

namespace weft::harness {
namespace {

struct Head {
  std::string method;
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
      head.method = line->substr(0, from - 1);
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

// The body's size; nullopt when it did not come to its end.
std::optional<uint64_t> read_body(Stream& stream, const Head& head) {
  if (head.expects_continue && !stream.write("HTTP/1.1 100 Continue\r\n\r\n")) return std::nullopt;
  if (head.chunked) return read_chunked(stream);
  if (!stream.skip(head.length)) return std::nullopt;
  return head.length;
}

std::atomic<uint64_t> gets{0}, posts{0}, shadows{0};

bool send_text(Stream& stream, std::string_view status, const std::string& body) {
  return stream.write(str_cat("HTTP/1.1 ", status, "\r\nx-version: counting\r\nContent-Length: ", body.size(),
                              "\r\n\r\n", body));
}

bool answer_counted(Stream& stream, const Head& head) {
  if (head.path == "/count")
    return send_text(
        stream, "200 OK",
        str_cat("GET ", gets.load(), "\nPOST ", posts.load(), "\nshadow ", shadows.load(), "\n"));
  ++(head.method == "POST" ? posts : gets);
  if (head.text.find("-shadow") != std::string::npos) ++shadows;
  if (head.path.starts_with("/drop")) return false;
  if (!head.path.starts_with("/503")) return send_text(stream, "200 OK", "counted\n");
  // The work of a server that fails in the end, so that tries overlap.
  ::poll(nullptr, 0, 5);
  return send_text(stream, "503 Service Unavailable", "failed\n");
}

}  // namespace

void serve_http(Stream& stream) {
  while (const auto head = read_head(stream)) {
    const std::optional<uint64_t> received = read_body(stream, *head);
    if (!received || !answer(stream, *head, *received)) return;
  }
}

void serve_counting(Stream& stream) {
  while (const auto head = read_head(stream)) {
    if (!read_body(stream, *head) || !answer_counted(stream, *head)) return;
  }
}

}  // namespace weft::harness
