// Deals listeners to workers. Called by HandoverClient; all or nothing per namespace, so a pod is never half
// served.
#include "userspace-proxy/handover/served_namespaces.h"

#include <fcntl.h>
#include <sys/socket.h>

#include <map>

#include "base/address.h"
#include "base/status_macros.h"

namespace weft::proxy {
namespace {

absl::StatusOr<UniqueFd> duplicate(const UniqueFd& fd) {
  const int copy = ::fcntl(fd.get(), F_DUPFD_CLOEXEC, 0);
  if (copy < 0) return errno_status("duplicate descriptor (raise the limit of open files)", errno);
  return UniqueFd(copy);
}

uint16_t listening_port(int listener) {
  sockaddr_storage storage{};
  socklen_t length = sizeof(storage);
  if (::getsockname(listener, reinterpret_cast<sockaddr*>(&storage), &length) != 0) return 0;
  const auto address = SocketAddress::from_sockaddr(reinterpret_cast<sockaddr*>(&storage));
  return address ? address->port : 0;
}

}  // namespace

absl::Status ServedNamespaces::add(uint64_t netns_cookie, ServedNamespace served) {
  if (!served.netns.valid() || served.listeners.empty()) {
    return absl::InvalidArgumentError(
        "expected the namespace and at least one listener; enroll the pod again");
  }
  std::vector<CaptureListener> shares;
  for (const UniqueFd& listener : served.listeners) {
    CaptureListener share;
    share.netns_cookie = netns_cookie;
    share.workload_uid = served.workload_uid;
    share.confined = served.confined;
    ASSIGN_OR_RETURN(share.netns, duplicate(served.netns));
    ASSIGN_OR_RETURN(share.listener, duplicate(listener));
    shares.push_back(std::move(share));
  }
  remove(netns_cookie);
  // Each kind is dealt anew: every worker takes each when there are enough listeners of it.
  std::map<uint16_t, size_t> next;
  for (CaptureListener& share : shares)
    workers_[next[listening_port(share.listener.get())]++ % workers_.size()]->add_listener(std::move(share));
  served_[netns_cookie] = std::move(served);
  return absl::OkStatus();
}

void ServedNamespaces::remove(uint64_t netns_cookie) {
  if (served_.erase(netns_cookie) == 0) return;
  for (Worker* worker : workers_) worker->remove_listener(netns_cookie);
}

}  // namespace weft::proxy
