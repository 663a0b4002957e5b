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
    {"weights_zero.yaml", "WF0008", 9, "spec.http[0].route", "weight above 0"},
    {"weight_negative.yaml", "WF0002", 11, "spec.http[0].route[0].weight", "from 0"},
    {"weight_text.yaml", "WF0027", 11, "spec.http[0].route[0].weight", "without quotes"},
    {"misspelt_field.yaml", "WF0024", 10, "spec.http[0].route[0].destinaton", "\"destination\""},
    {"misspelt_weight.yaml", "WF0024", 12, "spec.http[0].route[0].wieght", "\"weight\""},
    {"unsupported_retries.yaml", "WF0025", 11, "spec.http[0].retries", "remove"},
    {"unsupported_tcp.yaml", "WF0025", 8, "spec.tcp", "remove"},
    {"gateway.yaml", "WF0025", 10, "spec.gateways[1]", "mesh"},
    {"star_host.yaml", "WF0002", 8, "spec.hosts[0]", "name the hosts"},
    {"overlapping_hosts.yaml", "WF0002", 9, "spec.hosts[1]", "remove one"},
    {"no_hosts.yaml", "WF0026", 6, "spec.hosts", "name the services"},
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
    {"unsupported_outlier.yaml", "WF0025", 9, "spec.trafficPolicy.outlierDetection", "remove"},
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
