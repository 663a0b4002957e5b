// What the kernel programs remember of one TCP socket: a slot of the socket table, or a storage that
// sock_diag shows. The one place that knows in which maps that is. Made once by the dataplane; reading is
// safe from any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "agent/dataplane/tcp_dump.h"
#include "base/address.h"
#include "base/clock.h"
#include "bpf/abi/flow.h"
#include "bpf/abi/socket.h"
#include "bpf/user/map.h"
#include "bpf/user/programs.h"

namespace weft::agent {

struct SocketRecord {
  weft_flow_key key{};         // under which the connection is measured
  MonotonicNs started_ns = 0;  // established, or dialled while it is not; 0: unknown
  // What a socket dialled that the kernel sent straight to a backend.
  std::optional<SocketAddress> dialled;
};

class SocketRecords {
 public:
  // Errors: a map cannot be looked at.
  static absl::StatusOr<SocketRecords> open(const bpf::Programs& programs);

  // For TcpDumpRequest::storage_maps.
  std::vector<int> maps() const;
  // nullopt for a socket that is not measured: accepted by the proxy, older than its namespace's enrolment,
  // or no memory for it; and for one that is closed by now.
  std::optional<SocketRecord> read(const TcpSocketRow& row) const;

  // Slots of the table that belong to a socket. Reads all of it, 16 MiB.
  uint64_t taken() const;

 private:
  std::optional<weft_socket> in_set(uint32_t number, uint64_t cookie) const;
  std::optional<weft_socket> in_storage(const TcpSocketRow& row) const;

  bpf::Map<uint32_t, weft_socket_set> table_;
  int storage_fd_ = -1;
  uint32_t storage_id_ = 0;  // of the map
};

}  // namespace weft::agent
