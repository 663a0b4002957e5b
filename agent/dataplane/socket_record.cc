// See socket_record.h. Table first, as the kernel programs look.
#include "agent/dataplane/socket_record.h"

#include <bpf/bpf.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/status_macros.h"
#include "bpf/abi/constants.h"
#include "bpf/user/map_rows.h"

namespace weft::agent {
namespace {

constexpr const char* kTableMap = "m_socket";
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
  records.table_ = {programs.map_fd(kTableMap), kTableMap};
  records.storage_fd_ = programs.map_fd(kStorageMap);
  bpf_map_info info{};
  uint32_t length = sizeof(info);
  if (bpf_obj_get_info_by_fd(records.storage_fd_, &info, &length) != 0)
    return errno_status(str_cat("look at map ", kStorageMap), errno);
  records.storage_id_ = info.id;
  return records;
}

std::vector<int> SocketRecords::maps() const { return {storage_fd_}; }

// A slot changes hands when its socket closes, also between the reading of its owner and of the rest: it
// counts when it has the same owner afterwards.
std::optional<weft_socket> SocketRecords::in_set(uint32_t number, uint64_t cookie) const {
  const std::optional<weft_socket_set> set = table_.find(number);
  if (!set) return std::nullopt;
  const auto slot = static_cast<size_t>(std::ranges::find(set->owner, cookie) - set->owner);
  if (slot == WEFT_SOCKET_SLOTS) return std::nullopt;
  const std::optional<weft_socket_set> after = table_.find(number);
  if (!after || after->owner[slot] != cookie || set->socket[slot].flags == 0) return std::nullopt;
  return set->socket[slot];
}

std::optional<weft_socket> SocketRecords::in_storage(const TcpSocketRow& row) const {
  const std::span<const uint8_t> value = row.storage(storage_id_);
  if (value.empty()) return std::nullopt;
  weft_socket socket{};
  std::memcpy(&socket, value.data(), std::min(value.size(), sizeof(socket)));
  return socket;
}

std::optional<SocketRecord> SocketRecords::read(const TcpSocketRow& row) const {
  const auto& words = row.id().idiag_cookie;
  const uint64_t cookie = uint64_t{words[1]} << 32 | words[0];
  std::optional<weft_socket> socket = in_set(weft_socket_near(cookie), cookie);
  if (!socket) socket = in_set(weft_socket_far(cookie), cookie);
  if (!socket) socket = in_storage(row);
  if (!socket) return std::nullopt;
  SocketRecord record{.key = socket->key, .started_ns = socket->started_ns, .dialled = std::nullopt};
  // A socket that was connected again keeps what it knew of its former dial, which led elsewhere.
  const weft_direct_peer& peer = socket->direct;
  if (peer.service != 0 && address_of(peer.backend_ip, peer.backend_port) == row.remote())
    record.dialled = address_of(peer.dialled_ip, peer.dialled_port);
  return record;
}

uint64_t SocketRecords::taken() const {
  const absl::StatusOr<bpf::MapShape> shape = bpf::shape_of(table_.fd());
  if (!shape.ok()) return 0;
  uint64_t taken = 0;
  const absl::Status status = bpf::for_each_batch(table_.fd(), *shape, [&](const bpf::MapRows& rows) {
    for (size_t i = 0; i < rows.count; ++i) {
      uint64_t owners[WEFT_SOCKET_SLOTS];
      std::memcpy(owners, rows.values + i * shape->value_size, sizeof(owners));
      taken += WEFT_SOCKET_SLOTS - static_cast<uint64_t>(std::ranges::count(owners, uint64_t{0}));
    }
    return absl::OkStatus();
  });
  return status.ok() ? taken : 0;
}

}  // namespace weft::agent
