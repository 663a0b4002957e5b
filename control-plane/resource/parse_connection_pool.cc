// See parse_traffic_policy.h: connectionPool, limits and lives of connections.
#include <array>

#include "base/strings.h"
#include "control-plane/resource/measure_fields.h"
#include "control-plane/resource/parse_traffic_policy.h"

namespace weft::control_plane {
namespace {

using Names = std::string_view;
using mesh::v1::ConnectionPool;

constexpr std::array<Names, 2> kPoolRead = {"tcp", "http"};
constexpr std::array<Names, 5> kTcpRead = {"maxConnections", "connectTimeout", "tcpKeepalive",
                                           "maxConnectionDuration", "idleTimeout"};
constexpr std::array<Names, 3> kKeepaliveRead = {"probes", "time", "interval"};
constexpr std::array<Names, 9> kHttpRead = {"http1MaxPendingRequests",
                                            "http2MaxRequests",
                                            "maxRequestsPerConnection",
                                            "maxRetries",
                                            "idleTimeout",
                                            "h2UpgradePolicy",
                                            "useClientProtocol",
                                            "maxConcurrentStreams",
                                            "http2KeepAlive"};
constexpr std::array<Names, 2> kPingRead = {"interval", "timeout"};

constexpr int64_t kMaxCount = 0x7fffffff;
// Connections that live for days are meant so.
constexpr uint32_t kMaxLifeMs = 40u * 24 * 3600 * 1000;
constexpr int64_t kMaxProbes = 127;               // TCP_KEEPCNT, tcp(7)
constexpr uint32_t kMaxKeepaliveMs = 32'767'000;  // TCP_KEEPIDLE

uint32_t count(const FieldReader& parent, Names name) {
  return static_cast<uint32_t>(parent.integer(name, 0, kMaxCount).value_or(0));
}

void parse_keepalive(const FieldReader& tcp, ConnectionPool& out) {
  const auto keepalive = tcp.child("tcpKeepalive");
  if (!keepalive || !keepalive->expect_map({.read = kKeepaliveRead, .known = {}})) return;
  auto& to = *out.mutable_keepalive();
  to.set_probes(static_cast<uint32_t>(keepalive->integer("probes", 0, kMaxProbes).value_or(0)));
  to.set_time_seconds(duration_ms(*keepalive, "time", 1000, kMaxKeepaliveMs).value_or(0) / 1000);
  to.set_interval_seconds(duration_ms(*keepalive, "interval", 1000, kMaxKeepaliveMs).value_or(0) / 1000);
}

void parse_tcp(const FieldReader& pool, ConnectionPool& out) {
  const auto tcp = pool.child("tcp");
  if (!tcp || !tcp->expect_map({.read = kTcpRead, .known = {}})) return;
  out.set_max_connections(count(*tcp, "maxConnections"));
  out.set_connect_timeout_ms(duration_ms(*tcp, "connectTimeout", 1).value_or(0));
  out.set_max_connection_duration_ms(duration_ms(*tcp, "maxConnectionDuration", 1, kMaxLifeMs).value_or(0));
  if (const auto idle = duration_ms(*tcp, "idleTimeout", 0, kMaxLifeMs)) out.set_tcp_idle_ms(*idle);
  parse_keepalive(*tcp, out);
}

ConnectionPool::Http2Upgrade upgrade_of(const FieldReader& http) {
  const std::string upgrade = http.text("h2UpgradePolicy").value_or("DEFAULT");
  if (upgrade == "UPGRADE") return ConnectionPool::UPGRADE;
  if (upgrade == "DO_NOT_UPGRADE") return ConnectionPool::DO_NOT_UPGRADE;
  if (upgrade != "DEFAULT")
    http.error_at("h2UpgradePolicy", kValueRejected,
                  str_cat("\"", upgrade.substr(0, 32), "\" is no upgrade policy"),
                  "use DEFAULT, UPGRADE or DO_NOT_UPGRADE");
  return ConnectionPool::HTTP2_UPGRADE_UNSPECIFIED;
}

void parse_ping(const FieldReader& http, ConnectionPool& out) {
  const auto ping = http.child("http2KeepAlive");
  if (!ping || !ping->expect_map({.read = kPingRead, .known = {}})) return;
  for (const Names name : kPingRead) {
    if (!ping->has(name))
      ping->error_at(name, kFieldMissing, "the field is required", "give interval and timeout");
  }
  out.set_ping_interval_ms(duration_ms(*ping, "interval", 1).value_or(0));
  out.set_ping_timeout_ms(duration_ms(*ping, "timeout", 1).value_or(0));
}

void parse_http(const FieldReader& pool, ConnectionPool& out) {
  const auto http = pool.child("http");
  if (!http || !http->expect_map({.read = kHttpRead, .known = {}})) return;
  out.set_max_pending_requests(count(*http, "http1MaxPendingRequests"));
  out.set_max_requests(count(*http, "http2MaxRequests"));
  out.set_max_requests_per_connection(count(*http, "maxRequestsPerConnection"));
  out.set_max_retries(count(*http, "maxRetries"));
  out.set_max_concurrent_streams(count(*http, "maxConcurrentStreams"));
  if (const auto idle = duration_ms(*http, "idleTimeout", 0, kMaxLifeMs)) out.set_http_idle_ms(*idle);
  out.set_http2_upgrade(upgrade_of(*http));
  out.set_use_client_protocol(http->boolean("useClientProtocol").value_or(false));
  parse_ping(*http, out);
}

}  // namespace

bool parse_connection_pool(const FieldReader& policy, ConnectionPool& out) {
  const auto pool = policy.child("connectionPool");
  if (!pool || !pool->expect_map({.read = kPoolRead, .known = {}})) return false;
  parse_tcp(*pool, out);
  parse_http(*pool, out);
  return true;
}

}  // namespace weft::control_plane
