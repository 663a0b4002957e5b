// See peer_ends.h.
#include "tests/harness/peer_ends.h"

#include <sys/socket.h>

#include <cerrno>
#include <cstdio>
#include <string>

#include "base/strings.h"
#include "tests/harness/peer_io.h"

namespace weft::harness {
namespace {

constexpr std::string_view kAsk =
    "GET / HTTP/1.1\r\nHost: peer\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
constexpr std::string_view kAgree =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

bool read_head(Stream& stream) {
  for (;;) {
    const auto line = stream.read_line();
    if (!line) return false;
    if (line->empty()) return true;
  }
}

// Reads to the end and says which it was.
void tell_end(Stream& stream, const char* who) {
  errno = 0;
  while (!stream.read_some().empty()) errno = 0;
  std::printf("%s saw %s\n", who, errno == ECONNRESET ? "reset" : errno == 0 ? "fin" : "something else");
  std::fflush(stdout);
}

void act_and_tell(Stream& stream, std::string_view act, const char* who) {
  if (act == "reset") {
    const linger at_once{.l_onoff = 1, .l_linger = 0};
    ::setsockopt(stream.fd(), SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    return;
  }
  if (act == "fin") stream.finish_writing();
  tell_end(stream, who);
}

}  // namespace

void serve_ends(Stream& stream) {
  auto first = stream.read_line();
  if (first && first->starts_with("GET ")) {
    if (!read_head(stream) || !stream.write(kAgree)) return;
    first = stream.read_line();
  }
  if (!first) return;
  // The client waits for this, so that both know the connection to be open.
  if (!stream.write("ready\n")) return;
  act_and_tell(stream, *first, "server");
  if (*first == "wait") stream.finish_writing();
}

int run_ends(Stream& stream, bool tunnel, std::string_view who, std::string_view act) {
  if (tunnel && (!stream.write(kAsk) || !read_head(stream))) return 1;
  const bool mine = who == "client";
  if (!stream.write(str_cat(mine ? "wait" : act, "\n"))) return 1;
  if (stream.read_line() != "ready") return 1;
  act_and_tell(stream, mine ? act : "wait", "client");
  return 0;
}

}  // namespace weft::harness
