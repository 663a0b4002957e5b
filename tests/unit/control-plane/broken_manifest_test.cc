// Every broken manifest is refused with the code, line, field and remedy its author needs. Reads
// tests/data/manifests/broken.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "base/strings.h"
#include "control-plane/control_plane.h"

namespace weft::control_plane {
namespace {

constexpr char kFolder[] = "tests/data/manifests/broken";

struct Row {
  const char* file;
  const char* code;
  uint32_t line;
  const char* field;
  const char* remedy;  // part of it
};

constexpr Row kRows[] = {
    {"peer_mode.yaml", "WF0002", 7, "spec.mtls.mode", "STRICT, PERMISSIVE"},
    {"peer_ports_alone.yaml", "WF0026", 8, "spec.portLevelMtls", "matchLabels"},
    {"peer_bad_port.yaml", "WF0002", 10, "spec.portLevelMtls.http", "number of a port"},
    {"peer_misspelt.yaml", "WF0024", 6, "spec.mtl", "\"mtls\""},
    {"peer_empty_selector.yaml", "WF0026", 6, "spec.selector", "matchLabels"},
    {"weights_zero.yaml", "WF0008", 9, "spec.http[0].route", "weight above 0"},
    {"weight_negative.yaml", "WF0002", 11, "spec.http[0].route[0].weight", "from 0"},
    {"weight_text.yaml", "WF0027", 11, "spec.http[0].route[0].weight", "without quotes"},
    {"misspelt_field.yaml", "WF0024", 10, "spec.http[0].route[0].destinaton", "\"destination\""},
    {"misspelt_weight.yaml", "WF0024", 12, "spec.http[0].route[0].wieght", "\"weight\""},
    {"unsupported_retries.yaml", "WF0025", 12, "spec.http[0].retries.retryRemoteLocalities", "remove"},
    {"retries_no_attempts.yaml", "WF0026", 10, "spec.http[0].retries.attempts", "switches retries off"},
    {"retries_misspelt.yaml", "WF0002", 12, "spec.http[0].retries.retryOn", "\"connect-failure\""},
    {"retries_bad_code.yaml", "WF0002", 12, "spec.http[0].retries.retryOn", "100 to 599"},
    {"mirror_and_mirrors.yaml", "WF0002", 11, "spec.http[0].mirrors", "keep one"},
    {"mirror_of_redirect.yaml", "WF0002", 10, "spec.http[0].mirror", "remove it"},
    {"mirror_no_host.yaml", "WF0026", 11, "spec.http[0].mirrors[0].destination", "destination.host"},
    {"cors_unmatched.yaml", "WF0002", 12, "spec.http[0].corsPolicy.unmatchedPreflights", "FORWARD or IGNORE"},
    {"cors_method.yaml", "WF0002", 12, "spec.http[0].corsPolicy.allowMethods[0]", "one method"},
    {"route_and_redirect.yaml", "WF0002", 9, "spec.http[0].route", "keep one"},
    {"redirect_and_direct_response.yaml", "WF0002", 10, "spec.http[0].directResponse", "keep one"},
    {"direct_response_and_fault.yaml", "WF0002", 10, "spec.http[0].fault", "keep one"},
    {"redirect_to_itself.yaml", "WF0026", 9, "spec.http[0].redirect", "give uri"},
    {"redirect_code.yaml", "WF0002", 11, "spec.http[0].redirect.redirectCode", "307"},
    {"redirect_two_paths.yaml", "WF0002", 11, "spec.http[0].redirect.prefixRewrite", "keep one"},
    {"redirect_two_ports.yaml", "WF0002", 11, "spec.http[0].redirect.derivePort", "keep one"},
    {"redirect_scheme.yaml", "WF0002", 10, "spec.http[0].redirect.scheme", "http or https"},
    {"redirect_bad_path.yaml", "WF0002", 10, "spec.http[0].redirect.uri", "begin it"},
    {"direct_response_status.yaml", "WF0002", 10, "spec.http[0].directResponse.status", "200 to 599"},
    {"direct_response_no_status.yaml", "WF0026", 9, "spec.http[0].directResponse.status", "give a status"},
    {"direct_response_two_bodies.yaml", "WF0002", 11, "spec.http[0].directResponse.body.bytes", "keep one"},
    {"direct_response_not_base64.yaml", "WF0002", 12, "spec.http[0].directResponse.body.bytes", "base64"},
    {"rewrite_two.yaml", "WF0002", 12, "spec.http[0].rewrite.uriRegexRewrite", "keep one"},
    {"rewrite_group.yaml", "WF0002", 13, "spec.http[0].rewrite.uriRegexRewrite.rewrite", "groups"},
    {"rewrite_bad_regex.yaml", "WF0002", 12, "spec.http[0].rewrite.uriRegexRewrite.match", "RE2"},
    {"rewrite_bad_authority.yaml", "WF0002", 11, "spec.http[0].rewrite.authority", "a name or an address"},
    {"rewrite_empty.yaml", "WF0026", 10, "spec.http[0].rewrite", "give uri"},
    {"fault_no_status.yaml", "WF0026", 11, "spec.http[0].fault.abort", "httpStatus or grpcStatus"},
    {"fault_percentage.yaml", "WF0002", 13, "spec.http[0].fault.abort.percentage.value", "0 to 100"},
    {"fault_percentage_text.yaml", "WF0027", 13, "spec.http[0].fault.abort.percentage.value",
     "without quotes"},
    {"fault_grpc_name.yaml", "WF0002", 12, "spec.http[0].fault.abort.grpcStatus", "UNAVAILABLE"},
    {"fault_no_delay.yaml", "WF0026", 11, "spec.http[0].fault.delay.fixedDelay", "duration"},
    {"fault_short_delay.yaml", "WF0002", 12, "spec.http[0].fault.delay.fixedDelay", "1ms to 1h"},
    {"timeout_text.yaml", "WF0002", 10, "spec.http[0].timeout", "500ms"},
    {"header_framing.yaml", "WF0002", 13, "spec.http[0].headers.request.set.Content-Length",
     "the proxy writes"},
    {"header_pseudo.yaml", "WF0002", 12, "spec.http[0].headers.request.set.:path", "use rewrite"},
    {"header_remove_host.yaml", "WF0002", 12, "spec.http[0].headers.request.remove[1]", "rewrite.authority"},
    {"header_variable.yaml", "WF0002", 13, "spec.http[0].headers.request.add.x-code", "REQ(HEADER)"},
    {"header_percent.yaml", "WF0002", 13, "spec.http[0].headers.response.set.x-share", "RESPONSE_CODE"},
    {"header_twice.yaml", "WF0028", 14, "spec.http[0].headers.request.set.x-a", "keep one"},
    {"header_line_break.yaml", "WF0002", 13, "spec.http[0].headers.request.set.x-a", "one line"},
    {"destination_header_framing.yaml", "WF0002", 13, "spec.http[0].route[0].headers.response.remove[0]",
     "the proxy writes"},
    {"gateway.yaml", "WF0002", 10, "spec.gateways[1]", "mesh"},
    {"star_host.yaml", "WF0002", 8, "spec.hosts[0]", "name the hosts"},
    {"overlapping_hosts.yaml", "WF0002", 9, "spec.hosts[1]", "remove one"},
    {"no_hosts.yaml", "WF0026", 7, "spec.hosts", "for a delegate"},
    {"delegate_and_route.yaml", "WF0002", 9, "spec.http[0].route", "keep one"},
    {"delegate_of_delegate.yaml", "WF0002", 9, "spec.http[0].delegate", "delegate once only"},
    {"delegate_without_name.yaml", "WF0026", 9, "spec.http[0].delegate.name", "without hosts"},
    {"delegate_with_gateways.yaml", "WF0002", 7, "spec.gateways", "give it hosts"},
    {"match_gateway.yaml", "WF0002", 10, "spec.http[0].match[0].gateways[0]", "mesh"},
    {"no_route.yaml", "WF0026", 9, "spec.http[0].route", "add route"},
    {"bad_regex.yaml", "WF0002", 11, "spec.http[0].match[0].uri.regex", "RE2"},
    {"two_matchers.yaml", "WF0002", 11, "spec.http[0].match[0].headers.x-user", "exactly one"},
    {"reserved_header.yaml", "WF0002", 11, "spec.http[0].match[0].headers.method", "match[].method"},
    {"http_not_a_list.yaml", "WF0027", 8, "spec.http", "- "},
    {"port_out_of_range.yaml", "WF0002", 13, "spec.http[0].route[0].destination.port.number", "65535"},
    {"duplicate_key.yaml", "WF0028", 11, "spec.hosts", "keep one"},
    {"bad_export.yaml", "WF0002", 8, "spec.exportTo[0]", "namespace"},
    {"number_label.yaml", "WF0027", 11, "spec.subsets[0].labels.version", "\"1\""},
    {"duplicate_subset.yaml", "WF0002", 11, "spec.subsets[1].name", "own name"},
    {"bad_balancer.yaml", "WF0002", 10, "spec.trafficPolicy.loadBalancer.simple", "ROUND_ROBIN"},
    {"unsupported_tunnel.yaml", "WF0025", 9, "spec.trafficPolicy.tunnel", "remove"},
    {"bad_duration.yaml", "WF0027", 11, "spec.trafficPolicy.connectionPool.tcp.connectTimeout", "quote"},
    {"missing_host.yaml", "WF0026", 6, "spec.host", "name the service"},
    {"misspelt_service.yaml", "WF0024", 6, "spec.selectr", "\"selector\""},
    {"bad_cluster_ip.yaml", "WF0002", 6, "spec.clusterIP", "IPv4"},
    {"slice_without_service.yaml", "WF0026", 3, "metadata", "kubernetes.io/service-name"},
    {"bad_exclusion.yaml", "WF0002", 6, "metadata.annotations[traffic.sidecar.istio.io/excludeOutboundPorts]",
     "port numbers"},
    {"bad_mesh_label.yaml", "WF0002", 6, "metadata.labels[weft.dev/mesh]", "enabled or disabled"},
    {"wrong_version.yaml", "WF0031", 1, "apiVersion", "networking.istio.io/v1"},
    {"no_kind.yaml", "WF0030", 1, "", "apiVersion"},
    {"syntax.yaml", "WF0021", 5, "", "YAML"},
    {"nameless.yaml", "WF0026", 3, "metadata.name", "name"},
    {"billion_laughs.yaml", "WF0022", 5, "", "split"},
    {"policy_bad_range.yaml", "WF0002", 12, "spec.rules[0].from[0].source.ipBlocks[1]", "fd00::/8"},
    {"policy_bad_port.yaml", "WF0002", 10, "spec.rules[0].to[0].operation.notPorts[0]", "65535"},
    {"policy_number_port.yaml", "WF0027", 10, "spec.rules[0].to[0].operation.ports[0]", "\"8080\""},
    {"policy_bad_action.yaml", "WF0002", 7, "spec.action", "ALLOW, DENY, AUDIT or CUSTOM"},
    {"policy_audit.yaml", "WF0026", 8, "spec.rules", "reports everything"},
    {"policy_custom.yaml", "WF0002", 8, "spec.provider", "CUSTOM"},
    {"policy_misspelt.yaml", "WF0024", 10, "spec.rules[0].from[0].source.namespace", "\"namespaces\""},
    {"policy_target_refs.yaml", "WF0025", 8, "spec.targetRefs[0].kind", "selector.matchLabels"},
    {"policy_empty_from.yaml", "WF0026", 8, "spec.rules[0].from", "at least one entry"},
    {"policy_null_from.yaml", "WF0026", 8, "spec.rules[0].from", "remove it"},
    {"policy_empty_values.yaml", "WF0026", 10, "spec.rules[0].from[0].source.namespaces",
     "at least one value"},
    {"policy_empty_value.yaml", "WF0026", 10, "spec.rules[0].from[0].source.namespaces[1]", "value"},
    {"policy_empty_source.yaml", "WF0026", 9, "spec.rules[0].from[0].source", "at least one field"},
    {"policy_empty_selector.yaml", "WF0026", 7, "spec.selector", "every pod of the namespace"},
    {"policy_wildcard_selector.yaml", "WF0002", 8, "spec.selector.matchLabels", "wildcards"},
    {"policy_deny_nothing.yaml", "WF0026", 8, "spec.rules", "denies everything"},
    {"policy_rules_not_a_list.yaml", "WF0027", 7, "spec.rules", "- "},
    {"policy_no_spec.yaml", "WF0026", 1, "spec", "denies everything"},
    {"policy_unknown_key.yaml", "WF0002", 9, "spec.rules[0].when[0].key", "\"source.namespace\""},
    {"policy_trust_domain_ends.yaml", "WF0002", 10, "spec.rules[0].when[0].values[0]",
     "its beginning and a *"},
    {"policy_account_wildcard.yaml", "WF0002", 10, "spec.rules[0].when[0].values[0]", "without wildcards"},
    {"policy_key_alone.yaml", "WF0026", 9, "spec.rules[0].when[0]", "values or notValues"},
    {"policy_bad_header_key.yaml", "WF0002", 9, "spec.rules[0].when[0].key", "request.headers[NAME]"},
    {"policy_star_inside.yaml", "WF0002", 10, "spec.rules[0].from[0].source.principals[0]", "at the end"},
    {"policy_scheme.yaml", "WF0002", 10, "spec.rules[0].from[0].source.principals[0]",
     "write \"cluster.local/"},
    {"policy_bad_account.yaml", "WF0002", 10, "spec.rules[0].from[0].source.serviceAccounts[0]",
     "NAMESPACE/NAME"},
    {"policy_account_and_namespace.yaml", "WF0002", 11, "spec.rules[0].from[0].source.serviceAccounts",
     "two entries"},
    {"policy_trust_domains.yaml", "WF0002", 10, "spec.rules[0].from[0].source.trustDomains",
     "into each principal"},
    {"policy_trust_domain_path.yaml", "WF0002", 10, "spec.rules[0].from[0].source.notTrustDomains[0]",
     "between spiffe:// and the next slash"},
    {"policy_bad_dry_run.yaml", "WF0002", 6, "metadata.annotations[istio.io/dry-run]", "use \"true\""},
};

class BrokenManifestTest : public testing::TestWithParam<Row> {};

TEST_P(BrokenManifestTest, NamesCodeLineFieldAndRemedy) {
  const Row& row = GetParam();
  const std::string path = str_cat(kFolder, "/", row.file);
  std::string errors;
  bool found = false;
  for (const Finding& finding : analyze({path})) {
    if (finding.level != Finding::Level::kError) continue;
    str_append(&errors, to_string(finding), "\n");
    EXPECT_EQ(finding.file, path);
    EXPECT_FALSE(finding.remedy.empty());
    found = found || (finding.code == row.code && finding.line == row.line && finding.field == row.field &&
                      finding.remedy.find(row.remedy) != std::string::npos);
  }
  EXPECT_TRUE(found) << "wanted " << row.code << " line " << row.line << " " << row.field << " (…"
                     << row.remedy << "…), got:\n"
                     << errors;
}

INSTANTIATE_TEST_SUITE_P(Manifests, BrokenManifestTest, testing::ValuesIn(kRows), [](const auto& param) {
  const std::string file = param.param.file;
  return file.substr(0, file.find('.'));
});

TEST(BrokenManifestListTest, EveryFileOfTheFolderHasARow) {
  std::set<std::string> rows, files;
  for (const Row& row : kRows) rows.insert(row.file);
  for (const auto& entry : std::filesystem::directory_iterator(kFolder))
    files.insert(entry.path().filename());
  EXPECT_EQ(rows, files);
  EXPECT_GE(rows.size(), 20U);
}

}  // namespace
}  // namespace weft::control_plane
