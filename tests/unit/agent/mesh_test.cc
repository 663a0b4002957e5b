// The model, its ids and the destination table, from Change resources as the control plane makes them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/mesh/id_registry.h"
#include "agent/mesh/kernel_plan.h"
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

// A model, its ids and its plan, changed together as the reconciler does.
struct Mesh {
  MeshModel model;
  IdRegistry ids;
  KernelPlanner planner{"node-a"};

  KernelChange apply(const control_plane::Change& change) {
    const Touched touched = model.apply(change);
    std::vector<uint32_t> gone;
    for (const control_plane::Resource& changed : touched.workloads) {
      const std::string uid(changed.name());
      if (const MeshWorkload* workload = model.workload(uid))
        ids.add(Subject::Kind::kWorkload, workload->resource);
      else
        gone.push_back(ids.remove(Subject::Kind::kWorkload, uid));
    }
    for (const control_plane::Resource& changed : touched.services) {
      const std::string key(changed.name());
      if (const MeshService* service = model.service(key))
        ids.add(Subject::Kind::kService, service->resource);
      else
        gone.push_back(ids.remove(Subject::Kind::kService, key));
    }
    return planner.plan(model, ids, touched, gone);
  }
};

std::vector<std::string> texts(const KernelChange& change, const IdRegistry& ids) {
  std::vector<std::string> out;
  for (const auto& e : change.destinations)
    out.push_back(e.address.to_string() + " " + ids.subject(e.id)->key);
  return out;
}

TEST(IdRegistryTest, SubjectKeepsItsIdWhileItLivesAndGetsItBackAfterwards) {
  IdRegistry ids;
  const Subject a{Subject::Kind::kWorkload, "a", "a", "ns"};
  const uint32_t id = ids.add(a);
  EXPECT_NE(id, 0u);
  EXPECT_EQ(ids.add(a), id);
  EXPECT_EQ(ids.remove(a.kind, "a"), id);
  EXPECT_EQ(ids.remove(a.kind, "a"), 0u);
  EXPECT_EQ(ids.find(a.kind, "a"), 0u);
  EXPECT_FALSE(ids.subject(id).has_value());
  EXPECT_EQ(ids.add(a), id);
}

TEST(IdRegistryTest, AnotherAgentProcessChoosesTheSameIds) {
  IdRegistry first;
  IdRegistry second;
  const Subject a{Subject::Kind::kService, "shop/cart", "cart", "shop"};
  const Subject b{Subject::Kind::kWorkload, "shop/cart", "cart", "shop"};
  EXPECT_NE(first.add(a), first.add(b));
  second.add(b);
  EXPECT_EQ(second.add(a), first.find(a.kind, a.key));
}

TEST(IdRegistryTest, SelectionHoldsWhatIsAskedForAndNothingElse) {
  IdRegistry ids;
  const uint32_t a = ids.add({Subject::Kind::kWorkload, "a", "a", "ns"});
  const uint32_t b = ids.add({Subject::Kind::kWorkload, "b", "b", "ns"});
  const IdRegistry some = ids.only({a, 12345});
  EXPECT_EQ(some.size(), 1u);
  ASSERT_TRUE(some.subject(a).has_value());
  EXPECT_EQ(some.subject(a)->name, "a");
  EXPECT_FALSE(some.subject(b).has_value());
}

TEST(DestinationsTest, ServiceAddressNamesTheServiceAndPodAddressTheWorkload) {
  Mesh mesh;
  control_plane::Change change;
  change.upserted = {service("10.96.0.1", 80, 8080), workload("w1", "10.1.0.5", 9090),
                     workload("w2", "fd00::6", 0)};
  const KernelChange kernel = mesh.apply(change);
  EXPECT_THAT(texts(kernel, mesh.ids),
              ::testing::UnorderedElementsAre("10.96.0.1:80 shop/cart.shop.svc.cluster.local",
                                              "10.1.0.5:9090 w1", "10.1.0.5:0 w1", "[fd00::6]:80 w2",
                                              "[fd00::6]:8080 w2", "[fd00::6]:0 w2"));
}

TEST(DestinationsTest, HeadlessServiceHasNoEntryOfItsOwn) {
  Mesh mesh;
  control_plane::Change change;
  change.upserted = {service("", 80, 8080)};
  EXPECT_THAT(mesh.apply(change).destinations, IsEmpty());
}

