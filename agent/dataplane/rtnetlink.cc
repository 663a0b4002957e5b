// Netlink framing. Called by capture_route; every receive is bounded by a socket timeout, so a lost answer is
// an error.
#include "agent/dataplane/rtnetlink.h"

#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "base/status_macros.h"

namespace weft::agent {
namespace {

// Large enough for any message of a dump (netlink(7) suggests 8 KiB; the kernel uses up to 32 KiB for dumps).
constexpr size_t kReceiveBytes = 64 * 1024;
constexpr int kMaxPackets = 100'000;

}  // namespace

NetlinkRequest::NetlinkRequest(uint16_t type, uint16_t flags, const void* fixed, size_t size) {
  nlmsghdr header{};
  header.nlmsg_type = type;
  header.nlmsg_flags = static_cast<uint16_t>(NLM_F_REQUEST | flags);
  append(&header, sizeof(header));
  append(fixed, size);
}

void NetlinkRequest::append(const void* data, size_t size) {
  const auto* begin = static_cast<const uint8_t*>(data);
  bytes_.insert(bytes_.end(), begin, begin + size);
  bytes_.resize(NLMSG_ALIGN(bytes_.size()));
}

void NetlinkRequest::add(uint16_t type, std::span<const uint8_t> value) {
  rtattr attribute{};
  attribute.rta_type = type;
  attribute.rta_len = static_cast<uint16_t>(RTA_LENGTH(value.size()));
  append(&attribute, sizeof(attribute));
  append(value.data(), value.size());
}

void NetlinkRequest::add_u32(uint16_t type, uint32_t value) {
  std::array<uint8_t, 4> bytes{};
  std::memcpy(bytes.data(), &value, sizeof(value));
  add(type, bytes);
}

std::span<const uint8_t> NetlinkRequest::finish(uint32_t sequence) {
  nlmsghdr header{};
  std::memcpy(&header, bytes_.data(), sizeof(header));
  header.nlmsg_len = static_cast<uint32_t>(bytes_.size());
  header.nlmsg_seq = sequence;
  std::memcpy(bytes_.data(), &header, sizeof(header));
  return bytes_;
}

NetlinkAttributes::NetlinkAttributes(const nlmsghdr* message, size_t fixed_size)
    : first_(reinterpret_cast<const rtattr*>(reinterpret_cast<const char*>(message) +
                                             NLMSG_LENGTH(NLMSG_ALIGN(fixed_size)))),
      length_(static_cast<int>(message->nlmsg_len) -
              static_cast<int>(NLMSG_LENGTH(NLMSG_ALIGN(fixed_size)))) {}

std::span<const uint8_t> NetlinkAttributes::get(uint16_t type) const {
  int left = length_;
  for (const rtattr* a = first_;
       left >= static_cast<int>(sizeof(rtattr)) && a->rta_len >= sizeof(rtattr) && a->rta_len <= left;) {
    if ((a->rta_type & NLA_TYPE_MASK) == type) {
      return {reinterpret_cast<const uint8_t*>(a) + RTA_LENGTH(0), a->rta_len - RTA_LENGTH(0)};
    }
    const int step = static_cast<int>(RTA_ALIGN(a->rta_len));
    left -= step;
    a = reinterpret_cast<const rtattr*>(reinterpret_cast<const char*>(a) + step);
  }
  return {};
}

uint32_t NetlinkAttributes::get_u32(uint16_t type, uint32_t missing) const {
  const std::span<const uint8_t> value = get(type);
  if (value.size() != sizeof(uint32_t)) return missing;
  uint32_t number = 0;
  std::memcpy(&number, value.data(), sizeof(number));
  return number;
}

uint8_t NetlinkAttributes::get_u8(uint16_t type, uint8_t missing) const {
  const std::span<const uint8_t> value = get(type);
  return value.size() == 1 ? value[0] : missing;
}

absl::StatusOr<RouteSocket> RouteSocket::open(int protocol) {
  UniqueFd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol));
  if (!fd.valid()) return errno_status("open rtnetlink", errno);
  const timeval timeout{.tv_sec = 5, .tv_usec = 0};
  setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
  return RouteSocket(std::move(fd));
}

absl::Status RouteSocket::send(NetlinkRequest& request) {
  const std::span<const uint8_t> bytes = request.finish(++sequence_);
  if (::send(fd_.get(), bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) {
    return errno_status("send to rtnetlink", errno);
  }
  return absl::OkStatus();
}

absl::StatusOr<int> RouteSocket::request(NetlinkRequest request) {
  RETURN_IF_ERROR(send(request));
  std::vector<uint8_t> buffer(kReceiveBytes);
  const ssize_t size = ::recv(fd_.get(), buffer.data(), buffer.size(), 0);
  if (size < static_cast<ssize_t>(sizeof(nlmsghdr) + sizeof(nlmsgerr)))
    return errno_status("read from rtnetlink", errno);
  const auto* message = reinterpret_cast<const nlmsghdr*>(buffer.data());
  if (message->nlmsg_type != NLMSG_ERROR)
    return absl::InternalError("rtnetlink answered without an acknowledgement");
  return -static_cast<const nlmsgerr*>(NLMSG_DATA(message))->error;
}

absl::Status RouteSocket::dump(NetlinkRequest request, const std::function<void(const nlmsghdr*)>& visit) {
  RETURN_IF_ERROR(send(request));
  std::vector<uint8_t> buffer(kReceiveBytes);
  for (int packet = 0; packet < kMaxPackets; ++packet) {
    const ssize_t size = ::recv(fd_.get(), buffer.data(), buffer.size(), 0);
    if (size <= 0) return errno_status("read a dump from rtnetlink", errno);
    auto left = static_cast<uint32_t>(size);
    for (const auto* message = reinterpret_cast<const nlmsghdr*>(buffer.data()); NLMSG_OK(message, left);
         message = NLMSG_NEXT(message, left)) {
      if (message->nlmsg_type == NLMSG_DONE) return absl::OkStatus();
      if (message->nlmsg_type == NLMSG_ERROR) {
        return errno_status("rtnetlink dump", -static_cast<const nlmsgerr*>(NLMSG_DATA(message))->error);
      }
      visit(message);
    }
  }
  return absl::InternalError("rtnetlink dump does not end");
}

}  // namespace weft::agent
