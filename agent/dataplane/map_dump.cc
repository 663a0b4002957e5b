// See map_dump.h. One entry of the table below for each map that has rows of its own: what its columns are
// and how a row reads.
#include "agent/dataplane/map_dump.h"

#include <netinet/in.h>

#include <cstring>
#include <functional>
#include <span>

#include "agent/dataplane/flow_sum.h"
#include "base/address.h"
#include "base/clock.h"
#include "base/status_macros.h"
#include "bpf/abi/capture.h"
#include "bpf/abi/constants.h"
#include "bpf/abi/flow.h"
#include "bpf/abi/policy.h"
#include "bpf/abi/service.h"
#include "bpf/abi/shortcut.h"
#include "bpf/abi/socket.h"
#include "bpf/abi/stats.h"
#include "bpf/user/map_rows.h"

namespace weft::agent {
namespace {

using Cells = std::vector<MapCell>;

MapCell text(std::string words) { return {.text = std::move(words)}; }
template <typename Number>
MapCell number(Number value) {
  return text(str_cat(value));
}
MapCell subject(uint32_t id) { return {.is_subject = true, .subject = id}; }

std::string ip(const uint8_t (&bytes)[16]) {
  IpAddress out;
  std::memcpy(out.bytes.data(), bytes, sizeof(bytes));
  return out.to_string();
}
MapCell endpoint(const uint8_t (&bytes)[16], uint32_t port) {
  SocketAddress out{.port = static_cast<uint16_t>(port)};
  std::memcpy(out.ip.bytes.data(), bytes, sizeof(bytes));
  return text(port == 0 ? out.ip.to_string() : out.to_string());
}
// `bits` of the key before the address; the rest is a prefix of 128 bits.
MapCell cidr(const uint8_t (&bytes)[16], uint32_t prefixlen, uint32_t bits) {
  IpAddress out;
  std::memcpy(out.bytes.data(), bytes, sizeof(bytes));
  const uint32_t prefix = prefixlen - bits;
  return text(str_cat(out.to_string(), "/", out.is_v4() && prefix >= 96 ? prefix - 96 : prefix));
}
const char* protocol(uint32_t value) { return value == IPPROTO_UDP ? "udp" : "tcp"; }

struct Flag {
  uint32_t bit;
  const char* name;
};
MapCell flags(uint32_t value, std::initializer_list<Flag> known) {
  std::string out;
  for (const Flag& flag : known) {
    if (value & flag.bit) str_append(&out, out.empty() ? "" : ",", flag.name);
  }
  return text(out.empty() ? "-" : out);
}
// Numbers of the rules of a policy, "0,3".
MapCell rules(const weft_rules& mask) {
  std::string out;
  for (uint32_t rule = 0; rule < WEFT_POLICY_RULES; ++rule) {
    if (mask.word[rule / 64] >> (rule % 64) & 1) str_append(&out, out.empty() ? "" : ",", rule);
  }
  return text(out.empty() ? "none" : out);
}
MapCell ago(uint64_t monotonic_ns) {
  const uint64_t now = SystemClock().now();
  return text(monotonic_ns == 0 || monotonic_ns > now ? "-"
                                                      : str_cat((now - monotonic_ns) / kNsPerMs, " ms ago"));
}

struct Row {
  std::span<const std::byte> key;
  std::span<const std::byte> value;  // of a per-CPU map: one for each possible CPU, each padded to 8 bytes
  size_t part = 0;                   // which of Words::parts
};

struct Words {
  const char* map;
  std::vector<std::string> columns;
  // Empty: a row that nobody uses.
  std::function<Cells(const Row&)> cells;
  size_t parts = 1;  // rows of the dump that one row of the map is
};

template <typename T>
T as(std::span<const std::byte> bytes) {
  T out{};
  if (bytes.size() >= sizeof(T)) std::memcpy(&out, bytes.data(), sizeof(T));
  return out;
}

template <typename K, typename V>
Words words(const char* map, std::vector<std::string> columns, Cells (*cells)(const K&, const V&)) {
  return {map, std::move(columns),
          [cells](const Row& row) { return cells(as<K>(row.key), as<V>(row.value)); }};
}

// Sums of 64-bit counters over CPUs.
template <typename V>
V summed(std::span<const std::byte> per_cpu) {
  static_assert(sizeof(V) % sizeof(uint64_t) == 0);
  uint64_t total[sizeof(V) / sizeof(uint64_t)] = {};
  for (; per_cpu.size() >= sizeof(V); per_cpu = per_cpu.subspan(sizeof(V))) {
    uint64_t one[std::size(total)];
    std::memcpy(one, per_cpu.data(), sizeof(V));
    for (size_t i = 0; i < std::size(total); ++i) total[i] += one[i];
  }
  V out{};
  std::memcpy(&out, total, sizeof(V));
  return out;
}

Cells netns_cells(const uint64_t& cookie, const weft_netns& row) {
  return {number(cookie), subject(row.workload_id), number(row.slot),
          flags(row.flags, {{WEFT_NETNS_CAPTURE, "capture"},
                            {WEFT_NETNS_PORT_EXCL, "excludes-ports"},
                            {WEFT_NETNS_CIDR_EXCL, "excludes-addresses"},
                            {WEFT_NETNS_FAIL_CLOSED, "fail-closed"},
                            {WEFT_NETNS_SHORTCUT, "shortcut"}})};
}

Cells service_cells(const weft_svc_key& key, const weft_svc& row) {
  const char* path = row.flags & WEFT_SVC_TUNNEL   ? "tunnel"
                     : row.flags & WEFT_SVC_DIRECT ? "direct"
                     : row.flags & WEFT_SVC_PASS   ? "pass"
                                                   : "proxy";
  return {endpoint(key.ip, key.port),
          text(protocol(key.protocol)),
          subject(row.id),
          text(path),
          text(row.count == 0 ? "-" : str_cat(row.base, "..", row.base + row.count - 1)),
          number(row.tag),
          text(row.flags & WEFT_SVC_AFFINITY ? str_cat(row.affinity_s, " s") : "-"),
          number(row.eject_after)};
}

Cells pick_cells(const uint32_t& index, const weft_pick& row) {
  if (row.tag == 0) return {};
  const double share = static_cast<double>(row.threshold) / 4294967296.0 * 100;
  return {number(index), number(row.tag), number(row.self), number(row.alias), text(str_cat(share, " %"))};
}

Cells backend_cells(const uint32_t& index, const weft_backend& row) {
  if (row.port == 0) return {};
  return {number(index), endpoint(row.ip, row.port), subject(row.id), number(row.generation),
          text(row.flags & WEFT_BACKEND_USABLE ? "yes" : "no")};
}

Cells health_cells(const uint32_t& index, const weft_health& row) {
  if (row.generation == 0) return {};
  return {number(index), number(row.generation), number(row.failures_in_a_row), number(row.latency_us)};
}

Cells affinity_cells(const weft_affinity_key& key, const weft_affinity& row) {
  const uint64_t now = SystemClock().now();
  return {
      number(key.netns_cookie),
      subject(key.service),
      text(str_cat(key.port, "/", protocol(key.protocol))),
      number(row.backend),
      number(row.generation),
      text(row.expires_ns > now ? str_cat("in ", (row.expires_ns - now) / kNsPerSecond, " s") : "expired")};
}

Cells flow_cells(const weft_flow_key& key, const weft_flow& total) {
  constexpr const char* kDirections[] = {"outbound", "inbound", "proxy"};
  return {subject(key.source),
          subject(key.destination),
          text(key.direction < std::size(kDirections) ? kDirections[key.direction] : "?"),
          number(total.opened),
          number(total.closed),
          number(failed_connects(total)),
          number(total.sent_bytes),
          number(total.received_bytes),
          number(total.retransmits)};
}

Cells stat_cells(const uint32_t& index, const uint64_t& count) {
  constexpr const char* kLabels[] = {
#define X(name, label, meaning) label,
      WEFT_STATS(X)
#undef X
  };
  return {text(index < std::size(kLabels) ? kLabels[index] : "?"), number(count)};
}

Cells policy_cells(const uint32_t& policy, const weft_policy& row) {
  return {number(policy), rules(row.deny), rules(row.allow),
          text(row.flags & WEFT_POLICY_HAS_ALLOW ? "denied" : "allowed")};
}

Cells inbound_cells(const uint32_t& slot, const weft_inbound& row) {
  if (row.workload_id == WEFT_ID_UNKNOWN) return {};
  return {number(slot), subject(row.workload_id), text(row.policy == 0 ? "-" : str_cat(row.policy)),
          flags(row.flags, {{WEFT_INBOUND_ON, "on"},
                            {WEFT_INBOUND_DENY_ALL, "deny-all"},
                            {WEFT_INBOUND_INSPECT, "inspect"},
                            {WEFT_INBOUND_FAIL_CLOSED, "fail-closed"},
                            {WEFT_INBOUND_HBONE_ON, "hbone"},
                            {WEFT_INBOUND_NATIVE, "native-hbone"},
                            {WEFT_INBOUND_SHORTCUT, "shortcut"}})};
}

Cells shortcut_cells(const uint64_t&, const weft_shortcut& row) {
  const bool joined = (row.state & WEFT_SHORTCUT_JOINED) != 0;
  return {number(row.cookie[WEFT_SHORTCUT_DIALLED]), number(row.cookie[WEFT_SHORTCUT_ACCEPTED]),
          text(row.state & WEFT_SHORTCUT_LEFT ? "left"
               : joined                       ? "open"
                                              : "waits for the other end"),
          number(row.bytes[WEFT_SHORTCUT_DIALLED]), number(row.bytes[WEFT_SHORTCUT_ACCEPTED])};
}

Cells inbound_listener_cells(const uint32_t& index, const uint64_t& cookie) {
  return {number(index / WEFT_INBOUND_LISTENERS),
          text(index % WEFT_INBOUND_LISTENERS == WEFT_INBOUND_HBONE ? "hbone" : "plaintext"), number(cookie)};
}

MapCell endpoint_of_words(const uint32_t (&words)[4], uint32_t port) {
  uint8_t bytes[sizeof(words)];
  std::memcpy(bytes, words, sizeof(words));
  return endpoint(bytes, port);
}

// What changes hands while it is read looks torn here; `weft conns` looks twice.
Cells socket_cells(const Row& row) {
  const auto set = as<weft_socket_set>(row.value);
  if (set.owner[row.part] == 0) return {};
  const weft_socket& socket = set.socket[row.part];
  const bool balanced = socket.direct.service != 0;
  return {text(str_cat(as<uint32_t>(row.key), ".", row.part)),
          number(set.owner[row.part]),
          subject(socket.key.source),
          subject(socket.key.destination),
          flags(socket.flags, {{WEFT_SOCKET_DIALLED, "dialled"},
                               {WEFT_SOCKET_ACTIVE, "active"},
                               {WEFT_SOCKET_ESTABLISHED, "established"},
                               {WEFT_SOCKET_FIN_RECEIVED, "fin-received"},
                               {WEFT_SOCKET_FIN_ACKED, "fin-acked"},
                               {WEFT_SOCKET_WATCHED, "watched"}}),
          balanced ? endpoint_of_words(socket.direct.dialled_ip, socket.direct.dialled_port) : text("-"),
          balanced ? endpoint_of_words(socket.direct.backend_ip, socket.direct.backend_port) : text("-"),
          ago(socket.started_ns)};
}

struct Address {
  uint8_t ip[16];
};

std::vector<Words> words_a_to_h() {
  return {
      words<weft_affinity_key, weft_affinity>(
          "m_affinity", {"NETNS COOKIE", "SERVICE", "PORT", "BACKEND", "GENERATION", "EXPIRES"},
          affinity_cells),
      words<uint32_t, weft_backend>("m_backend", {"INDEX", "ADDRESS", "WORKLOAD", "GENERATION", "USABLE"},
                                    backend_cells),
      words<uint32_t, weft_beat>(
          "m_beat", {"LAST BEAT"},
          [](const uint32_t&, const weft_beat& row) -> Cells { return {ago(row.heartbeat_ns)}; }),
      words<weft_bypass_key, weft_bypass>(
          "m_bypass", {"WORKLOAD", "DIRECTION", "BYPASSED", "REFUSED"},
          [](const weft_bypass_key& key, const weft_bypass& row) -> Cells {
            return {subject(key.workload_id),
                    text(key.direction == WEFT_BYPASS_INBOUND ? "inbound" : "outbound"), number(row.bypassed),
                    number(row.refused)};
          }),
      words<weft_dest_key, weft_dest>("m_dest", {"ADDRESS", "OWNER"},
                                      [](const weft_dest_key& key, const weft_dest& row) -> Cells {
                                        return {endpoint(key.ip, key.port), subject(row.id)};
                                      }),
      words<weft_excl_cidr_key, uint32_t>("m_excl_cidr", {"WORKLOAD", "RANGE"},
                                          [](const weft_excl_cidr_key& key, const uint32_t&) -> Cells {
                                            return {subject(key.workload_id),
                                                    cidr(key.ip, key.prefixlen, 32)};
                                          }),
      words<weft_excl_port_key, uint32_t>("m_excl_port", {"WORKLOAD", "PORT"},
                                          [](const weft_excl_port_key& key, const uint32_t&) -> Cells {
                                            return {subject(key.workload_id), number(key.port)};
                                          }),
      {"m_flow",
       {"SOURCE", "DESTINATION", "DIRECTION", "OPENED", "CLOSED", "FAILED", "SENT", "RECEIVED",
        "RETRANSMITS"},
       [](const Row& row) { return flow_cells(as<weft_flow_key>(row.key), summed<weft_flow>(row.value)); }},
      words<uint32_t, weft_health>("m_health", {"BACKEND", "GENERATION", "FAILURES IN A ROW", "LATENCY US"},
                                   health_cells),
  };
}

std::vector<Words> words_i_to_z() {
  return {
      words<uint32_t, weft_inbound>("m_inbound", {"SLOT", "WORKLOAD", "POLICY", "FLAGS"}, inbound_cells),
      words<uint32_t, uint64_t>("m_inbound_listener", {"SLOT", "LISTENER", "SOCKET COOKIE"},
                                inbound_listener_cells),
      words<uint32_t, uint64_t>("m_listener", {"SLOT", "SOCKET COOKIE"},
                                [](const uint32_t& slot, const uint64_t& cookie) -> Cells {
                                  return {number(slot), number(cookie)};
                                }),
      words<Address, weft_local>("m_local", {"ADDRESS", "WORKLOAD", "SLOT"},
                                 [](const Address& key, const weft_local& row) -> Cells {
                                   return {text(ip(key.ip)), subject(row.workload_id), number(row.slot)};
                                 }),
      words<uint64_t, weft_netns>("m_netns", {"NETNS COOKIE", "WORKLOAD", "SLOT", "FLAGS"}, netns_cells),
      words<Address, uint32_t>(
          "m_node", {"ADDRESS"},
          [](const Address& key, const uint32_t&) -> Cells { return {text(ip(key.ip))}; }),
      words<uint32_t, weft_pick>("m_pick", {"ROW", "TABLE", "BACKEND", "ELSE BACKEND", "SHARE"}, pick_cells),
      words<uint32_t, weft_policy>("m_policy", {"POLICY", "DENY RULES", "ALLOW RULES", "NO MATCH IS"},
                                   policy_cells),
      words<weft_policy_cidr_key, weft_rules>(
          "m_policy_cidr", {"POLICY", "SOURCE", "RULES"},
          [](const weft_policy_cidr_key& key, const weft_rules& row) -> Cells {
            return {number(key.policy), cidr(key.ip, key.prefixlen, 32), rules(row)};
          }),
      words<weft_policy_port_key, weft_rules>(
          "m_policy_port", {"POLICY", "PORT", "RULES"},
          [](const weft_policy_port_key& key, const weft_rules& row) -> Cells {
            return {number(key.policy), number(key.port), rules(row)};
          }),
      words<weft_policy_workload_key, weft_rules>(
          "m_policy_workload", {"POLICY", "SOURCE", "RULES"},
          [](const weft_policy_workload_key& key, const weft_rules& row) -> Cells {
            return {number(key.policy), subject(key.workload_id), rules(row)};
          }),
      words<uint32_t, weft_proxy>("m_proxy", {"PROCESS", "KNOWN SINCE"},
                                  [](const uint32_t& tgid, const weft_proxy& row) -> Cells {
                                    return {number(tgid), ago(row.heartbeat_ns)};
                                  }),
      words<weft_dial_key, uint64_t>("m_proxy_dial", {"SLOT", "FROM", "TO", "BEGAN"},
                                     [](const weft_dial_key& key, const uint64_t& began) -> Cells {
                                       return {number(key.slot), endpoint(key.from_ip, key.from_port),
                                               endpoint(key.to_ip, key.to_port), ago(began)};
                                     }),
      {"m_socket",
       {"SLOT", "SOCKET COOKIE", "SOURCE", "DESTINATION", "FLAGS", "DIALLED", "BACKEND", "BEGAN"},
       socket_cells,
       WEFT_SOCKET_SLOTS},
      {"m_stats",
       {"EVENT", "COUNT"},
       [](const Row& row) { return stat_cells(as<uint32_t>(row.key), summed<uint64_t>(row.value)); }},
      words<weft_svc_key, weft_svc>(
          "m_svc", {"ADDRESS", "PROTOCOL", "SERVICE", "PATH", "PICKS", "TABLE", "AFFINITY", "EJECT AFTER"},
          service_cells),
  };
}

std::vector<Words> words_of_shortcut() {
  return {
      words<uint64_t, weft_shortcut>(
          "m_shortcut",
          {"DIALLED BY COOKIE", "ACCEPTED BY COOKIE", "STATE", "BYTES OF DIALLER", "BYTES BACK"},
          shortcut_cells),
      words<weft_shortcut_key, uint64_t>(
          "m_shortcut_dial", {"FROM", "TO", "NETNS COOKIE", "DIALLED BY COOKIE"},
          [](const weft_shortcut_key& key, const uint64_t& cookie) -> Cells {
            return {endpoint(key.from_ip, key.from_port), endpoint(key.to_ip, key.to_port),
                    key.netns_cookie == 0 ? text("-") : number(key.netns_cookie), number(cookie)};
          }),
      words<uint64_t, uint64_t>("m_shortcut_sock", {"SOCKET COOKIE"},
                                [](const uint64_t& cookie, const uint64_t&) -> Cells {
                                  return {text(cookie == 0 ? "0 (refuses everything)" : str_cat(cookie))};
                                }),
  };
}

const std::vector<Words>& all_words() {
  static const std::vector<Words> kWords = [] {
    std::vector<Words> all = words_a_to_h();
    for (Words& one : words_i_to_z()) all.push_back(std::move(one));
    for (Words& one : words_of_shortcut()) all.push_back(std::move(one));
    return all;
  }();
  return kWords;
}

}  // namespace

std::vector<std::string> dumpable_maps() {
  std::vector<std::string> names;
  for (const Words& map : all_words()) names.push_back(map.map);
  return names;
}

absl::StatusOr<MapText> dump_map(const bpf::Programs& programs, const std::string& name, size_t limit) {
  const Words* map = nullptr;
  std::string names;
  for (const Words& one : all_words()) {
    if (one.map == name) map = &one;
    str_append(&names, names.empty() ? "" : ", ", one.map);
  }
  const int fd = map == nullptr ? -1 : programs.map_fd(map->map);
  if (fd < 0)
    return absl::NotFoundError(
        str_cat("no map ", name, " to dump; there are ", names, "; next: weft bpf maps"));
  ASSIGN_OR_RETURN(const bpf::MapShape shape, bpf::shape_of(fd));
  MapText out{.columns = map->columns};
  const size_t value_bytes = shape.value_bytes();
  RETURN_IF_ERROR(
      annotate(str_cat("read ", name), bpf::for_each_batch(fd, shape, [&](const bpf::MapRows& rows) {
                 for (size_t i = 0; i < rows.count * map->parts; ++i) {
                   const size_t row = i / map->parts;
                   Cells cells = map->cells({.key = {rows.keys + row * shape.key_size, shape.key_size},
                                             .value = {rows.values + row * value_bytes, value_bytes},
                                             .part = i % map->parts});
                   if (cells.empty()) continue;
                   ++out.total;
                   if (out.rows.size() < limit) out.rows.push_back(std::move(cells));
                 }
                 return absl::OkStatus();
               })));
  return out;
}

}  // namespace weft::agent
