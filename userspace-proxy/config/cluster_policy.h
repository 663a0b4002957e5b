// What a DestinationRule says about one cluster, compiled: balancing, nearness, limits of its connections,
// ejection, retries. Immutable values, shared by the snapshots and the workers; nothing here does anything.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "userspace-proxy/tls/client_terms.h"

namespace weft::proxy {

enum class LoadBalancer : uint8_t { kRoundRobin, kRandom, kLeastRequest, kPassthrough, kRingHash, kMaglev };

// Points of a consistent-hash table: what a worker builds at once without a stall that clients would notice.
inline constexpr uint32_t kMaxHashTableSize = 131'072;

// What the proxy speaks to the endpoints of a cluster. kAsClient: the version that the client spoke first, so
// that servers see what they would see without a mesh: an upgrade to HTTP/2 is between the client and the
// proxy. kHttp1OrGrpc: servers that are declared "http" may know nothing newer, but those of gRPC must.
enum class ClusterProtocol : uint8_t { kAsClient, kHttp1, kHttp2, kHttp1OrGrpc };

// Which of a request's properties keeps it on its endpoint.
struct HashKey {
  enum class Kind : uint8_t { kHeader, kCookie, kSourceIp, kQueryParameter };
  Kind kind = Kind::kSourceIp;
  std::string name;
  // Cookies: what is behind the value in Set-Cookie ("; Max-Age=5; Path=/"), and whether one is sent.
  bool generates = false;
  std::string attributes;
  bool operator==(const HashKey&) const = default;
};

struct Warmup {
  uint32_t duration_ms = 0;
  double minimum = 0.1;  // of the whole weight
  double aggression = 1;
  bool operator==(const Warmup&) const = default;
};

struct Locality {
  std::string region, zone, subzone;
  bool empty() const { return region.empty() && zone.empty() && subzone.empty(); }
  auto operator<=>(const Locality&) const = default;
};

// What the labels that nodes have for their place say of it; empty for other labels.
inline std::string_view place_label(std::string_view label, const Locality& place, std::string_view node) {
  if (label == "topology.kubernetes.io/region") return place.region;
  if (label == "topology.kubernetes.io/zone") return place.zone;
  if (label == "topology.istio.io/subzone") return place.subzone;
  return label == "kubernetes.io/hostname" ? node : std::string_view();
}

struct LocalityBalancing {
  struct Distribute {
    std::string from;
    std::vector<std::pair<std::string, uint32_t>> to;  // per cent
    bool operator==(const Distribute&) const = default;
  };
  bool disabled = false;
  std::vector<Distribute> distribute;
  std::vector<std::pair<std::string, std::string>> failover;  // regions: from, to
  std::vector<std::string> priority_labels;                   // "key" or "key=value"
  bool operator==(const LocalityBalancing&) const = default;
};

struct LoadBalancing {
  LoadBalancer algorithm = LoadBalancer::kLeastRequest;
  HashKey hash;
  uint32_t table_size = 0;
  std::optional<Warmup> warmup;
  LocalityBalancing locality;
  bool operator==(const LoadBalancing&) const = default;
};

// 0 sets no limit, except where it says otherwise.
struct ConnectionSettings {
  uint32_t max_connections = 0;
  uint32_t connect_timeout_ms = 0;  // 0: default
  uint64_t max_duration_ms = 0;
  std::optional<uint64_t> tcp_idle_ms, http_idle_ms;  // 0: never
  int keepalive_probes = 0, keepalive_seconds = 0, keepalive_interval_seconds = 0;
  uint32_t max_pending = 0;
  uint32_t max_requests = 0;
  uint32_t max_requests_per_connection = 0;
  uint32_t max_retries = 0;
  uint32_t max_streams = 0;
  uint32_t ping_interval_ms = 0, ping_timeout_ms = 0;
  ClusterProtocol protocol = ClusterProtocol::kAsClient;
  bool use_client_protocol = false;
  ClientTermsRef tls;  // null: none is begun
  bool operator==(const ConnectionSettings&) const = default;
};

// TLS to servers, as a DestinationRule says it.
struct ClientTlsSpec {
  ClientTlsMode mode = ClientTlsMode::kDisable;
  // Resource names of Secrets, the one that it names and the one beside it that may have the roots; or empty.
  std::string secret, roots_secret;
  std::vector<std::string> names;
  std::string sni;
  bool verifies = true;
  bool operator==(const ClientTlsSpec&) const = default;
};

struct OutlierSettings {
  uint32_t consecutive_5xx = 5;
  uint32_t consecutive_gateway = 0;
  bool split_local_origin = false;
  uint32_t consecutive_local_origin = 5;
  uint64_t interval_ms = 10'000;
  uint64_t base_ejection_ms = 30'000;
  uint32_t max_ejection_percent = 10;
  uint32_t min_health_percent = 0;
  std::vector<uint16_t> error_codes;  // empty: 500-599
  bool operator==(const OutlierSettings&) const = default;
};

struct RetryLimits {
  // Of the requests under way, in ten thousandths.
  uint32_t share = 2'000;
  // So many at once whatever the share is.
  uint32_t min_concurrency = 3;
  // Not 0: so many at once, and no share.
  uint32_t max_retries = 0;
  bool operator==(const RetryLimits&) const = default;
};

// The blocks of a traffic policy; what is absent says nothing.
struct PolicyBlocks {
  std::optional<LoadBalancing> balancing;
  bool own_locality = false;  // `balancing` says something about it, and the mesh's does not count
  std::optional<ConnectionSettings> connections;
  std::optional<OutlierSettings> outlier;
  std::optional<ClientTlsSpec> tls;
};

struct TrafficPolicySpec {
  PolicyBlocks blocks;
  std::optional<RetryLimits> retries;
  std::vector<std::pair<uint16_t, PolicyBlocks>> ports;
};

// What is left of that for one cluster and differs from the defaults.
struct ClusterPolicy {
  LoadBalancing balancing;
  std::shared_ptr<const ConnectionSettings> connections;  // null: nothing set
  std::optional<OutlierSettings> outlier;
  RetryLimits retries;
  // Retries are counted for each source over all workers, because the rule says how many.
  bool own_retries = false;

  // Which endpoints are taken depends on where the client is.
  bool by_place() const {
    const LocalityBalancing& near = balancing.locality;
    if (near.disabled) return false;
    return !near.distribute.empty() || outlier.has_value();
  }
  // Something is counted for each source.
  bool counts_sources() const { return connections != nullptr || own_retries; }
};

}  // namespace weft::proxy
