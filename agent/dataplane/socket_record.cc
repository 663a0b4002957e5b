// See socket_record.h. Reads struct weft_socket out of a dump's row.
#include "agent/dataplane/socket_record.h"

#include <bpf/bpf.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/status_macros.h"
#include "bpf/abi/socket.h"

namespace weft::agent {
namespace {

constexpr const char* kStorageMap = "m_flow_sk";

SocketAddress address_of(const uint32_t (&ip)[4], uint32_t port) {
  SocketAddress out{.ip = {}, .port = static_cast<uint16_t>(port)};
  static_assert(sizeof(ip) == sizeof(out.ip.bytes));
  std::memcpy(out.ip.bytes.data(), ip, sizeof(ip));
  return out;
}

}  // namespace

absl::StatusOr<SocketRecords> SocketRecords::open(const bpf::Programs& programs) {
  SocketRecords records;
  records.fd_ = programs.map_fd(kStorageMap);
  bpf_map_info info{};
  uint32_t length = sizeof(info);
  if (bpf_obj_get_info_by_fd(records.fd_, &info, &length) != 0)
    return errno_status(str_cat("look at map ", kStorageMap), errno);
  records.id_ = info.id;
  return records;
}

std::vector<int> SocketRecords::maps() const { return {fd_}; }

std::optional<SocketRecord> SocketRecords::read(const TcpSocketRow& row) const {
  const std::span<const uint8_t> value = row.storage(id_);
  if (value.empty()) return std::nullopt;
  weft_socket socket{};
  std::memcpy(&socket, value.data(), std::min(value.size(), sizeof(socket)));
  SocketRecord record{.key = socket.key, .started_ns = socket.started_ns, .dialled = std::nullopt};
  // A socket that was connected again keeps what it knew of its former dial, which led elsewhere.
  const bool balanced = socket.direct.service != 0 &&
                        address_of(socket.direct.backend_ip, socket.direct.backend_port) == row.remote();
  if (balanced) record.dialled = address_of(socket.direct.dialled_ip, socket.direct.dialled_port);
  return record;
}

}  // namespace weft::agent
