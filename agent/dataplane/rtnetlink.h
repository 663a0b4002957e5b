// A minimal netlink client (rtnetlink(7), sock_diag(7)): requests with attributes, one acknowledgement,
// dumps. Used by capture_route and captured_connections; knows nothing of Weft. One socket, one thread.
#pragma once

#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/fd.h"

namespace weft::agent {

// One request under construction: header, fixed part, attributes.
class NetlinkRequest {
 public:
  template <typename Fixed>
  NetlinkRequest(uint16_t type, uint16_t flags, const Fixed& fixed)
      : NetlinkRequest(type, flags, &fixed, sizeof(fixed)) {}

  void add(uint16_t type, std::span<const uint8_t> value);
  void add_u32(uint16_t type, uint32_t value);
  void add_u8(uint16_t type, uint8_t value) { add(type, std::span<const uint8_t>(&value, 1)); }
  // Header with its final length.
  std::span<const uint8_t> finish(uint32_t sequence);

 private:
  NetlinkRequest(uint16_t type, uint16_t flags, const void* fixed, size_t size);
  void append(const void* data, size_t size);

  std::vector<uint8_t> bytes_;
};

// Attributes of a received message, by type; absent ones are empty.
class NetlinkAttributes {
 public:
  NetlinkAttributes(const nlmsghdr* message, size_t fixed_size);
  std::span<const uint8_t> get(uint16_t type) const;
  // `missing` when absent or not 4 bytes long.
  uint32_t get_u32(uint16_t type, uint32_t missing) const;
  uint8_t get_u8(uint16_t type, uint8_t missing) const;

 private:
  const rtattr* first_;
  int length_;
};

class RouteSocket {
 public:
  // In the namespace of the calling thread. `protocol` is a NETLINK_* number.
  static absl::StatusOr<RouteSocket> open(int protocol = NETLINK_ROUTE);

  // Sends and waits for the acknowledgement; the errno of the kernel, 0 for success.
  absl::StatusOr<int> request(NetlinkRequest request);
  // Calls `visit` for every message of the answer.
  absl::Status dump(NetlinkRequest request, const std::function<void(const nlmsghdr*)>& visit);

 private:
  explicit RouteSocket(UniqueFd fd) : fd_(std::move(fd)) {}
  absl::Status send(NetlinkRequest& request);

  UniqueFd fd_;
  uint32_t sequence_ = 0;
};

}  // namespace weft::agent
