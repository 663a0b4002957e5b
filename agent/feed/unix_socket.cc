// bind(2), chmod(2), SO_PEERCRED (unix(7)); see unix_socket.h. Called by every server of the run directory.
#include "agent/feed/unix_socket.h"

#include <grp.h>
#include <pwd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cstring>

#include "base/status_macros.h"

namespace weft::agent {

absl::StatusOr<UniqueFd> listen_unix(const std::string& path, int type, const SocketAccess& access) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) {
    return absl::InvalidArgumentError(
        str_cat(path, " is too long for a socket; next: choose a shorter --run-dir"));
  }
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  ::unlink(path.c_str());
  UniqueFd socket(::socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket.valid()) return errno_status("socket", errno);
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0)
    return errno_status(path, errno);
  if (::chmod(path.c_str(), access.mode) != 0) return errno_status(path, errno);
  if (access.group != 0 && ::chown(path.c_str(), static_cast<uid_t>(-1), access.group) != 0)
    return errno_status(path, errno);
  if (::listen(socket.get(), 64) != 0) return errno_status(path, errno);
  return socket;
}

absl::StatusOr<Accepted> accept_unix(int listener, const SocketAccess& access) {
  UniqueFd socket(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!socket.valid()) {
    if (errno == EINTR || errno == ECONNABORTED) return absl::UnavailableError("accept interrupted");
    return errno_status("accept", errno);
  }
  ucred credentials{};
  socklen_t length = sizeof(credentials);
  if (::getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &credentials, &length) != 0)
    return errno_status("SO_PEERCRED", errno);
  const bool allowed =
      credentials.uid == 0 || credentials.uid == ::geteuid() || credentials.uid == access.user;
  if (!allowed)
    return absl::PermissionDeniedError(str_cat("connection of uid ", credentials.uid, " refused"));
  return Accepted{std::move(socket), Peer{credentials.pid, credentials.uid}};
}

absl::StatusOr<SocketAccess> proxy_access(const std::string& user, const std::string& group) {
  const passwd* account = ::getpwnam(user.c_str());
  if (account == nullptr) {
    return absl::NotFoundError(
        str_cat("no user ", user, "; next: useradd --system ", user, ", or choose another --proxy-user"));
  }
  const uid_t uid = account->pw_uid;
  const ::group* members = ::getgrnam(group.c_str());
  if (members == nullptr) {
    return absl::NotFoundError(str_cat("no group ", group, "; next: groupadd --system ", group,
                                       ", or choose another --proxy-group"));
  }
  return SocketAccess{.mode = 0660, .group = members->gr_gid, .user = uid};
}

}  // namespace weft::agent
