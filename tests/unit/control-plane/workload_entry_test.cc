// WorkloadEntries: machines that are no pods, as endpoints of what selects them.
#include <gmock/gmock.h>

#include "base/address.h"
#include "base/strings.h"
#include "control-plane/compile/service_entries.h"
#include "tests/unit/control-plane/compile_fixture.h"

namespace weft::control_plane {
namespace {

using ::testing::ElementsAre;

std::string machine(std::string_view name, std::string_view spec, std::string_view labels = "app: db") {
  return str_cat("apiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata: {name: ", name,
                 ", namespace: shop, labels: {", labels, "}}\nspec: {", spec, "}\n---\n");
}

std::string entry(std::string_view resolution) {
  return str_cat(
      "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: db, namespace: shop}\nspec: "
      "{hosts: [db.example.com], addresses: [240.0.0.1], resolution: ",
      resolution,
      ", workloadSelector: {labels: {app: db}}, ports: [{number: 5432, name: sql, protocol: TCP, ",
      "targetPort: 15432}]}\n---\n");
}

constexpr char kService[] =
    "apiVersion: v1\nkind: Service\nmetadata: {name: db, namespace: shop}\nspec: {clusterIP: 10.96.0.9, "
    "selector: {app: db}, ports: [{name: sql, port: 5432, targetPort: 15432}, {name: web, port: 80, "
    "targetPort: "
    "http}]}\n---\n";
constexpr char kPodKey[] = "Kubernetes//Pod/shop/db-1";
constexpr char kKey[] = "Kubernetes//WorkloadEntry/shop/m";
constexpr char kHost[] = "shop/db.example.com";
constexpr char kServiceHost[] = "shop/db.shop.svc.cluster.local";

std::string pod(std::string_view ip) {
  return str_cat("apiVersion: v1\nkind: Pod\nmetadata: {name: db-1, namespace: shop, labels: {app: db}}\n",
                 "status: {podIP: ", ip, "}\n---\n");
}

TEST(WorkloadEntryTest, HasWhatItSaysOfItself) {
  const Compiled compiled = compile_text(
      entry("STATIC") +
      machine("m",
              "address: 192.0.2.10, ports: {sql: 7000}, labels: {version: v1, app: old}, locality: "
              "r1/z1/s1, weight: 3, serviceAccount: db"));
  EXPECT_TRUE(compiled.findings.empty());
  const auto made = workload(compiled, kKey);
  EXPECT_EQ(IpAddress::from_packed(made.addresses(0))->to_string(), "192.0.2.10");
  EXPECT_EQ(made.name(), "m");
  EXPECT_EQ(made.service_account(), "db");
  EXPECT_EQ(made.capacity().value(), 3u);
  EXPECT_EQ(made.locality().zone(), "z1");
  EXPECT_EQ(made.services().at(kHost).ports(0).target_port(), 7000u);
  mesh::v1::WorkloadLabels labels;
  ASSERT_TRUE(made.extensions(0).config().UnpackTo(&labels));
  EXPECT_EQ(labels.labels().at("version"), "v1");
  EXPECT_EQ(labels.labels().at("app"), "db") << "the metadata's counts";
}

TEST(WorkloadEntryTest, StandsBesidePodsInServicesAndServiceEntries) {
  const Compiled compiled =
      compile_text(entry("STATIC") + kService + pod("10.1.0.1") +
                   machine("m", "address: 192.0.2.10, ports: {http: 8080}") +
                   machine("n", "address: 192.0.2.11") + machine("o", "address: 192.0.2.12", "app: other"));
  for (const char* uid : {kPodKey, kKey})
    EXPECT_TRUE(workload(compiled, uid).services().contains(kHost)) << uid;
  const auto first = workload(compiled, kKey).services().at(kServiceHost);
  EXPECT_EQ(first.ports(0).target_port(), 15432u);
  EXPECT_EQ(first.ports(1).target_port(), 8080u);
  EXPECT_EQ(workload(compiled, "Kubernetes//WorkloadEntry/shop/n").services().at(kServiceHost).ports_size(),
            1)
      << "it does not say which port is called http";
  EXPECT_TRUE(workload(compiled, "Kubernetes//WorkloadEntry/shop/o").services().empty());
}

TEST(WorkloadEntryTest, ANameIsLookedUpForEntriesThatResolve) {
  Store store;
  Store::Changes changes;
  changes.emplace("f.yaml", parse_file("f.yaml", entry("DNS") + machine("m", "address: db.example.net")));
  store.update(std::move(changes));
  EXPECT_THAT(hosts_to_resolve(store.objects()), ElementsAre("db.example.net"));
  const Compiled compiled =
      compile(store.objects(), "node1", {{"db.example.net", {"192.0.2.20", "192.0.2.21"}}});
  for (const char* address : {"192.0.2.20", "192.0.2.21"}) {
    const auto made = workload(compiled, str_cat("Kubernetes//ServiceEntry/shop/", address));
    EXPECT_EQ(made.services().at(kHost).ports(0).target_port(), 15432u);
  }
}

TEST(WorkloadEntryTest, WhatIsInNothingOrIsSomebodyElseIsAFinding) {
  const auto field = [](const std::string& text) {
    const Compiled compiled = compile_text(text);
    return compiled.findings.size() == 1 ? str_cat(compiled.findings[0].code, " ", compiled.findings[0].field)
                                         : str_cat(compiled.findings.size(), " findings");
  };
  EXPECT_EQ(field(machine("m", "address: 192.0.2.10")), "WF0036 spec.labels");
  EXPECT_EQ(field(entry("STATIC") + machine("m", "address: db.example.net")), "WF0036 spec.labels");
  EXPECT_EQ(field(entry("STATIC") + pod("10.1.0.1") + machine("m", "address: 10.1.0.1")),
            "WF0036 spec.address");
}

TEST(WorkloadEntryTest, RefusalsAndWarningsNameTheirPlace) {
  const auto first = [](std::string_view spec) {
    const ParsedFile parsed = parse_file("f", machine("m", spec));
    return parsed.findings.empty() ? "" : str_cat(parsed.findings[0].code, " ", parsed.findings[0].field);
  };
  EXPECT_EQ(first("weight: 1"), "WF0026 spec.address");
  EXPECT_EQ(first("address: 'unix:///run/db.sock'"), "WF0002 spec.address");
  EXPECT_EQ(first("address: 127.0.0.1"), "WF0036 spec.address");
  EXPECT_EQ(first("address: 192.0.2.10, network: vpc-1"), "WF0036 spec.network");
  EXPECT_EQ(first("address: 192.0.2.10, ports: {sql: 70000}"), "WF0002 spec.ports.sql");
  EXPECT_EQ(first("address: 192.0.2.10, wight: 1"), "WF0024 spec.wight");
}

}  // namespace
}  // namespace weft::control_plane
