// The model, its ids and the destination table, from Change resources as the control plane makes them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/mesh/destinations.h"
#include "agent/mesh/id_registry.h"
#include "agent/mesh/model.h"

namespace weft::agent {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::string packed(const char* ip) { return IpAddress::parse(ip)->packed(); }

control_plane::Resource service(const char* ip, uint32_t port, uint32_t target) {
  istio::workload::Address address;
  auto* s = address.mutable_service();
  s->set_name("cart");
  s->set_namespace_("shop");
  s->set_hostname("cart.shop.svc.cluster.local");
  if (*ip != '\0') s->add_addresses()->set_address(packed(ip));
  auto* p = s->add_ports();
  p->set_service_port(port);
  p->set_target_port(target);
  return {control_plane::kAddressType, "shop/cart.shop.svc.cluster.local", "1", address.SerializeAsString()};
}

control_plane::Resource workload(const char* uid, const char* ip, uint32_t target) {
  istio::workload::Address address;
  auto* w = address.mutable_workload();
  w->set_uid(uid);
  w->set_name("cart-1");
  w->set_namespace_("shop");
  w->add_addresses(packed(ip));
  auto* port = (*w->mutable_services())["shop/cart.shop.svc.cluster.local"].add_ports();
  port->set_service_port(80);
  port->set_target_port(target);
  return {control_plane::kAddressType, uid, "1", address.SerializeAsString()};
}

std::vector<std::string> texts(const std::vector<DestinationEntry>& entries, const IdRegistry& ids) {
  std::vector<std::string> out;
  for (const auto& e : entries) out.push_back(e.address.to_string() + " " + ids.subject(e.id)->key);
  return out;
}

TEST(IdRegistryTest, SubjectKeepsItsIdWhileItLivesAndGetsItBackAfterwards) {
  IdRegistry ids;
  const Subject a{Subject::Kind::kWorkload, "a", "a", "ns"};
  const Subject b{Subject::Kind::kWorkload, "b", "b", "ns"};
  EXPECT_THAT(ids.set_live({a, b}), IsEmpty());
  const uint32_t id = ids.find(Subject::Kind::kWorkload, "a");
  EXPECT_NE(id, 0u);
  EXPECT_THAT(ids.set_live({b}), ElementsAre(id));
  EXPECT_EQ(ids.find(Subject::Kind::kWorkload, "a"), 0u);
  EXPECT_EQ(ids.subject(id), nullptr);
  EXPECT_THAT(ids.set_live({a, b}), IsEmpty());
  EXPECT_EQ(ids.find(Subject::Kind::kWorkload, "a"), id);
}

TEST(IdRegistryTest, AnotherAgentProcessChoosesTheSameIds) {
  IdRegistry first;
  IdRegistry second;
  const Subject a{Subject::Kind::kService, "shop/cart", "cart", "shop"};
  const Subject b{Subject::Kind::kWorkload, "shop/cart", "cart", "shop"};
  first.set_live({a, b});
  second.set_live({b, a});
  EXPECT_EQ(first.find(a.kind, a.key), second.find(a.kind, a.key));
  EXPECT_NE(first.find(a.kind, a.key), first.find(b.kind, b.key));
}

TEST(DestinationsTest, ServiceAddressNamesTheServiceAndPodAddressTheWorkload) {
  MeshModel model;
  control_plane::Change change;
  change.upserted = {service("10.96.0.1", 80, 8080), workload("w1", "10.1.0.5", 9090),
                     workload("w2", "fd00::6", 0)};
  model.apply(change);
  IdRegistry ids;
  ids.set_live(model.subjects());
  EXPECT_THAT(texts(destination_entries(model, ids), ids),
              ::testing::UnorderedElementsAre("10.96.0.1:80 shop/cart.shop.svc.cluster.local",
                                              "10.1.0.5:9090 w1", "[fd00::6]:80 w2", "[fd00::6]:8080 w2"));
}

TEST(DestinationsTest, HeadlessServiceHasNoEntryOfItsOwn) {
  MeshModel model;
  control_plane::Change change;
  change.upserted = {service("", 80, 8080)};
  model.apply(change);
  IdRegistry ids;
  ids.set_live(model.subjects());
  EXPECT_THAT(destination_entries(model, ids), IsEmpty());
}

TEST(IdRegistryTest, RemovedServiceAndItsWorkloadReleaseTheirIds) {
  MeshModel model;
  control_plane::Change change;
  change.upserted = {service("10.96.0.1", 80, 8080), workload("w1", "10.1.0.5", 8080)};
  model.apply(change);
  IdRegistry ids;
  ids.set_live(model.subjects());
  const uint32_t service_id = ids.find(Subject::Kind::kService, "shop/cart.shop.svc.cluster.local");
  const uint32_t workload_id = ids.find(Subject::Kind::kWorkload, "w1");
  ASSERT_NE(service_id, 0u);
  control_plane::Change removal;
  removal.removed = {{control_plane::kAddressType, "shop/cart.shop.svc.cluster.local"}};
  model.apply(removal);
  EXPECT_THAT(ids.set_live(model.subjects()), ElementsAre(service_id));
  removal.removed = {{control_plane::kAddressType, "w1"}};
  model.apply(removal);
  EXPECT_THAT(ids.set_live(model.subjects()), ElementsAre(workload_id));
}

TEST(MeshModelTest, RemovalAndBrokenResourceLeaveTheRestInForce) {
  MeshModel model;
  control_plane::Change change;
  change.upserted = {service("10.96.0.1", 80, 8080), workload("w1", "10.1.0.5", 8080)};
  model.apply(change);
  control_plane::Change next;
  next.upserted = {{control_plane::kAddressType, "w1", "2", "\xff\xff not protobuf"}};
  next.removed = {{control_plane::kAddressType, "shop/cart.shop.svc.cluster.local"}};
  model.apply(next);
  EXPECT_TRUE(model.services().empty());
  ASSERT_EQ(model.workloads().size(), 1u);
  EXPECT_EQ(model.workloads().at("w1").name(), "cart-1");
  EXPECT_NE(model.find_workload("shop", "cart-1"), nullptr);
}

}  // namespace
}  // namespace weft::agent
