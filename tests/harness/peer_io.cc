// See peer_io.h.
#include "tests/harness/peer_io.h"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/address.h"

namespace weft::harness {
namespace {

constexpr size_t kMaxLine = 64 * 1024;

template <typename Call>
std::string name_of(int fd, Call call) {
  sockaddr_storage storage{};
  socklen_t length = sizeof(storage);
  if (call(fd, reinterpret_cast<sockaddr*>(&storage), &length) != 0) return "?";
  const auto address = SocketAddress::from_sockaddr(reinterpret_cast<sockaddr*>(&storage));
  return address ? address->to_string() : "?";
}

}  // namespace

bool Stream::write(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return true;
}

std::string Stream::read_some() {
  if (!buffer_.empty()) return std::exchange(buffer_, {});
  std::array<char, 64 * 1024> chunk;
  const ssize_t n = ::recv(socket_.get(), chunk.data(), chunk.size(), 0);
  return n > 0 ? std::string(chunk.data(), static_cast<size_t>(n)) : std::string();
}

std::optional<std::string> Stream::read_line() {
  std::string text;
  for (;;) {
    const std::string more = read_some();
    if (more.empty()) return std::nullopt;
    text += more;
    const size_t end = text.find('\n');
    if (end != std::string::npos) {
      buffer_ = text.substr(end + 1);
      text.resize(end);
      if (!text.empty() && text.back() == '\r') text.pop_back();
      return text;
    }
    if (text.size() > kMaxLine) return std::nullopt;
  }
}

bool Stream::skip(uint64_t bytes) {
  while (bytes > 0) {
    std::string more = read_some();
    if (more.empty()) return false;
    const uint64_t n = std::min<uint64_t>(bytes, more.size());
    bytes -= n;
    if (n < more.size()) buffer_ = more.substr(n);
  }
  return true;
}

void Stream::finish_writing() { ::shutdown(socket_.get(), SHUT_WR); }

std::string Stream::peer() const { return name_of(socket_.get(), ::getpeername); }
std::string Stream::local() const { return name_of(socket_.get(), ::getsockname); }

}  // namespace weft::harness
