// See parse_traffic_policy.h: the policy as a whole, outlier detection, TLS and retry budget.
#include "control-plane/resource/parse_traffic_policy.h"

#include <array>

#include "base/strings.h"
#include "control-plane/resource/certificate_paths.h"
#include "control-plane/resource/measure_fields.h"

namespace weft::control_plane {
namespace {

using Names = std::string_view;
using mesh::v1::ClientTls;
using mesh::v1::OutlierDetection;
using mesh::v1::TrafficPolicy;

constexpr std::array<Names, 6> kPolicyRead = {"loadBalancer", "connectionPool",    "outlierDetection",
                                              "tls",          "portLevelSettings", "retryBudget"};
constexpr std::array<Names, 2> kPolicyKnown = {"tunnel", "proxyProtocol"};
constexpr std::array<Names, 5> kPortRead = {"port", "loadBalancer", "connectionPool", "outlierDetection",
                                            "tls"};
constexpr std::array<Names, 1> kNumberRead = {"number"};
constexpr std::array<Names, 9> kOutlierRead = {"splitExternalLocalOriginErrors",
                                               "consecutiveLocalOriginFailures",
                                               "consecutiveGatewayErrors",
                                               "consecutive5xxErrors",
                                               "interval",
                                               "baseEjectionTime",
                                               "maxEjectionPercent",
                                               "minHealthPercent",
                                               "outlierDetectionHttpErrorCodes"};
constexpr std::array<Names, 1> kOutlierKnown = {"consecutiveErrors"};
constexpr std::array<Names, 9> kTlsRead = {
    "mode", "clientCertificate",  "privateKey", "caCertificates", "credentialName", "subjectAltNames",
    "sni",  "insecureSkipVerify", "caCrl"};
constexpr std::array<Names, 3> kBudgetRead = {"percent", "minRetryConcurrency", "budgetInterval"};

constexpr int64_t kMaxCount = 0xffffffff;
constexpr uint32_t kIntervalMs = 10'000, kBaseEjectionMs = 30'000, kConsecutive = 5, kMaxEjectionPercent = 10;

uint32_t count(const FieldReader& parent, Names name, uint32_t otherwise, int64_t high = kMaxCount) {
  return static_cast<uint32_t>(parent.integer(name, 0, high).value_or(otherwise));
}

void parse_outlier(const FieldReader& policy, TrafficPolicy& out) {
  const auto outlier = policy.child("outlierDetection");
  if (!outlier || !outlier->expect_map({.read = kOutlierRead, .known = kOutlierKnown})) return;
  OutlierDetection& to = *out.mutable_outlier_detection();
  to.set_consecutive_5xx(count(*outlier, "consecutive5xxErrors", kConsecutive));
  to.set_consecutive_gateway(count(*outlier, "consecutiveGatewayErrors", 0));
  to.set_split_local_origin(outlier->boolean("splitExternalLocalOriginErrors").value_or(false));
  to.set_consecutive_local_origin(count(*outlier, "consecutiveLocalOriginFailures", kConsecutive));
  to.set_interval_ms(duration_ms(*outlier, "interval", 1).value_or(kIntervalMs));
  to.set_base_ejection_ms(duration_ms(*outlier, "baseEjectionTime", 1).value_or(kBaseEjectionMs));
  to.set_max_ejection_percent(count(*outlier, "maxEjectionPercent", kMaxEjectionPercent, 100));
  to.set_min_health_percent(count(*outlier, "minHealthPercent", 0, 100));
  for (const FieldReader& code : outlier->items("outlierDetectionHttpErrorCodes")) {
    if (const auto number = code.as_integer(100, 599)) to.add_error_codes(static_cast<uint32_t>(*number));
  }
  if (outlier->has("consecutiveLocalOriginFailures") && !to.split_local_origin())
    outlier->warning(kWithoutEffect,
                     "consecutiveLocalOriginFailures counts only with splitExternalLocalOriginErrors",
                     "set splitExternalLocalOriginErrors: true, or remove it");
}

ClientTls::Mode mode_of(const FieldReader& tls) {
  const std::string mode = tls.text("mode").value_or("DISABLE");
  ClientTls::Mode out = ClientTls::MODE_UNSPECIFIED;
  if (mode != "MODE_UNSPECIFIED" && ClientTls::Mode_Parse(mode, &out)) return out;
  tls.error_at("mode", kValueRejected, str_cat("\"", mode.substr(0, 32), "\" is no TLS mode"),
               "use DISABLE, SIMPLE, MUTUAL or ISTIO_MUTUAL");
  return ClientTls::DISABLE;
}

// Files stand in a Secret of their own. "system" stays what it is.
void parse_files(const FieldReader& tls, ClientTls& to) {
  const auto files = parse_certificate_paths(tls, "clientCertificate");
  if (tls.text("caCertificates").value_or("") == "system") to.set_ca_certificates("system");
  if (!files) return;
  if (!to.credential_name().empty())
    tls.error_at("credentialName", kValueRejected, "credentialName and files exclude each other",
                 "give one of them");
  if (!files->crl.empty() && files->ca.empty())
    tls.error_at("caCrl", kValueRejected, "a list of revocations without the authority that signed it",
                 "give caCertificates");
  to.set_credential_name(files->secret_name());
}

void parse_tls(const FieldReader& policy, TrafficPolicy& out) {
  const auto tls = policy.child("tls");
  if (!tls || !tls->expect_map({.read = kTlsRead, .known = {}})) return;
  ClientTls& to = *out.mutable_tls();
  to.set_mode(mode_of(*tls));
  to.set_credential_name(tls->text("credentialName").value_or(""));
  for (std::string& name : tls->texts("subjectAltNames")) to.add_subject_alt_names(std::move(name));
  to.set_sni(tls->text("sni").value_or(""));
  to.set_insecure_skip_verify(tls->boolean("insecureSkipVerify").value_or(false));
  if (to.credential_name().find('/') != std::string::npos)
    tls->error_at("credentialName", kValueRejected, "it names a Secret of another namespace",
                  "give the name of a Secret in the rule's own namespace");
  parse_files(*tls, to);
  if (to.mode() == ClientTls::MUTUAL && to.credential_name().empty())
    tls->error_at("mode", kFieldMissing, "MUTUAL needs a certificate to show",
                  "name a Secret in credentialName, give clientCertificate and privateKey, or use SIMPLE");
  if (to.mode() == ClientTls::ISTIO_MUTUAL && !to.credential_name().empty())
    tls->error_at("mode", kValueRejected, "ISTIO_MUTUAL uses the mesh's own certificates",
                  "remove credentialName and files, or use MUTUAL");
}

void parse_budget(const FieldReader& policy, TrafficPolicy& out) {
  const auto budget = policy.child("retryBudget");
  if (!budget || !budget->expect_map({.read = kBudgetRead, .known = {}})) return;
  constexpr double kPercent = 20;
  constexpr uint32_t kMinConcurrency = 3;
  auto& to = *out.mutable_retry_budget();
  to.set_percent(number(*budget, "percent", 0, 100).value_or(kPercent));
  to.set_min_concurrency(count(*budget, "minRetryConcurrency", kMinConcurrency));
  if (duration_ms(*budget, "budgetInterval", 0).value_or(0) > 0)
    budget->error_at("budgetInterval", kNotSupportedYet, "a budget over an interval is not supported yet",
                     "remove it: the budget is of the requests that are under way");
}

void parse_blocks(const FieldReader& policy, TrafficPolicy& out) {
  mesh::v1::LoadBalancing balancing;
  if (parse_load_balancer(policy, balancing)) *out.mutable_load_balancing() = std::move(balancing);
  mesh::v1::ConnectionPool pool;
  if (parse_connection_pool(policy, pool)) *out.mutable_connection_pool() = std::move(pool);
  parse_outlier(policy, out);
  parse_tls(policy, out);
}

void parse_ports(const FieldReader& policy, TrafficPolicy& out) {
  for (const FieldReader& item : policy.items("portLevelSettings")) {
    if (!item.expect_map({.read = kPortRead, .known = {}})) continue;
    const auto port = item.child("port");
    if (!port) {
      item.error_at("port", kFieldMissing, "the field is required", "write port: {number: 80}");
      continue;
    }
    if (!port->expect_map({.read = kNumberRead, .known = {}})) continue;
    if (!port->has("number"))
      port->error_at("number", kFieldMissing, "the field is required", "give the service's port");
    const auto number = static_cast<uint32_t>(port->integer("number", 1, 65535).value_or(0));
    for (const TrafficPolicy::Port& other : out.ports()) {
      if (other.port() == number && number != 0)
        port->error_at("number", kValueRejected, str_cat("port ", number, " is given twice"),
                       "give each port one entry");
    }
    TrafficPolicy::Port& to = *out.add_ports();
    to.set_port(number);
    parse_blocks(item, *to.mutable_policy());
  }
}

}  // namespace

bool parse_traffic_policy(const FieldReader& owner, TrafficPolicy& out) {
  const auto policy = owner.child("trafficPolicy");
  if (!policy || !policy->expect_map({.read = kPolicyRead, .known = kPolicyKnown})) return false;
  parse_blocks(*policy, out);
  parse_budget(*policy, out);
  parse_ports(*policy, out);
  return true;
}

}  // namespace weft::control_plane
