// trafficPolicy of DestinationRules, field by field, as resources, and what of it is refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/strings.h"
#include "control-plane/resource/parse_file.h"
#include "tests/unit/control-plane/compile_fixture.h"

namespace weft::control_plane {
namespace {

using mesh::v1::ClientTls;
using mesh::v1::LoadBalancing;
using mesh::v1::TrafficPolicy;

ParsedFile parse_rule(std::string_view policy) {
  return parse_file("f", str_cat("apiVersion: networking.istio.io/v1\nkind: DestinationRule\n"
                                 "metadata: {name: cart, namespace: shop}\n"
                                 "spec: {host: cart, trafficPolicy: {",
                                 policy, "}}\n"));
}

TrafficPolicy policy_of(std::string_view policy, std::string_view allowed_code = "") {
  const ParsedFile parsed = parse_rule(policy);
  for (const Finding& finding : parsed.findings) EXPECT_EQ(finding.code, allowed_code) << to_string(finding);
  if (parsed.objects.size() != 1) return TrafficPolicy();
  return std::get<DestinationRule>(parsed.objects[0]).policy.traffic_policy();
}

// "CODE field" of the first finding; empty when there is none.
std::string refusal(std::string_view policy) {
  const ParsedFile parsed = parse_rule(policy);
  if (parsed.findings.empty()) return "";
  constexpr std::string_view kPrefix = "spec.trafficPolicy.";
  std::string field = parsed.findings[0].field;
  if (field.starts_with(kPrefix)) field.erase(0, kPrefix.size());
  return str_cat(parsed.findings[0].code, " ", field);
}

TEST(TrafficPolicyTest, EverySimpleBalancerIsRead) {
  const auto algorithm = [](std::string_view name) {
    return policy_of(str_cat("loadBalancer: {simple: ", name, "}")).load_balancing().algorithm();
  };
  EXPECT_EQ(algorithm("ROUND_ROBIN"), LoadBalancing::ROUND_ROBIN);
  EXPECT_EQ(algorithm("RANDOM"), LoadBalancing::RANDOM);
  EXPECT_EQ(algorithm("LEAST_REQUEST"), LoadBalancing::LEAST_REQUEST);
  EXPECT_EQ(algorithm("LEAST_CONN"), LoadBalancing::LEAST_REQUEST);
  EXPECT_EQ(algorithm("PASSTHROUGH"), LoadBalancing::PASSTHROUGH);
  EXPECT_EQ(algorithm("UNSPECIFIED"), LoadBalancing::ALGORITHM_UNSPECIFIED);
  EXPECT_EQ(refusal("loadBalancer: {simple: FASTEST}"), "WF0002 loadBalancer.simple");
}

TEST(TrafficPolicyTest, ConsistentHashingHasOneKeyAndOneTable) {
  const auto hash = [](std::string_view text) {
    return policy_of(str_cat("loadBalancer: {consistentHash: {", text, "}}")).load_balancing();
  };
  EXPECT_EQ(hash("httpHeaderName: X-User").hash().header(), "x-user");
  EXPECT_EQ(hash("httpHeaderName: X-User").algorithm(), LoadBalancing::RING_HASH);
  EXPECT_EQ(hash("httpHeaderName: X-User").table_size(), 1024u);
  EXPECT_TRUE(hash("useSourceIp: true").hash().source_ip());
  EXPECT_EQ(hash("httpQueryParameterName: id").hash().query_parameter(), "id");
  EXPECT_EQ(hash("useSourceIp: true, ringHash: {minimumRingSize: 4096}").table_size(), 4096u);
  EXPECT_EQ(hash("useSourceIp: true, maglev: {}").table_size(), 65'537u);
  EXPECT_EQ(hash("useSourceIp: true, maglev: {tableSize: 251}").algorithm(), LoadBalancing::MAGLEV);
  EXPECT_EQ(refusal("loadBalancer: {consistentHash: {useSourceIp: true, httpHeaderName: a}}"),
            "WF0002 loadBalancer.consistentHash");
  EXPECT_EQ(refusal("loadBalancer: {consistentHash: {ringHash: {}}}"), "WF0002 loadBalancer.consistentHash");
  EXPECT_EQ(refusal("loadBalancer: {consistentHash: {useSourceIp: true, maglev: {tableSize: 1000}}}"),
            "WF0002 loadBalancer.consistentHash.maglev.tableSize");
  EXPECT_EQ(refusal("loadBalancer: {simple: RANDOM, consistentHash: {useSourceIp: true}}"),
            "WF0002 loadBalancer.consistentHash");
}

TEST(TrafficPolicyTest, ATableThatIsTooLargeIsMadeSmallerAndSaid) {
  const auto size = [](std::string_view table) {
    return policy_of(str_cat("loadBalancer: {consistentHash: {useSourceIp: true, ", table, "}}"), "WF0036")
        .load_balancing()
        .table_size();
  };
  EXPECT_EQ(size("ringHash: {minimumRingSize: 5000000}"), 131'072u);
  EXPECT_EQ(size("minimumRingSize: 131073"), 131'072u);
  EXPECT_EQ(size("maglev: {tableSize: 5000011}"), 131'071u);
  EXPECT_EQ(refusal("loadBalancer: {consistentHash: {useSourceIp: true, maglev: {tableSize: 131071}}}"), "");
}

TEST(TrafficPolicyTest, CookiesHaveAPathAnAgeAndAttributes) {
  const auto cookie = policy_of(
                          "loadBalancer: {consistentHash: {httpCookie: {name: user, path: /shop, ttl: 60s, "
                          "attributes: [{name: SameSite, value: Lax}, {name: Secure}]}}}")
                          .load_balancing()
                          .hash()
                          .cookie();
  EXPECT_EQ(cookie.name(), "user");
  EXPECT_EQ(cookie.path(), "/shop");
  EXPECT_EQ(cookie.ttl_seconds(), 60u);
  EXPECT_THAT(cookie.attributes(), ::testing::ElementsAre("SameSite=Lax", "Secure"));
  const auto bare = policy_of("loadBalancer: {consistentHash: {httpCookie: {name: user}}}");
  EXPECT_FALSE(bare.load_balancing().hash().cookie().has_ttl_seconds());
  EXPECT_EQ(refusal("loadBalancer: {consistentHash: {httpCookie: {name: 'a b'}}}"),
            "WF0002 loadBalancer.consistentHash.httpCookie.name");
  EXPECT_EQ(refusal("loadBalancer: {consistentHash: {httpCookie: {name: a, path: '/; x'}}}"),
            "WF0002 loadBalancer.consistentHash.httpCookie.path");
}

TEST(TrafficPolicyTest, WarmupHasDefaultsAndAnOlderForm) {
  const auto full = policy_of("loadBalancer: {warmup: {duration: 30s, minimumPercent: 20, aggression: 1.5}}");
  EXPECT_EQ(full.load_balancing().warmup().duration_ms(), 30'000u);
  EXPECT_EQ(full.load_balancing().warmup().minimum_percent(), 20);
  EXPECT_EQ(full.load_balancing().warmup().aggression(), 1.5);
  const auto old = policy_of("loadBalancer: {simple: ROUND_ROBIN, warmupDurationSecs: 10s}");
  EXPECT_EQ(old.load_balancing().warmup().duration_ms(), 10'000u);
  EXPECT_EQ(old.load_balancing().warmup().minimum_percent(), 10);
  EXPECT_EQ(refusal("loadBalancer: {warmup: {aggression: 2}}"), "WF0026 loadBalancer.warmup.duration");
  EXPECT_EQ(refusal("loadBalancer: {simple: RANDOM, warmupDurationSecs: 10s}"), "WF0036 loadBalancer");
}

TEST(TrafficPolicyTest, LocalityRulesExcludeOneAnother) {
  const auto locality = [](std::string_view text) {
    return policy_of(str_cat("loadBalancer: {localityLbSetting: {", text, "}}")).load_balancing().locality();
  };
  EXPECT_TRUE(locality("enabled: false").disabled());
  EXPECT_EQ(locality("distribute: [{from: a/*, to: {a/1/*: 80, b/*: 20}}]").distribute(0).to().at("b/*"),
            20u);
  EXPECT_EQ(locality("failover: [{from: a, to: b}]").failover(0).to_region(), "b");
  EXPECT_THAT(locality("failoverPriority: [rack, team=x]").failover_priority(),
              ::testing::ElementsAre("rack", "team=x"));
  constexpr std::string_view kAt = "loadBalancer.localityLbSetting";
  EXPECT_EQ(refusal("loadBalancer: {localityLbSetting: {distribute: [{from: a, to: {b: 90}}]}}"),
            str_cat("WF0002 ", kAt, ".distribute[0].to"));
  for (const char* to : {"{a/*: 50, a/1/*: 50}", "{'*': 50, a: 50}", "{a/1: 50, a/1/x: 50}"})
    EXPECT_EQ(refusal(str_cat("loadBalancer: {localityLbSetting: {distribute: [{from: a, to: ", to, "}]}}")),
              str_cat("WF0002 ", kAt, ".distribute[0].to"));
  EXPECT_EQ(
      refusal("loadBalancer: {localityLbSetting: {failover: [{from: a, to: b}], failoverPriority: [c]}}"),
      str_cat("WF0002 ", kAt, ".failover"));
  EXPECT_EQ(refusal("loadBalancer: {localityLbSetting: {failover: [{from: a, to: a}]}}"),
            str_cat("WF0002 ", kAt, ".failover[0].to"));
  EXPECT_EQ(refusal("loadBalancer: {zoneAwareLbSetting: {}}"), "WF0025 loadBalancer.zoneAwareLbSetting");
}

TEST(TrafficPolicyTest, EveryLimitOfTheConnectionPoolIsRead) {
  const auto pool =
      policy_of(
          "connectionPool: {tcp: {maxConnections: 1, connectTimeout: 2s, maxConnectionDuration: "
          "3s, idleTimeout: 0s, tcpKeepalive: {probes: 4, time: 5s, interval: 6s}}, http: "
          "{http1MaxPendingRequests: 7, http2MaxRequests: 8, maxRequestsPerConnection: 9, "
          "maxRetries: 10, idleTimeout: 11s, maxConcurrentStreams: 12, useClientProtocol: true, "
          "http2KeepAlive: {interval: 13s, timeout: 14s}}}")
          .connection_pool();
  EXPECT_EQ(pool.max_connections(), 1u);
  EXPECT_EQ(pool.connect_timeout_ms(), 2000u);
  EXPECT_EQ(pool.max_connection_duration_ms(), 3000u);
  EXPECT_TRUE(pool.has_tcp_idle_ms());
  EXPECT_EQ(pool.tcp_idle_ms(), 0u);
  EXPECT_EQ(pool.keepalive().probes(), 4u);
  EXPECT_EQ(pool.keepalive().time_seconds(), 5u);
  EXPECT_EQ(pool.keepalive().interval_seconds(), 6u);
  EXPECT_EQ(pool.max_pending_requests(), 7u);
  EXPECT_EQ(pool.max_requests(), 8u);
  EXPECT_EQ(pool.max_requests_per_connection(), 9u);
  EXPECT_EQ(pool.max_retries(), 10u);
  EXPECT_EQ(pool.http_idle_ms(), 11'000u);
  EXPECT_EQ(pool.max_concurrent_streams(), 12u);
  EXPECT_TRUE(pool.use_client_protocol());
  EXPECT_EQ(pool.ping_interval_ms(), 13'000u);
  EXPECT_EQ(pool.ping_timeout_ms(), 14'000u);
  EXPECT_EQ(refusal("connectionPool: {http: {http2KeepAlive: {interval: 1s}}}"),
            "WF0026 connectionPool.http.http2KeepAlive.timeout");
  EXPECT_EQ(refusal("connectionPool: {tcp: {maxConnections: -1}}"),
            "WF0002 connectionPool.tcp.maxConnections");
}

TEST(TrafficPolicyTest, OutlierDetectionCarriesItsDefaults) {
  const auto bare = policy_of("outlierDetection: {}").outlier_detection();
  EXPECT_EQ(bare.consecutive_5xx(), 5u);
  EXPECT_EQ(bare.consecutive_gateway(), 0u);
  EXPECT_EQ(bare.consecutive_local_origin(), 5u);
  EXPECT_EQ(bare.interval_ms(), 10'000u);
  EXPECT_EQ(bare.base_ejection_ms(), 30'000u);
  EXPECT_EQ(bare.max_ejection_percent(), 10u);
  EXPECT_EQ(bare.min_health_percent(), 0u);
  const auto full =
      policy_of(
          "outlierDetection: {splitExternalLocalOriginErrors: true, "
          "consecutiveLocalOriginFailures: 1, consecutiveGatewayErrors: 2, consecutive5xxErrors: "
          "3, interval: 4s, baseEjectionTime: 5s, maxEjectionPercent: 60, minHealthPercent: 7, "
          "outlierDetectionHttpErrorCodes: [500, 429]}")
          .outlier_detection();
  EXPECT_TRUE(full.split_local_origin());
  EXPECT_EQ(full.consecutive_local_origin(), 1u);
  EXPECT_EQ(full.consecutive_gateway(), 2u);
  EXPECT_EQ(full.consecutive_5xx(), 3u);
  EXPECT_EQ(full.interval_ms(), 4000u);
  EXPECT_EQ(full.base_ejection_ms(), 5000u);
  EXPECT_EQ(full.max_ejection_percent(), 60u);
  EXPECT_EQ(full.min_health_percent(), 7u);
  EXPECT_THAT(full.error_codes(), ::testing::ElementsAre(500u, 429u));
  EXPECT_EQ(refusal("outlierDetection: {maxEjectionPercent: 101}"),
            "WF0002 outlierDetection.maxEjectionPercent");
  EXPECT_EQ(refusal("outlierDetection: {consecutiveErrors: 5}"), "WF0025 outlierDetection.consecutiveErrors");
  EXPECT_EQ(refusal("outlierDetection: {consecutiveLocalOriginFailures: 5}"), "WF0036 outlierDetection");
}

TEST(TrafficPolicyTest, TlsIsReadAndWhatWouldNotBeInForceIsRefused) {
  const ClientTls simple = policy_of("tls: {mode: SIMPLE, sni: a.example, subjectAltNames: [b, c]}").tls();
  EXPECT_EQ(simple.mode(), ClientTls::SIMPLE);
  EXPECT_EQ(simple.sni(), "a.example");
  EXPECT_THAT(simple.subject_alt_names(), ::testing::ElementsAre("b", "c"));
  const ClientTls mutual =
      policy_of("tls: {mode: MUTUAL, credentialName: client, insecureSkipVerify: true}").tls();
  EXPECT_EQ(mutual.credential_name(), "client");
  EXPECT_TRUE(mutual.insecure_skip_verify());
  EXPECT_EQ(policy_of("tls: {mode: ISTIO_MUTUAL}").tls().mode(), ClientTls::ISTIO_MUTUAL);
  EXPECT_EQ(refusal("tls: {mode: SIMPLE, caCertificates: system}"), "");
  EXPECT_EQ(policy_of("tls: {mode: SIMPLE, caCertificates: /ca}").tls().credential_name(), "files:||/ca|");
  EXPECT_EQ(policy_of("tls: {mode: MUTUAL, clientCertificate: /c, privateKey: /k}").tls().credential_name(),
            "files:/c|/k||");
  EXPECT_EQ(refusal("tls: {mode: SIMPLE, caCertificates: ca}"), "WF0002 tls.caCertificates");
  EXPECT_EQ(refusal("tls: {mode: SIMPLE, caCrl: /crl}"), "WF0002 tls.caCrl");
  EXPECT_EQ(refusal("tls: {mode: SIMPLE, credentialName: c, caCertificates: /c}"),
            "WF0002 tls.credentialName");
  EXPECT_EQ(refusal("tls: {mode: MUTUAL, privateKey: /k}"), "WF0026 tls.privateKey");
  EXPECT_EQ(refusal("tls: {mode: SIMPLE, credentialName: other/c}"), "WF0002 tls.credentialName");
  EXPECT_EQ(refusal("tls: {mode: ISTIO_MUTUAL, credentialName: c}"), "WF0002 tls.mode");
  EXPECT_EQ(refusal("tls: {mode: DISABLE}"), "");
  EXPECT_EQ(refusal("tls: {mode: MUTUAL}"), "WF0026 tls.mode");
  EXPECT_EQ(refusal("tls: {mode: STRICT}"), "WF0002 tls.mode");
}

TEST(TrafficPolicyTest, RetryBudgetsAreOfWhatIsUnderWay) {
  const auto budget = policy_of("retryBudget: {percent: 12.5, minRetryConcurrency: 7}").retry_budget();
  EXPECT_EQ(budget.percent(), 12.5);
  EXPECT_EQ(budget.min_concurrency(), 7u);
  EXPECT_EQ(policy_of("retryBudget: {}").retry_budget().percent(), 20);
  EXPECT_EQ(policy_of("retryBudget: {}").retry_budget().min_concurrency(), 3u);
  EXPECT_EQ(refusal("retryBudget: {budgetInterval: 10s}"), "WF0025 retryBudget.budgetInterval");
}

// What the kernel is told that a port declared TCP speaks: UNKNOWN leaves it to the proxy.
istio::workload::AppProtocol told_to_the_kernel(std::string_view policy, std::string_view port = "tcp") {
  const Compiled compiled = compile_text(str_cat(
      "apiVersion: v1\nkind: Service\nmetadata: {name: db, namespace: shop}\nspec: {clusterIP: 10.0.0.1, "
      "ports: "
      "[{port: 5432, name: ",
      port,
      "}]}\n---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: db, namespace: "
      "other}\nspec: {host: db.shop.svc.cluster.local, trafficPolicy: {",
      policy, "}}\n"));
  return service(compiled, "shop/db.shop.svc.cluster.local").ports(0).app_protocol();
}

TEST(TrafficPolicyTest, APortOfConnectionsGoesThroughTheProxyWhereARuleAsksMoreThanTheKernelDoes) {
  for (const char* policy :
       {"connectionPool: {tcp: {maxConnections: 1}}", "connectionPool: {tcp: {idleTimeout: 1s}}",
        "outlierDetection: {}", "loadBalancer: {consistentHash: {useSourceIp: true}}",
        "loadBalancer: {localityLbSetting: {failoverPriority: [rack]}}",
        "loadBalancer: {simple: PASSTHROUGH}",
        "portLevelSettings: [{port: {number: 5432}, outlierDetection: {}}]"})
    EXPECT_EQ(told_to_the_kernel(policy), istio::workload::UNKNOWN) << policy;
  for (const char* policy :
       {"", "loadBalancer: {simple: ROUND_ROBIN}", "connectionPool: {http: {maxRetries: 1}}",
        "outlierDetection: {}, portLevelSettings: [{port: {number: 5432}}]",
        "portLevelSettings: [{port: {number: 1}, outlierDetection: {}}]"})
    EXPECT_EQ(told_to_the_kernel(policy), istio::workload::TCP) << policy;
  EXPECT_EQ(told_to_the_kernel("outlierDetection: {}", "http"), istio::workload::HTTP11);
}

TEST(TrafficPolicyTest, PortsHaveBlocksOfTheirOwn) {
  const auto policy = policy_of(
      "connectionPool: {tcp: {maxConnections: 5}}, portLevelSettings: [{port: {number: 80}, loadBalancer: "
      "{simple: RANDOM}}]");
  EXPECT_EQ(policy.ports(0).port(), 80u);
  EXPECT_EQ(policy.ports(0).policy().load_balancing().algorithm(), LoadBalancing::RANDOM);
  EXPECT_FALSE(policy.ports(0).policy().has_connection_pool());
  EXPECT_EQ(refusal("portLevelSettings: [{loadBalancer: {simple: RANDOM}}]"),
            "WF0026 portLevelSettings[0].port");
  EXPECT_EQ(refusal("portLevelSettings: [{port: {number: 80}}, {port: {number: 80}}]"),
            "WF0002 portLevelSettings[1].port.number");
}

TEST(TrafficPolicyTest, WhatDoesNotWorkIsRefusedByName) {
  EXPECT_EQ(refusal("tunnel: {targetHost: a, targetPort: 1}"), "WF0025 tunnel");
  EXPECT_EQ(refusal("proxyProtocol: {version: V1}"), "WF0025 proxyProtocol");
}

}  // namespace
}  // namespace weft::control_plane
