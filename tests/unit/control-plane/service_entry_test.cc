// ServiceEntries and the places of pods, as resources, and what of them is refused.
#include <gmock/gmock.h>

#include <algorithm>

#include "base/address.h"
#include "base/strings.h"
#include "tests/unit/control-plane/compile_fixture.h"

namespace weft::control_plane {
namespace {

using ::testing::ElementsAre;
using ::testing::UnorderedElementsAre;

std::string entry(std::string_view spec) {
  return str_cat(
      "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: api, namespace: shop}\n"
      "spec: {",
      spec, "}\n---\n");
}

constexpr char kPorts[] =
    "ports: [{number: 80, name: http, protocol: HTTP}, {number: 5432, name: db, protocol: TCP, targetPort: "
    "15432}]";

Compiled compile_entry(std::string_view spec, const ResolvedHosts& resolved = {}) {
  Store store;
  Store::Changes changes;
  changes.emplace("f.yaml", parse_file("f.yaml", entry(str_cat(spec, ", ", kPorts))));
  store.update(std::move(changes));
  for (const Finding& finding : store.findings()) ADD_FAILURE() << to_string(finding);
  return compile(store.objects(), "node1", resolved);
}

// Addresses of all workloads, as text.
std::vector<std::string> endpoints(const Compiled& compiled) {
  std::vector<std::string> out;
  for (const auto& [key, value] : compiled.resources) {
    istio::workload::Address address;
    if (key.first != kAddressType || !value.decode(&address) || !address.has_workload()) continue;
    out.push_back(IpAddress::from_packed(address.workload().addresses(0))->to_string());
  }
  return out;
}

mesh::v1::ServicePorts extension_of(const istio::workload::Service& service) {
  mesh::v1::ServicePorts out;
  EXPECT_TRUE(service.extensions(0).config().UnpackTo(&out));
  return out;
}

std::string refusal(std::string_view spec) {
  const ParsedFile parsed = parse_file("f", entry(str_cat(spec, spec.empty() ? "" : ", ", kPorts)));
  return parsed.findings.empty() ? "" : str_cat(parsed.findings[0].code, " ", parsed.findings[0].field);
}

// How often somebody was told that another has the host.
int64_t taken(const Compiled& compiled) {
  return std::count_if(compiled.findings.begin(), compiled.findings.end(),
                       [](const Finding& finding) { return finding.code == "WF0032"; });
}

TEST(ServiceEntryTest, StaticEndpointsHavePortsLabelsPlaceAndWeight) {
  const Compiled compiled = compile_entry(
      "hosts: [api.example.com], addresses: [240.0.0.1], resolution: STATIC, endpoints: [{address: "
      "192.0.2.1, "
      "ports: {http: 8080}, labels: {version: v1}, locality: r1/z1/s1, weight: 3, serviceAccount: api}, "
      "{address: 192.0.2.2}]");
  EXPECT_THAT(endpoints(compiled), UnorderedElementsAre("192.0.2.1", "192.0.2.2"));
  const auto first = workload(compiled, "Kubernetes//ServiceEntry/shop/192.0.2.1");
  const auto& ports = first.services().at("shop/api.example.com");
  EXPECT_EQ(ports.ports(0).target_port(), 8080u);
  EXPECT_EQ(ports.ports(1).target_port(), 15432u);
  EXPECT_EQ(first.locality().region(), "r1");
  EXPECT_EQ(first.locality().subzone(), "s1");
  EXPECT_EQ(first.capacity().value(), 3u);
  EXPECT_EQ(first.service_account(), "api");
  const auto made = service(compiled, "shop/api.example.com");
  EXPECT_EQ(made.hostname(), "api.example.com");
  EXPECT_EQ(made.ports(0).app_protocol(), istio::workload::HTTP11);
  EXPECT_EQ(made.ports(1).app_protocol(), istio::workload::TCP);
  EXPECT_FALSE(made.canonical());
}

TEST(ServiceEntryTest, ResolutionNoneGoesWhereItWasDialledAndNotByTheKernel) {
  const Compiled compiled =
      compile_entry("hosts: ['*.example.com'], addresses: [192.0.2.9, 198.51.100.0/24]");
  EXPECT_THAT(endpoints(compiled), ElementsAre());
  const auto made = service(compiled, "shop/*.example.com");
  EXPECT_TRUE(extension_of(made).passthrough());
  EXPECT_EQ(made.ports(1).app_protocol(), istio::workload::UNKNOWN);
  EXPECT_EQ(extension_of(made).ports(1).protocol(), mesh::v1::PROTOCOL_TCP);
  EXPECT_EQ(made.addresses(1).length(), 24u);
}

TEST(ServiceEntryTest, HostsThatNothingTellsApartAreRefused) {
  const char* const two = "hosts: [a.example.com, b.example.com], resolution: ";
  EXPECT_EQ(refusal(str_cat(two, "DNS")), "WF0002 spec.hosts");
  EXPECT_EQ(refusal(str_cat(two, "NONE")), "");
}

TEST(ServiceEntryTest, NamesAreResolvedByWhoKnowsThem) {
  const ResolvedHosts resolved = {{"api.example.com", {"192.0.2.1", "2001:db8::1"}},
                                  {"other.example.com", {"192.0.2.7"}}};
  EXPECT_THAT(endpoints(compile_entry("hosts: [api.example.com], resolution: DNS", resolved)),
              UnorderedElementsAre("192.0.2.1", "2001:db8::1"));
  EXPECT_THAT(endpoints(compile_entry("hosts: [api.example.com], resolution: DNS_ROUND_ROBIN", resolved)),
              ElementsAre("192.0.2.1"));
  EXPECT_THAT(endpoints(compile_entry("hosts: [api.example.com], resolution: DNS, endpoints: [{address: "
                                      "other.example.com}]",
                                      resolved)),
              ElementsAre("192.0.2.7"));
  EXPECT_THAT(endpoints(compile_entry("hosts: [unknown.example.com], resolution: DNS", resolved)),
              ElementsAre());
}

TEST(ServiceEntryTest, OnlyNamesThatNeedItAreLookedUp) {
  Store store;
  Store::Changes changes;
  changes.emplace("f.yaml",
                  parse_file("f.yaml", entry(str_cat("hosts: [api.example.com], resolution: DNS, endpoints: "
                                                     "[{address: 192.0.2.1}, {address: a.example.com}], ",
                                                     kPorts))));
  store.update(std::move(changes));
  EXPECT_THAT(hosts_to_resolve(store.objects()), ElementsAre("a.example.com"));
}

TEST(ServiceEntryTest, ASelectorTakesPodsOfItsNamespace) {
  const Compiled compiled = compile_text(str_cat(
      entry(str_cat("hosts: [api.example.com], resolution: STATIC, workloadSelector: {labels: {app: api}}, ",
                    kPorts)),
      "apiVersion: v1\nkind: Pod\nmetadata: {name: one, namespace: shop, labels: {app: api}}\n"
      "status: {podIP: 10.1.0.1}\n---\n"
      "apiVersion: v1\nkind: Pod\nmetadata: {name: two, namespace: other, labels: {app: api}}\n"
      "status: {podIP: 10.1.0.2}\n"));
  EXPECT_TRUE(workload(compiled, "Kubernetes//Pod/shop/one").services().contains("shop/api.example.com"));
  EXPECT_FALSE(workload(compiled, "Kubernetes//Pod/other/two").services().contains("shop/api.example.com"));
}

TEST(ServiceEntryTest, ExportToIsSentAndAHiddenOneIsNot) {
  const Compiled shown = compile_entry("hosts: [api.example.com], exportTo: ['.', other]");
  EXPECT_THAT(extension_of(service(shown, "shop/api.example.com")).export_to(), ElementsAre("shop", "other"));
  EXPECT_TRUE(compile_entry("hosts: [api.example.com], exportTo: ['~']").resources.empty());
}

TEST(ServiceEntryTest, RoutesToItsHostsNameSomethingThatIsThere) {
  const Compiled compiled = compile_text(str_cat(
      entry(str_cat("hosts: [api.example.com], ", kPorts)),
      "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: api, namespace: shop}\n"
      "spec: {host: api.example.com}\n"));
  EXPECT_TRUE(compiled.findings.empty());
}

TEST(ServiceEntryTest, AddressesThatMeanAnotherMachineEverywhereAreNoEndpoints) {
  const ResolvedHosts resolved = {{"api.example.com", {"127.0.0.1", "192.0.2.1", "::", "fe80::1"}}};
  EXPECT_THAT(endpoints(compile_entry("hosts: [api.example.com], resolution: DNS", resolved)),
              ElementsAre("192.0.2.1"));
  for (const char* address : {"127.0.0.9", "'::1'", "0.0.0.0", "169.254.1.1", "'fe80::1'"})
    EXPECT_EQ(refusal(str_cat("hosts: [a.b], resolution: STATIC, endpoints: [{address: ", address, "}]")),
              "WF0036 spec.endpoints[0]");
}

TEST(ServiceEntryTest, AnAddressThatIsGivenTwiceIsSaid) {
  const std::string twice =
      "hosts: [a.b], resolution: STATIC, endpoints: [{address: 192.0.2.1, ports: {http: 81}}, {address: "
      "192.0.2.1, ports: {http: 82}}]";
  EXPECT_EQ(refusal(twice), "WF0036 spec.endpoints[1]");
  const Compiled compiled = compile_text(entry(str_cat(twice, ", ", kPorts)));
  const auto made = workload(compiled, "Kubernetes//ServiceEntry/shop/192.0.2.1");
  EXPECT_EQ(made.services().at("shop/a.b").ports(0).target_port(), 81u);
}

TEST(ServiceEntryTest, TwoEntriesOfOneHostOrOneMachineAreSaid) {
  const auto named = [](std::string_view name, std::string_view spec) {
    return str_cat("apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: ", name,
                   ", namespace: shop}\nspec: {resolution: STATIC, ports: [{number: 80, name: http}], ", spec,
                   "}\n---\n");
  };
  const Compiled one_host =
      compile_text(str_cat(named("one", "hosts: [a.b], endpoints: [{address: 192.0.2.1}]"),
                           named("two", "hosts: [a.b], endpoints: [{address: 192.0.2.2}]")));
  ASSERT_EQ(one_host.findings.size(), 1u);
  EXPECT_EQ(one_host.findings[0].code, "WF0032");
  EXPECT_EQ(one_host.findings[0].object, "ServiceEntry shop/two");
  const Compiled one_machine = compile_text(
      str_cat(named("one", "hosts: [a.b], endpoints: [{address: 192.0.2.1, labels: {v: one}}]"),
              named("two", "hosts: [c.d], endpoints: [{address: 192.0.2.1, labels: {v: two}}]")));
  ASSERT_EQ(one_machine.findings.size(), 1u);
  EXPECT_EQ(one_machine.findings[0].code, "WF0036");
  EXPECT_EQ(one_machine.findings[0].field, "spec.endpoints");
}

// Else any namespace could take over what another has.
TEST(ServiceEntryTest, AServiceKeepsItsHost) {
  const std::string payments =
      "apiVersion: v1\nkind: Service\nmetadata: {name: payments, namespace: prod}\n"
      "spec: {clusterIP: 10.96.0.5, ports: [{name: http, port: 80}]}\n---\n";
  const Compiled compiled = compile_text(
      str_cat(payments,
              entry(str_cat("hosts: [payments.prod.svc.cluster.local, api.example.com], resolution: STATIC, "
                            "endpoints: [{address: 192.0.2.6}], ",
                            "ports: [{number: 80, name: http, protocol: HTTP}]"))));
  EXPECT_FALSE(compiled.resources.contains({kAddressType, "shop/payments.prod.svc.cluster.local"}));
  const auto endpoint = workload(compiled, "Kubernetes//ServiceEntry/shop/192.0.2.6");
  EXPECT_EQ(endpoint.services_size(), 1);
  EXPECT_TRUE(endpoint.services().contains("shop/api.example.com"));
  ASSERT_EQ(taken(compiled), 1) << "and somebody hears of it";
  const std::string own = str_cat(
      "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: p, namespace: prod}\n"
      "spec: {hosts: [payments.prod.svc.cluster.local], resolution: STATIC, endpoints: [{address: "
      "192.0.2.6}], ",
      kPorts, "}\n");
  const Compiled same = compile_text(str_cat(payments, own));
  EXPECT_TRUE(service(same, "prod/payments.prod.svc.cluster.local").canonical());
  EXPECT_FALSE(same.resources.contains({kAddressType, "Kubernetes//ServiceEntry/prod/192.0.2.6"}))
      << "nor does it get the entry's endpoints";
  EXPECT_EQ(taken(same), 1);
}

// The kernel would send connections past the routes.
TEST(ServiceEntryTest, APortWithRoutesIsLeftToTheProxy) {
  const std::string db = entry(
      str_cat("hosts: [api.example.com], addresses: [240.0.0.1], resolution: STATIC, endpoints: [{address: "
              "192.0.2.1}], ",
              kPorts));
  const std::string routes =
      "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: r, namespace: shop}\n"
      "spec: {hosts: [api.example.com], tcp: [{match: [{port: 5432}], route: [{destination: {host: "
      "api.example.com, port: {number: 5432}}}]}]}\n";
  EXPECT_EQ(service(compile_text(db), "shop/api.example.com").ports(1).app_protocol(), istio::workload::TCP);
  const auto routed = service(compile_text(str_cat(db, routes)), "shop/api.example.com");
  EXPECT_EQ(routed.ports(1).app_protocol(), istio::workload::UNKNOWN);
  EXPECT_EQ(routed.ports(0).app_protocol(), istio::workload::HTTP11) << "another port";
  EXPECT_EQ(extension_of(routed).ports(1).protocol(), mesh::v1::PROTOCOL_TCP);
}

TEST(ServiceEntryTest, WhatContradictsItselfIsRefused) {
  EXPECT_EQ(refusal("hosts: ['*']"), "WF0002 spec.hosts[0]");
  EXPECT_EQ(refusal(""), "WF0026 spec.hosts");
  EXPECT_EQ(refusal("hosts: [a.b], resolution: DYNAMIC_DNS"), "WF0025 spec.resolution");
  EXPECT_EQ(refusal("hosts: [a.b], resolution: LATER"), "WF0002 spec.resolution");
  EXPECT_EQ(refusal("hosts: ['*.b'], resolution: DNS"), "WF0002 spec.hosts[0]");
  EXPECT_EQ(refusal("hosts: [a.b], resolution: STATIC"), "WF0026 spec.endpoints");
  EXPECT_EQ(refusal("hosts: [a.b], endpoints: [{address: 192.0.2.1}]"), "WF0002 spec.endpoints");
  EXPECT_EQ(refusal("hosts: [a.b], resolution: STATIC, endpoints: [{address: c.d}]"),
            "WF0002 spec.endpoints[0].address");
  EXPECT_EQ(refusal("hosts: [a.b], resolution: STATIC, endpoints: [{address: 192.0.2.1, ports: {x: 1}}]"),
            "WF0002 spec.endpoints[0].ports.x");
  EXPECT_EQ(refusal("hosts: [a.b], addresses: [192.0.2.0/24], resolution: DNS"), "WF0002 spec.addresses[0]");
  EXPECT_EQ(refusal("hosts: [a.b], addresses: [300.0.0.1]"), "WF0002 spec.addresses[0]");
  EXPECT_EQ(refusal("hosts: [a.b], location: MOON"), "WF0002 spec.location");
  EXPECT_EQ(refusal("hosts: [a.b], subjectAltNames: [x]"), "WF0053 spec");
}

TEST(LocalityTest, ComesFromThePodsLabelsOrItsNodes) {
  const Compiled compiled = compile_text(
      "apiVersion: v1\nkind: Node\nmetadata: {name: n1, labels: {topology.kubernetes.io/region: r1, "
      "topology.kubernetes.io/zone: z1, topology.istio.io/subzone: s1}}\n---\n"
      "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {nodeName: n1}\nstatus: {podIP: 10.1.0.1}\n---\n"
      "apiVersion: v1\nkind: Pod\nmetadata: {name: b, labels: {topology.kubernetes.io/zone: z2}}\nspec: "
      "{nodeName: "
      "n1}\nstatus: {podIP: 10.1.0.2}\n---\n"
      "apiVersion: v1\nkind: Pod\nmetadata: {name: c, labels: {istio-locality: r9.z9.s9}}\nspec: {nodeName: "
      "n1}\nstatus: {podIP: 10.1.0.3}\n---\n"
      "apiVersion: v1\nkind: Pod\nmetadata: {name: d}\nstatus: {podIP: 10.1.0.4}\n");
  const auto place = [&](const char* pod) {
    const auto w = workload(compiled, str_cat("Kubernetes//Pod/default/", pod));
    return str_cat(w.locality().region(), "/", w.locality().zone(), "/", w.locality().subzone());
  };
  EXPECT_EQ(place("a"), "r1/z1/s1");
  EXPECT_EQ(place("b"), "r1/z2/s1");
  EXPECT_EQ(place("c"), "r9/z9/s9");
  EXPECT_FALSE(workload(compiled, "Kubernetes//Pod/default/d").has_locality());
}

}  // namespace
}  // namespace weft::control_plane
