// The TCP sockets of one network namespace, as sock_diag(7) lists them, with what kernel programs stored in
// them (INET_DIAG_REQ_SK_BPF_STORAGES, Linux 5.7). Works in the namespace of the calling thread; see netns.h.
// Decides nothing about a connection.
#pragma once

#include <linux/inet_diag.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "agent/dataplane/rtnetlink.h"
#include "base/address.h"

namespace weft::agent {

constexpr uint32_t tcp_state_bit(int state) { return 1u << static_cast<unsigned>(state); }

// The kernel's own counts of one connection.
struct TcpProgress {
  uint64_t bytes_acked = 0;     // in sequence space: SYN and FIN count one each
  uint64_t bytes_received = 0;  // the same
  uint32_t rtt_us = 0;          // smoothed; 0 before the first sample
  uint32_t retransmits = 0;     // segments, of its whole life
};

// One row; valid while it is visited.
class TcpSocketRow {
 public:
  explicit TcpSocketRow(const nlmsghdr* message);

  uint8_t family() const { return fixed_.idiag_family; }
  uint8_t state() const { return fixed_.idiag_state; }  // BPF_TCP_* of <linux/bpf.h>
  const inet_diag_sockid& id() const { return fixed_.id; }
  SocketAddress local() const;
  SocketAddress remote() const;
  // 0 without CAP_NET_ADMIN.
  uint32_t mark() const;
  // nullopt when it was not asked for.
  std::optional<TcpProgress> progress() const;
  // The socket's value in the map of this number (bpf_map_info::id); empty when it has none.
  std::span<const uint8_t> storage(uint32_t map_id) const;

 private:
  const inet_diag_msg& fixed_;
  NetlinkAttributes attributes_;
};

struct TcpDumpRequest {
  uint32_t states = 0;            // of tcp_state_bit()
  std::vector<int> storage_maps;  // descriptors of socket storage maps whose values are wanted
  bool with_progress = false;
};

// IPv4, then IPv6. A socket that opens or closes meanwhile may be missing. Errors: the netlink socket's.
absl::Status for_each_tcp_socket(RouteSocket& socket, const TcpDumpRequest& request,
                                 const std::function<void(const TcpSocketRow&)>& visit);
absl::StatusOr<std::set<uint16_t>> listened_tcp_ports(RouteSocket& socket);

}  // namespace weft::agent
