// Requests and attributes of inet_diag. See tcp_dump.h. Called by what closes, counts and lists connections.
#include "agent/dataplane/tcp_dump.h"

#include <arpa/inet.h>
#include <linux/bpf.h>
#include <linux/sock_diag.h>
#include <linux/tcp.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstring>

#include "base/status_macros.h"

namespace weft::agent {
namespace {

SocketAddress endpoint(uint8_t family, const __be32* words, __be16 port) {
  const std::string_view bytes(reinterpret_cast<const char*>(words), family == AF_INET ? 4 : 16);
  return {IpAddress::from_packed(bytes).value_or(IpAddress{}), ntohs(port)};
}

NetlinkRequest dump_request(uint8_t family, const TcpDumpRequest& wanted) {
  inet_diag_req_v2 fixed{};
  fixed.sdiag_family = family;
  fixed.sdiag_protocol = IPPROTO_TCP;
  fixed.idiag_states = wanted.states;
  if (wanted.with_progress) fixed.idiag_ext = 1u << (INET_DIAG_INFO - 1);
  NetlinkRequest request(SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, fixed);
  if (wanted.storage_maps.empty()) return request;
  struct MapAttribute {
    rtattr header;
    int32_t fd;
  };
  std::vector<MapAttribute> nested;
  for (const int fd : wanted.storage_maps)
    nested.push_back({{sizeof(MapAttribute), SK_DIAG_BPF_STORAGE_REQ_MAP_FD}, fd});
  request.add(INET_DIAG_REQ_SK_BPF_STORAGES,
              std::span<const uint8_t>(reinterpret_cast<const uint8_t*>(nested.data()),
                                       nested.size() * sizeof(MapAttribute)));
  return request;
}

// One nested SK_DIAG_BPF_STORAGE: the value when it is of this map.
std::span<const uint8_t> value_of(const rtattr* storage, uint32_t map_id) {
  bool right_map = false;
  std::span<const uint8_t> value;
  const auto* inner = static_cast<const rtattr*>(RTA_DATA(storage));
  auto left = static_cast<int>(RTA_PAYLOAD(storage));
  for (; RTA_OK(inner, left); inner = RTA_NEXT(inner, left)) {
    const uint16_t type = inner->rta_type & NLA_TYPE_MASK;
    if (type == SK_DIAG_BPF_STORAGE_MAP_ID && RTA_PAYLOAD(inner) == sizeof(map_id))
      right_map = std::memcmp(RTA_DATA(inner), &map_id, sizeof(map_id)) == 0;
    if (type == SK_DIAG_BPF_STORAGE_MAP_VALUE)
      value = {static_cast<const uint8_t*>(RTA_DATA(inner)), RTA_PAYLOAD(inner)};
  }
  return right_map ? value : std::span<const uint8_t>();
}

}  // namespace

TcpSocketRow::TcpSocketRow(const nlmsghdr* message)
    : fixed_(*static_cast<const inet_diag_msg*>(NLMSG_DATA(message))),
      attributes_(message, sizeof(inet_diag_msg)) {}

SocketAddress TcpSocketRow::local() const { return endpoint(family(), id().idiag_src, id().idiag_sport); }
SocketAddress TcpSocketRow::remote() const { return endpoint(family(), id().idiag_dst, id().idiag_dport); }

uint32_t TcpSocketRow::mark() const { return attributes_.get_u32(INET_DIAG_MARK, 0); }

std::optional<TcpProgress> TcpSocketRow::progress() const {
  const std::span<const uint8_t> bytes = attributes_.get(INET_DIAG_INFO);
  if (bytes.empty()) return std::nullopt;
  // Shorter or longer where kernel and headers differ in age.
  tcp_info info{};
  std::memcpy(&info, bytes.data(), std::min(bytes.size(), sizeof(info)));
  return TcpProgress{.bytes_acked = info.tcpi_bytes_acked,
                     .bytes_received = info.tcpi_bytes_received,
                     .rtt_us = info.tcpi_rtt,
                     .retransmits = info.tcpi_total_retrans};
}

std::span<const uint8_t> TcpSocketRow::storage(uint32_t map_id) const {
  const std::span<const uint8_t> storages = attributes_.get(INET_DIAG_SK_BPF_STORAGES);
  const auto* outer = reinterpret_cast<const rtattr*>(storages.data());
  auto left = static_cast<int>(storages.size());
  for (; left > 0 && RTA_OK(outer, left); outer = RTA_NEXT(outer, left)) {
    const std::span<const uint8_t> value = value_of(outer, map_id);
    if (!value.empty()) return value;
  }
  return {};
}

absl::Status for_each_tcp_socket(RouteSocket& socket, const TcpDumpRequest& request,
                                 const std::function<void(const TcpSocketRow&)>& visit) {
  for (const uint8_t family : {uint8_t{AF_INET}, uint8_t{AF_INET6}}) {
    RETURN_IF_ERROR(socket.dump(dump_request(family, request), [&visit](const nlmsghdr* message) {
      if (message->nlmsg_len >= NLMSG_LENGTH(sizeof(inet_diag_msg))) visit(TcpSocketRow(message));
    }));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::set<uint16_t>> listened_tcp_ports(RouteSocket& socket) {
  std::set<uint16_t> ports;
  RETURN_IF_ERROR(for_each_tcp_socket(socket, {.states = tcp_state_bit(BPF_TCP_LISTEN), .storage_maps = {}},
                                      [&ports](const TcpSocketRow& row) { ports.insert(row.local().port); }));
  return ports;
}

}  // namespace weft::agent
