// Checks and compiles DestinationPolicies (weft.mesh.v1). Called through validate.h. Whether the host exists
// is not its question: that may change without the resource changing.
#include <algorithm>
#include <cmath>

#include "absl/status/status.h"
#include "base/status_macros.h"
#include "userspace-proxy/config/validate.h"
#include "userspace-proxy/config/validate_action.h"

namespace weft::proxy {
namespace {

namespace mesh = weft::mesh::v1;

constexpr uint32_t kMaxPort = 65535;
constexpr uint32_t kMaxConnectTimeoutMs = 3'600'000;
constexpr uint32_t kHundred = 100;

template <typename... T>
absl::Status invalid(const T&... parts) {
  return absl::InvalidArgumentError(str_cat(parts...));
}

LoadBalancer algorithm_of(mesh::LoadBalancing::Algorithm declared) {
  switch (declared) {
    case mesh::LoadBalancing::ROUND_ROBIN:
      return LoadBalancer::kRoundRobin;
    case mesh::LoadBalancing::RANDOM:
      return LoadBalancer::kRandom;
    case mesh::LoadBalancing::PASSTHROUGH:
      return LoadBalancer::kPassthrough;
    case mesh::LoadBalancing::RING_HASH:
      return LoadBalancer::kRingHash;
    case mesh::LoadBalancing::MAGLEV:
      return LoadBalancer::kMaglev;
    default:
      return LoadBalancer::kLeastRequest;
  }
}

HashKey compile_cookie(const mesh::HashKey::Cookie& cookie) {
  HashKey out{.kind = HashKey::Kind::kCookie, .name = cookie.name(), .generates = cookie.has_ttl_seconds()};
  if (cookie.ttl_seconds() > 0) out.attributes = str_cat("; Max-Age=", cookie.ttl_seconds());
  if (!cookie.path().empty()) str_append(&out.attributes, "; Path=", cookie.path());
  for (const std::string& attribute : cookie.attributes()) str_append(&out.attributes, "; ", attribute);
  str_append(&out.attributes, "; HttpOnly");
  return out;
}

absl::StatusOr<HashKey> compile_hash(const mesh::HashKey& key) {
  HashKey out;
  switch (key.kind_case()) {
    case mesh::HashKey::kHeader:
      out = HashKey{.kind = HashKey::Kind::kHeader, .name = key.header()};
      break;
    case mesh::HashKey::kCookie:
      out = compile_cookie(key.cookie());
      break;
    case mesh::HashKey::kQueryParameter:
      out = HashKey{.kind = HashKey::Kind::kQueryParameter, .name = key.query_parameter()};
      break;
    case mesh::HashKey::kSourceIp:
      return out;
    case mesh::HashKey::KIND_NOT_SET:
      return invalid("hash: no key, expected a header, a cookie, the source or a query parameter");
  }
  if (out.name.empty()) return invalid("hash: a name is empty");
  if (out.attributes.find_first_of("\r\n") != std::string::npos || out.name.find_first_of("\r\n;= ") == 0)
    return invalid("hash: the cookie holds a line break");
  return out;
}

bool is_prime(uint32_t number) {
  if (number < 2) return false;
  for (uint32_t i = 2; uint64_t{i} * i <= number; ++i) {
    if (number % i == 0) return false;
  }
  return true;
}

std::optional<PathNormalisation> path_normalisation_of(mesh::MeshConfig::PathNormalization level) {
  switch (level) {
    case mesh::MeshConfig::PATH_NONE:
      return PathNormalisation::kNone;
    case mesh::MeshConfig::PATH_BASE:
      return PathNormalisation::kBase;
    case mesh::MeshConfig::PATH_MERGE_SLASHES:
      return PathNormalisation::kMergeSlashes;
    case mesh::MeshConfig::PATH_DECODE_AND_MERGE_SLASHES:
      return PathNormalisation::kDecodeAndMergeSlashes;
    default:
      return std::nullopt;
  }
}

LocalityBalancing compile_locality(const mesh::LocalityBalancing& locality) {
  LocalityBalancing out{.disabled = locality.disabled()};
  for (const auto& d : locality.distribute()) {
    LocalityBalancing::Distribute row{.from = d.from(), .to = {d.to().begin(), d.to().end()}};
    std::sort(row.to.begin(), row.to.end());
    out.distribute.push_back(std::move(row));
  }
  for (const auto& f : locality.failover()) out.failover.emplace_back(f.from_region(), f.to_region());
  out.priority_labels.assign(locality.failover_priority().begin(), locality.failover_priority().end());
  return out;
}

absl::StatusOr<LoadBalancing> compile_balancing(const mesh::LoadBalancing& balancing) {
  LoadBalancing out{.algorithm = algorithm_of(balancing.algorithm())};
  const bool hashes = out.algorithm == LoadBalancer::kRingHash || out.algorithm == LoadBalancer::kMaglev;
  if (hashes) {
    ASSIGN_OR_RETURN(out.hash, compile_hash(balancing.hash()));
    out.table_size = balancing.table_size();
    if (out.table_size == 0 || out.table_size > kMaxHashTableSize)
      return invalid("table_size: ", out.table_size, ", expected 1-", kMaxHashTableSize);
    if (out.algorithm == LoadBalancer::kMaglev && !is_prime(out.table_size))
      return invalid("table_size: ", out.table_size, " is no prime");
  }
  if (balancing.has_warmup()) {
    const mesh::Warmup& w = balancing.warmup();
    const bool shares = w.minimum_percent() >= 0 && w.minimum_percent() <= kHundred;
    if (w.duration_ms() == 0 || !shares || !(w.aggression() > 0))
      return invalid("warmup: expected a duration, a share of 0-100 and an aggression above 0");
    out.warmup = Warmup{w.duration_ms(), w.minimum_percent() / kHundred, w.aggression()};
  }
  out.locality = compile_locality(balancing.locality());
  return out;
}

absl::StatusOr<ConnectionSettings> compile_connections(const mesh::ConnectionPool& pool) {
  ConnectionSettings out;
  if (pool.connect_timeout_ms() > kMaxConnectTimeoutMs)
    return invalid("connect_timeout_ms: ", pool.connect_timeout_ms(), ", at most ", kMaxConnectTimeoutMs);
  out.connect_timeout_ms = pool.connect_timeout_ms();
  out.max_connections = pool.max_connections();
  out.max_duration_ms = pool.max_connection_duration_ms();
  if (pool.has_tcp_idle_ms()) out.tcp_idle_ms = pool.tcp_idle_ms();
  if (pool.has_http_idle_ms()) out.http_idle_ms = pool.http_idle_ms();
  constexpr uint32_t kMaxKeepalive = 32'767;  // TCP_KEEPIDLE, tcp(7)
  const auto& keepalive = pool.keepalive();
  if (keepalive.time_seconds() > kMaxKeepalive || keepalive.interval_seconds() > kMaxKeepalive ||
      keepalive.probes() > 127)
    return invalid("keepalive: at most 127 probes and ", kMaxKeepalive, " seconds");
  out.keepalive_probes = static_cast<int>(keepalive.probes());
  out.keepalive_seconds = static_cast<int>(keepalive.time_seconds());
  out.keepalive_interval_seconds = static_cast<int>(keepalive.interval_seconds());
  out.max_pending = pool.max_pending_requests();
  out.max_requests = pool.max_requests();
  out.max_requests_per_connection = pool.max_requests_per_connection();
  out.max_retries = pool.max_retries();
  out.max_streams = pool.max_concurrent_streams();
  out.ping_interval_ms = pool.ping_interval_ms();
  out.ping_timeout_ms = pool.ping_timeout_ms();
  if (pool.http2_upgrade() == mesh::ConnectionPool::UPGRADE) out.protocol = ClusterProtocol::kHttp2;
  if (pool.http2_upgrade() == mesh::ConnectionPool::DO_NOT_UPGRADE) out.protocol = ClusterProtocol::kHttp1;
  out.use_client_protocol = pool.use_client_protocol();
  if (out.use_client_protocol) out.protocol = ClusterProtocol::kAsClient;
  return out;
}

absl::StatusOr<OutlierSettings> compile_outlier(const mesh::OutlierDetection& outlier) {
  OutlierSettings out;
  out.consecutive_5xx = outlier.consecutive_5xx();
  out.consecutive_gateway = outlier.consecutive_gateway();
  out.split_local_origin = outlier.split_local_origin();
  out.consecutive_local_origin = outlier.consecutive_local_origin();
  out.interval_ms = outlier.interval_ms();
  out.base_ejection_ms = outlier.base_ejection_ms();
  out.max_ejection_percent = outlier.max_ejection_percent();
  out.min_health_percent = outlier.min_health_percent();
  if (out.interval_ms == 0 || out.base_ejection_ms == 0 || out.max_ejection_percent > kHundred ||
      out.min_health_percent > kHundred)
    return invalid("outlier_detection: expected times above 0 and percentages up to 100");
  for (const uint32_t code : outlier.error_codes()) {
    if (code < 100 || code > 599) return invalid("outlier_detection: ", code, " is no status");
    out.error_codes.push_back(static_cast<uint16_t>(code));
  }
  return out;
}

// `ns`: of the rule, whose Secrets it may name.
absl::StatusOr<ClientTlsSpec> compile_tls(const mesh::ClientTls& tls, const std::string& ns) {
  ClientTlsSpec out;
  switch (tls.mode()) {
    case mesh::ClientTls::DISABLE:
      return out;
    case mesh::ClientTls::SIMPLE:
      out.mode = ClientTlsMode::kSimple;
      break;
    case mesh::ClientTls::MUTUAL:
      out.mode = ClientTlsMode::kMutual;
      break;
    case mesh::ClientTls::ISTIO_MUTUAL:
      out.mode = ClientTlsMode::kMesh;
      break;
    default:
      return invalid("tls: no mode");
  }
  if (!tls.credential_name().empty()) {
    out.secret = str_cat(ns, "/", tls.credential_name());
    out.roots_secret = out.secret + "-cacert";
  }
  if (out.mode == ClientTlsMode::kMutual && out.secret.empty())
    return invalid("tls: MUTUAL without a Secret");
  // What is not known here would be left out, and more be trusted than was asked for.
  if (!tls.client_certificate().empty() || !tls.private_key().empty() || !tls.ca_crl().empty() ||
      (!tls.ca_certificates().empty() && tls.ca_certificates() != "system"))
    return invalid("tls: files are not read");
  out.names.assign(tls.subject_alt_names().begin(), tls.subject_alt_names().end());
  out.sni = tls.sni();
  out.verifies = !tls.insecure_skip_verify();
  return out;
}

absl::StatusOr<PolicyBlocks> compile_blocks(const mesh::TrafficPolicy& policy, const std::string& ns) {
  PolicyBlocks out;
  if (policy.has_tls()) {
    ASSIGN_OR_RETURN(out.tls, compile_tls(policy.tls(), ns));
  }
  if (policy.has_load_balancing()) {
    ASSIGN_OR_RETURN(out.balancing, compile_balancing(policy.load_balancing()));
    out.own_locality = policy.load_balancing().has_locality();
  }
  if (policy.has_connection_pool()) {
    ASSIGN_OR_RETURN(out.connections, compile_connections(policy.connection_pool()));
  }
  if (policy.has_outlier_detection()) {
    ASSIGN_OR_RETURN(out.outlier, compile_outlier(policy.outlier_detection()));
  }
  return out;
}

absl::StatusOr<TrafficPolicySpec> compile_traffic(const mesh::TrafficPolicy& policy, const std::string& ns) {
  TrafficPolicySpec out;
  ASSIGN_OR_RETURN(out.blocks, compile_blocks(policy, ns));
  if (policy.has_retry_budget()) {
    const double percent = policy.retry_budget().percent();
    if (!(percent >= 0 && percent <= kHundred)) return invalid("retry_budget: ", percent, " per cent");
    out.retries = RetryLimits{.share = static_cast<uint32_t>(std::lround(percent * kHundred)),
                              .min_concurrency = policy.retry_budget().min_concurrency()};
  }
  for (const mesh::TrafficPolicy::Port& port : policy.ports()) {
    if (port.port() == 0 || port.port() > kMaxPort)
      return invalid("ports: ", port.port(), ", expected 1-65535");
    auto blocks = compile_blocks(port.policy(), ns);
    if (!blocks.ok()) return annotate(str_cat("ports[", port.port(), "]"), blocks.status());
    out.ports.emplace_back(static_cast<uint16_t>(port.port()), *std::move(blocks));
  }
  return out;
}

absl::StatusOr<std::vector<PolicySpec::Subset>> compile_subsets(const mesh::DestinationPolicy& policy) {
  std::vector<PolicySpec::Subset> out;
  for (const mesh::DestinationPolicy::Subset& s : policy.subsets()) {
    if (s.name().empty()) return invalid("subsets: a name is empty");
    const auto same = [&](const PolicySpec::Subset& other) { return other.name == s.name(); };
    if (std::any_of(out.begin(), out.end(), same))
      return invalid("subsets: \"", s.name(), "\" is there twice");
    PolicySpec::Subset subset{
        .name = s.name(), .labels = {s.labels().begin(), s.labels().end()}, .traffic = {}};
    std::sort(subset.labels.begin(), subset.labels.end());
    auto traffic = compile_traffic(s.traffic_policy(), policy.namespace_());
    if (!traffic.ok()) return annotate(str_cat("subsets[", s.name(), "]"), traffic.status());
    subset.traffic = *std::move(traffic);
    out.push_back(std::move(subset));
  }
  return out;
}

}  // namespace

absl::StatusOr<PolicySpec> validate(const mesh::DestinationPolicy& policy) {
  PolicySpec out;
  out.name = policy.name();
  out.ns = policy.namespace_();
  out.created = policy.created_unix();
  if (out.name.empty() || out.ns.empty()) return invalid("name and namespace must not be empty");
  ASSIGN_OR_RETURN(out.host, normalise_host(policy.host(), true));
  out.export_to.assign(policy.export_to().begin(), policy.export_to().end());
  ASSIGN_OR_RETURN(out.subsets, compile_subsets(policy));
  if (policy.has_traffic_policy()) {
    ASSIGN_OR_RETURN(out.traffic, compile_traffic(policy.traffic_policy(), out.ns));
  }
  return out;
}

absl::StatusOr<MeshSpec> validate(const mesh::MeshConfig& config) {
  MeshSpec out;
  for (const mesh::ExternalProvider& each : config.providers()) {
    ASSIGN_OR_RETURN(ExternalProviderPtr provider, ExternalProvider::compile(each));
    out.providers.push_back(std::move(provider));
  }
  if (!mesh::MeshConfig::PathNormalization_IsValid(config.path_normalization()))
    return invalid("path_normalization: ", static_cast<int>(config.path_normalization()), " is unknown");
  out.path_normalisation = path_normalisation_of(config.path_normalization());
  if (config.connect_timeout_ms() > kMaxConnectTimeoutMs)
    return invalid("connect_timeout_ms: ", config.connect_timeout_ms(), ", at most ", kMaxConnectTimeoutMs);
  if (config.connect_timeout_ms() != 0) out.connect_timeout_ms = config.connect_timeout_ms();
  if (config.has_locality()) out.locality = compile_locality(config.locality());
  if (!config.has_default_retries()) return out;
  mesh::HttpRoute route;
  *route.mutable_retries() = config.default_retries();
  LimiterTable none;
  ASSIGN_OR_RETURN(out.default_action, compile_action(route, none));
  return out;
}

}  // namespace weft::proxy
