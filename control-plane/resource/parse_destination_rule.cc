// DestinationRule (l7 semantics of Istio's networking API): host, subsets, load balancer, connect timeout.
// Everything else of the API is refused by name until it works.
#include <array>

#include "absl/time/time.h"
#include "base/strings.h"
#include "control-plane/resource/parse_object.h"

namespace weft::control_plane {
namespace {

using Names = std::string_view;
using mesh::v1::DestinationPolicy;

constexpr std::array<Names, 4> kSpecRead = {"host", "exportTo", "subsets", "trafficPolicy"};
constexpr std::array<Names, 1> kSpecKnown = {"workloadSelector"};
constexpr std::array<Names, 3> kSubsetRead = {"name", "labels", "trafficPolicy"};
constexpr std::array<Names, 2> kPolicyRead = {"loadBalancer", "connectionPool"};
constexpr std::array<Names, 6> kPolicyKnown = {"outlierDetection", "tls",           "portLevelSettings",
                                               "tunnel",           "proxyProtocol", "retryBudget"};
constexpr std::array<Names, 1> kSubsetPolicyRead = {"loadBalancer"};
constexpr std::array<Names, 7> kSubsetPolicyKnown = {"connectionPool",    "outlierDetection", "tls",
                                                     "portLevelSettings", "tunnel",           "proxyProtocol",
                                                     "retryBudget"};
constexpr std::array<Names, 1> kBalancerRead = {"simple"};
constexpr std::array<Names, 4> kBalancerKnown = {"consistentHash", "localityLbSetting", "warmup",
                                                 "warmupDurationSecs"};
constexpr std::array<Names, 2> kPoolRead = {"tcp", "http"};
constexpr std::array<Names, 1> kHttpRead = {"h2UpgradePolicy"};
constexpr std::array<Names, 7> kHttpKnown = {
    "http1MaxPendingRequests", "http2MaxRequests", "maxRequestsPerConnection", "maxRetries", "idleTimeout",
    "maxConcurrentStreams",    "useClientProtocol"};
constexpr std::array<Names, 1> kTcpRead = {"connectTimeout"};
constexpr std::array<Names, 4> kTcpKnown = {"maxConnections", "tcpKeepalive", "maxConnectionDuration",
                                            "idleTimeout"};

DestinationPolicy::LoadBalancer parse_balancer(const FieldReader& policy) {
  const auto balancer = policy.child("loadBalancer");
  if (!balancer || !balancer->expect_map({.read = kBalancerRead, .known = kBalancerKnown})) {
    return DestinationPolicy::LOAD_BALANCER_UNSPECIFIED;
  }
  const std::string simple = balancer->text("simple").value_or("UNSPECIFIED");
  if (simple == "UNSPECIFIED") return DestinationPolicy::LOAD_BALANCER_UNSPECIFIED;
  if (simple == "ROUND_ROBIN") return DestinationPolicy::ROUND_ROBIN;
  if (simple == "RANDOM") return DestinationPolicy::RANDOM;
  if (simple == "LEAST_REQUEST" || simple == "LEAST_CONN") return DestinationPolicy::LEAST_REQUEST;
  if (simple == "PASSTHROUGH") {
    balancer->error_at("simple", kNotSupportedYet, "PASSTHROUGH is not supported yet",
                       "use ROUND_ROBIN, RANDOM or LEAST_REQUEST");
  } else {
    balancer->error_at("simple", kValueRejected,
                       str_cat("\"", simple.substr(0, 32), "\" is no load balancer"),
                       "use ROUND_ROBIN, RANDOM or LEAST_REQUEST");
  }
  return DestinationPolicy::LOAD_BALANCER_UNSPECIFIED;
}

void parse_http_pool(const FieldReader& pool, DestinationPolicy& out) {
  const auto http = pool.child("http");
  if (!http || !http->expect_map({.read = kHttpRead, .known = kHttpKnown})) return;
  const std::string upgrade = http->text("h2UpgradePolicy").value_or("DEFAULT");
  if (upgrade == "UPGRADE") {
    out.set_http2_upgrade(DestinationPolicy::UPGRADE);
  } else if (upgrade == "DO_NOT_UPGRADE") {
    out.set_http2_upgrade(DestinationPolicy::DO_NOT_UPGRADE);
  } else if (upgrade != "DEFAULT") {
    http->error_at("h2UpgradePolicy", kValueRejected,
                   str_cat("\"", upgrade.substr(0, 32), "\" is no upgrade policy"),
                   "use DEFAULT, UPGRADE or DO_NOT_UPGRADE");
  }
}

void parse_connection_pool(const FieldReader& policy, DestinationPolicy& out) {
  const auto pool = policy.child("connectionPool");
  if (!pool || !pool->expect_map({.read = kPoolRead, .known = {}})) return;
  parse_http_pool(*pool, out);
  const auto tcp = pool->child("tcp");
  if (!tcp || !tcp->expect_map({.read = kTcpRead, .known = kTcpKnown})) return;
  const auto text = tcp->text("connectTimeout");
  if (!text) return;
  absl::Duration duration;
  if (!absl::ParseDuration(*text, &duration) || duration < absl::Milliseconds(1) ||
      duration > absl::Hours(1)) {
    tcp->error_at("connectTimeout", kValueRejected,
                  str_cat("\"", text->substr(0, 32), "\" is no usable duration"),
                  "use 1ms to 1h, for example 500ms or 3s");
    return;
  }
  out.set_connect_timeout_ms(static_cast<uint32_t>(absl::ToInt64Milliseconds(duration)));
}

void parse_subsets(const FieldReader& spec, DestinationRule& out) {
  for (const FieldReader& item : spec.items("subsets")) {
    if (!item.expect_map({.read = kSubsetRead, .known = {}})) continue;
    auto& subset = *out.policy.add_subsets();
    subset.set_name(item.required_text("name", "the name that routes use"));
    for (const auto& [key, value] : item.text_map("labels")) (*subset.mutable_labels())[key] = value;
    for (const HostReference& other : out.subsets) {
      if (other.subset == subset.name() && !subset.name().empty()) {
        item.error_at("name", kValueRejected, str_cat("subset \"", subset.name(), "\" is given twice"),
                      "give each subset its own name");
      }
    }
    const auto policy = item.child("trafficPolicy");
    if (policy && policy->expect_map({.read = kSubsetPolicyRead, .known = kSubsetPolicyKnown})) {
      subset.set_load_balancer(parse_balancer(*policy));
    }
    out.subsets.push_back(
        {.host = out.host.host, .subset = subset.name(), .line = item.line(), .field = item.path()});
  }
}

}  // namespace

DestinationRule parse_destination_rule(const FieldReader& root, ObjectMeta meta) {
  DestinationRule out{.meta = std::move(meta)};
  out.policy.set_name(out.meta.name);
  out.policy.set_namespace_(out.meta.ns);
  out.policy.set_created_unix(out.meta.created_unix);
  *out.policy.mutable_origin() = origin_of(out.meta);
  const auto spec = root.child("spec");
  if (!spec) {
    root.error_at("spec", kFieldMissing, "the field is required",
                  "give a host and its subsets or trafficPolicy");
    return out;
  }
  if (!spec->expect_map({.read = kSpecRead, .known = kSpecKnown})) return out;
  if (const auto host = spec->child("host")) {
    out.host = {.host = parse_host(*host, out.meta.ns), .line = host->line(), .field = host->path()};
    out.policy.set_host(out.host.host);
  } else {
    spec->error_at("host", kFieldMissing, "the field is required", "name the service this rule is for");
  }
  for (std::string& ns : parse_export_to(*spec, out.meta.ns, out.hidden))
    out.policy.add_export_to(std::move(ns));
  const auto policy = spec->child("trafficPolicy");
  if (policy && policy->expect_map({.read = kPolicyRead, .known = kPolicyKnown})) {
    out.policy.set_load_balancer(parse_balancer(*policy));
    parse_connection_pool(*policy, out.policy);
  }
  parse_subsets(*spec, out);
  return out;
}

}  // namespace weft::control_plane
