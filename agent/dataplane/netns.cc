// setns on a short-lived thread. Called by the dataplane and by cleanup; makes no namespace and removes none.
#include "agent/dataplane/netns.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cerrno>
#include <filesystem>
#include <set>
#include <thread>
#include <utility>

#include "base/status_macros.h"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71  // <asm-generic/socket.h> since Linux 5.14
#endif

namespace weft::agent {

absl::StatusOr<UniqueFd> open_netns(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return errno_status(str_cat("open network namespace ", path), errno);
  return fd;
}

absl::Status run_in_netns(int netns_fd, const std::function<absl::Status()>& work) {
  absl::Status result;
  std::thread thread([&] {
    if (setns(netns_fd, CLONE_NEWNET) != 0) {
      result = errno_status("enter the network namespace (needs CAP_SYS_ADMIN)", errno);
      return;
    }
    result = work();
  });
  thread.join();
  return result;
}

absl::StatusOr<uint64_t> current_netns_cookie() {
  const UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket.valid()) return errno_status("make a socket", errno);
  uint64_t cookie = 0;
  socklen_t length = sizeof(cookie);
  if (getsockopt(socket.get(), SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &length) != 0) {
    return errno_status("read SO_NETNS_COOKIE (needs Linux 5.14)", errno);
  }
  return cookie;
}

absl::StatusOr<uint64_t> netns_cookie(int netns_fd) {
  uint64_t cookie = 0;
  RETURN_IF_ERROR(run_in_netns(netns_fd, [&]() -> absl::Status {
    ASSIGN_OR_RETURN(cookie, current_netns_cookie());
    return absl::OkStatus();
  }));
  return cookie;
}

std::vector<std::string> reachable_netns(const std::vector<std::string>& first) {
  std::vector<std::string> candidates = first;
  candidates.push_back("/proc/self/ns/net");
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/run/netns", error))
    candidates.push_back(entry.path());
  for (const auto& entry : std::filesystem::directory_iterator("/proc", error)) {
    const std::string name = entry.path().filename();
    if (name.find_first_not_of("0123456789") == std::string::npos)
      candidates.push_back(entry.path() / "ns/net");
  }
  std::vector<std::string> paths;
  std::set<std::pair<dev_t, ino_t>> seen;
  for (const std::string& path : candidates) {
    struct stat info{};
    // A process may have ended since it was listed, and /run/netns may hold files that are no namespace.
    if (stat(path.c_str(), &info) != 0 || !seen.emplace(info.st_dev, info.st_ino).second) continue;
    paths.push_back(path);
  }
  return paths;
}

}  // namespace weft::agent
