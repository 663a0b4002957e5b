// weft-cni: environment, standard input and output, and the agent's socket. The runtime starts it for each
// pod; see plugin.h.
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>

#include "agent/cni/plugin.h"
#include "base/fd.h"

namespace weft::agent {
namespace {

// Of a configuration with its prevResult; more is none.
constexpr size_t kMostInput = 1024 * 1024;

std::string read_input() {
  std::string out;
  std::array<char, 64 * 1024> buffer;
  ssize_t got = 0;
  while (out.size() <= kMostInput && (got = ::read(STDIN_FILENO, buffer.data(), buffer.size())) > 0)
    out.append(buffer.data(), static_cast<size_t>(got));
  return out;
}

std::optional<CniAnswer> ask_agent(const std::string& path, const CniRequest& request, int timeout_seconds) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) return std::nullopt;
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  const UniqueFd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  const timeval limit{timeout_seconds, 0};
  if (!socket.valid() || ::setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) != 0 ||
      ::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) != 0)
    return std::nullopt;
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0)
    return std::nullopt;
  const std::string text = encode(request);
  if (::send(socket.get(), text.data(), text.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(text.size()))
    return std::nullopt;
  std::string answer(kMostCniBytes, '\0');
  const ssize_t got = ::recv(socket.get(), answer.data(), answer.size(), 0);
  if (got <= 0) return std::nullopt;
  return decode_cni_answer(std::string_view(answer.data(), static_cast<size_t>(got)));
}

std::optional<std::string> read_file(const std::string& path) {
  std::ifstream file(path);
  if (!file.is_open()) return std::nullopt;
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

int main_with() {
  const CniPlugin plugin{.environment =
                             [](const char* name) {
                               const char* value = std::getenv(name);
                               return std::string(value == nullptr ? "" : value);
                             },
                         .ask = ask_agent,
                         .read_file = read_file};
  const CniPlugin::Outcome outcome = plugin.run(read_input());
  size_t written = 0;
  while (written < outcome.output.size()) {
    const ssize_t n =
        ::write(STDOUT_FILENO, outcome.output.data() + written, outcome.output.size() - written);
    if (n <= 0) return 1;
    written += static_cast<size_t>(n);
  }
  return outcome.exit_code;
}

}  // namespace
}  // namespace weft::agent

int main() { return weft::agent::main_with(); }
