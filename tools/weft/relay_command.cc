// `weft __relay`: see in_cluster.h. Run by the API server in the agent's pod, for a `weft` elsewhere.
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <thread>

#include "base/fd.h"
#include "base/strings.h"
#include "tools/weft/in_cluster.h"

namespace weft::cli {
namespace {

void copy(int from, int to) {
  char buffer[16 << 10];
  while (true) {
    const ssize_t got = ::read(from, buffer, sizeof(buffer));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return;
    for (ssize_t done = 0; done < got;) {
      const ssize_t put = ::write(to, buffer + done, static_cast<size_t>(got - done));
      if (put < 0 && errno != EINTR) return;
      if (put > 0) done += put;
    }
  }
}

}  // namespace

int relay(const Flags& flags, Environment& env) {
  const std::string path = str_cat(flags.run_dir, "/agent.sock");
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (path.size() >= sizeof(address.sun_path))
    return report(absl::InvalidArgumentError(path + " is too long"), "weft --help", env);
  std::memcpy(address.sun_path, path.data(), path.size());
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0)
    return report(absl::UnavailableError(str_cat("no agent listens on ", path)), "weft status", env);
  std::thread input([&socket] {
    copy(STDIN_FILENO, socket.get());
    ::shutdown(socket.get(), SHUT_WR);
  });
  copy(socket.get(), STDOUT_FILENO);
  // It may wait for input for ever, and nobody is there to answer it.
  input.detach();
  ::_exit(kOk);
}

}  // namespace weft::cli
