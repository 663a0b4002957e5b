// What the kernel programs remember of one TCP socket, as user space reads it through sock_diag. The one
// place that knows in which maps that is. Made once by the dataplane; reading is safe from any thread.
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
  // Errors: the map cannot be looked at.
  static absl::StatusOr<SocketRecords> open(const bpf::Programs& programs);

  // For TcpDumpRequest::storage_maps.
  std::vector<int> maps() const;
  // nullopt for a socket that is not measured: accepted by the proxy, older than its namespace's enrolment,
  // or no memory for it.
  std::optional<SocketRecord> read(const TcpSocketRow& row) const;

 private:
  int fd_ = -1;
  uint32_t id_ = 0;  // of the map
};

}  // namespace weft::agent