TEST(IdRegistryTest, RemovedServiceAndItsWorkloadReleaseTheirIds) {
  Mesh mesh;
  control_plane::Change change;
  change.upserted = {service("10.96.0.1", 80, 8080), workload("w1", "10.1.0.5", 8080)};
  mesh.apply(change);
  EXPECT_EQ(mesh.ids.size(), 2u);
  control_plane::Change removal;
  removal.removed = {{control_plane::kAddressType, "shop/cart.shop.svc.cluster.local"}};
  mesh.apply(removal);
  EXPECT_EQ(mesh.ids.find(Subject::Kind::kService, "shop/cart.shop.svc.cluster.local"), 0u);
  EXPECT_NE(mesh.ids.find(Subject::Kind::kWorkload, "w1"), 0u);
  removal.removed = {{control_plane::kAddressType, "w1"}};
  mesh.apply(removal);
  EXPECT_EQ(mesh.ids.size(), 0u);
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
  EXPECT_EQ(whole(*model.workload("w1")).name(), "cart-1");
  EXPECT_TRUE(model.find_workload("shop", "cart-1").has_value());
}

TEST(MeshModelTest, AnAuthorizationThatCannotBeReadLeavesTheOldOneInForce) {
  istio::security::Authorization policy;
  policy.set_name("web");
  policy.set_namespace_("shop");
  policy.add_rules();
  MeshModel model;
  control_plane::Change change;
  change.upserted = {{control_plane::kAuthorizationType, "shop/web", "1", policy.SerializeAsString()}};
  model.apply(change);
  policy.mutable_rules(0)->add_clauses()->add_matches()->add_destination_ports(65536);
  change.upserted = {{control_plane::kAuthorizationType, "shop/web", "2", policy.SerializeAsString()}};
  model.apply(change);
  ASSERT_EQ(model.authorizations().size(), 1u);
  EXPECT_EQ(model.authorizations().at("shop/web").rules(0).clauses_size(), 0);
  change.upserted.clear();
  change.removed = {{control_plane::kAuthorizationType, "shop/web"}};
  model.apply(change);
  EXPECT_TRUE(model.authorizations().empty());
}

TEST(MeshModelTest, OfRulesAboutTokensItKnowsWhomTheySelect) {
  mesh::v1::RequestAuthentication rules;
  rules.set_namespace_("shop");
  (*rules.mutable_selector())["app"] = "cart";
  rules.add_rules()->set_issuer("iss");
  rules.mutable_rules(0)->set_jwks("keys");
  rules.mutable_rules(0)->add_space_delimited_claims("roles");
  MeshModel model;
  const auto put = [&](const char* version) {
    control_plane::Change change;
    change.upserted = {{control_plane::kAuthenticationType, "shop/r", version, rules.SerializeAsString()}};
    model.apply(change);
  };
  const auto selects = [&model](const char* ns, const char* app) {
    istio::workload::Workload pod;
    pod.set_namespace_(ns);
    mesh::v1::WorkloadLabels labels;
    (*labels.mutable_labels())["app"] = app;
    (*labels.mutable_labels())["tier"] = "front";
    auto& extension = *pod.add_extensions();
    extension.set_name("weft.mesh.v1.WorkloadLabels");
    extension.mutable_config()->PackFrom(labels);
    return any_selects(model.token_rules(), pod);
  };
  EXPECT_FALSE(selects("shop", "cart"));
  put("1");
  EXPECT_TRUE(selects("shop", "cart"));
  EXPECT_FALSE(selects("shop", "web"));
  EXPECT_FALSE(selects("other", "cart"));
  EXPECT_FALSE(any_selects(model.token_rules(), istio::workload::Workload())) << "without labels";
  const auto& kept = model.token_rules().at("shop/r").rules(0);
  EXPECT_EQ(kept.issuer(), "iss");
  EXPECT_EQ(kept.jwks(), "") << "the proxy's";
  EXPECT_EQ(kept.space_delimited_claims_size(), 1);
  rules.set_every_namespace(true);
  put("2");
  EXPECT_TRUE(selects("other", "cart"));
  rules.clear_rules();
  put("3");
  EXPECT_FALSE(selects("shop", "cart")) << "it has no rule";
  rules.add_rules()->set_issuer("iss");
  put("4");
  control_plane::Change gone;
  gone.removed = {{control_plane::kAuthenticationType, "shop/r"}};
  model.apply(gone);
  EXPECT_TRUE(model.token_rules().empty());
}

}  // namespace
}  // namespace weft::agent
