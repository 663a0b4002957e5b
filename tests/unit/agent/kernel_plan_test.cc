// What the kernel is told of services: who is direct, which backends, and only what a change touches.
#include "agent/mesh/kernel_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>

#include "base/strings.h"

namespace weft::agent {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

constexpr char kDb[] = "shop/db.shop.svc.cluster.local";

std::string packed(const char* ip) { return IpAddress::parse(ip)->packed(); }

struct World {
  MeshModel model;
  IdRegistry ids;
  KernelPlanner planner{"node-a"};

  istio::workload::Service db() const {
    istio::workload::Service service;
    service.set_name("db");
    service.set_namespace_("shop");
    service.set_hostname("db.shop.svc.cluster.local");
    service.add_addresses()->set_address(packed("10.96.0.5"));
    auto* port = service.add_ports();
    port->set_service_port(5432);
    port->set_target_port(15432);
    port->set_app_protocol(istio::workload::TCP);
    return service;
  }
  istio::workload::Workload pod(const char* uid, const char* ip) const {
    istio::workload::Workload workload;
    workload.set_uid(uid);
    workload.set_name(uid);
    workload.set_namespace_("shop");
    workload.set_node("node-b");
    workload.add_addresses(packed(ip));
    (*workload.mutable_services())[kDb].add_ports()->set_service_port(5432);
    workload.mutable_services()->at(kDb).mutable_ports(0)->set_target_port(15432);
    return workload;
  }
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
  KernelChange put(const istio::workload::Service& service) {
    istio::workload::Address address;
    *address.mutable_service() = service;
    return put(service.namespace_() + "/" + service.hostname(), address);
  }
  KernelChange put(const istio::workload::Workload& workload) {
    istio::workload::Address address;
    *address.mutable_workload() = workload;
    return put(workload.uid(), address);
  }
  KernelChange put(const std::string& name, const istio::workload::Address& address) {
    control_plane::Change change;
    change.upserted.push_back({control_plane::kAddressType, name, "1", address.SerializeAsString()});
    return apply(change);
  }
  KernelChange drop(const std::string& name) {
    control_plane::Change change;
    change.removed.emplace_back(control_plane::kAddressType, name);
    return apply(change);
  }
};

const char* path_text(ServiceEntry::Path path) {
  if (path == ServiceEntry::Path::kDirect) return "direct";
  return path == ServiceEntry::Path::kPass ? "pass" : "proxy";
}

std::vector<std::string> texts(const KernelChange& change) {
  std::vector<std::string> out;
  for (const ServiceEntry& entry : change.services) {
    std::string text = str_cat(entry.key.address.to_string(),
                               entry.key.protocol == IPPROTO_UDP ? "/udp " : " ", path_text(entry.path));
    for (const BackendEntry& backend : entry.backends)
      str_append(&text, " ", backend.address.to_string(), "*", backend.weight);
    out.push_back(text);
  }
  for (const ServiceKey& key : change.gone_services) out.push_back(str_cat(key.address.to_string(), " gone"));
  return out;
}

TEST(KernelPlanTest, DeclaredTcpServiceIsDirectAndItsEndpointsAreDialledAsTheyAre) {
  World world;
  world.put(world.db());
  EXPECT_THAT(texts(world.put(world.pod("p1", "10.1.0.1"))),
              UnorderedElementsAre("10.96.0.5:5432 direct 10.1.0.1:15432*100", "10.1.0.1:15432 pass"));
}

TEST(KernelPlanTest, UndeclaredProtocolIsTheProxysAndKeepsBackendsForABypass) {
  World world;
  istio::workload::Service service = world.db();
  service.mutable_ports(0)->set_app_protocol(istio::workload::UNKNOWN);
  world.put(service);
  EXPECT_THAT(texts(world.put(world.pod("p1", "10.1.0.1"))),
              UnorderedElementsAre("10.96.0.5:5432 proxy 10.1.0.1:15432*100", "10.1.0.1:15432 gone"));
}

TEST(KernelPlanTest, AServiceWhoseEndpointsTakeTunnelsIsLeftToTheProxyAlsoWhenThatIsDead) {
  World world;
  world.put(world.db());
  istio::workload::Workload far = world.pod("p1", "10.1.0.1");
  far.set_tunnel_protocol(istio::workload::HBONE);
  const KernelChange tunnelled = world.put(far);
  ASSERT_EQ(tunnelled.services.size(), 1u);
  EXPECT_EQ(tunnelled.services[0].path, ServiceEntry::Path::kProxy);
  EXPECT_TRUE(tunnelled.services[0].tunnelled);
  far.set_node("node-a");
  for (const ServiceEntry& entry : world.put(far).services) EXPECT_FALSE(entry.tunnelled) << "its own node";
  // Where a policy wants it so there as well.
  far.add_authorization_policies("istio-system/istio_converted_static_strict_same_node");
  const KernelChange near = world.put(far);
  ASSERT_EQ(near.services.size(), 1u);
  EXPECT_TRUE(near.services[0].tunnelled);
  EXPECT_THAT(texts(near),
              UnorderedElementsAre("10.96.0.5:5432 proxy 10.1.0.1:15432*100", "10.1.0.1:15432 gone"));
}

TEST(KernelPlanTest, EndpointThatAlsoServesHttpIsNotDialledPastTheProxy) {
  World world;
  istio::workload::Service web = world.db();
  web.set_hostname("a-web.shop.svc.cluster.local");
  web.mutable_addresses(0)->set_address(packed("10.96.0.6"));
  web.mutable_ports(0)->set_app_protocol(istio::workload::HTTP11);
  world.put(world.db());
  world.put(web);
  istio::workload::Workload pod = world.pod("p1", "10.1.0.1");
  (*pod.mutable_services())["shop/a-web.shop.svc.cluster.local"] = pod.services().at(kDb);
  const std::vector<std::string> got = texts(world.put(pod));
  EXPECT_THAT(got, ::testing::Contains("10.1.0.1:15432 gone"));
  EXPECT_THAT(got, ::testing::Not(::testing::Contains("10.1.0.1:15432 pass")));
}

TEST(KernelPlanTest, OneEndpointsChangeTouchesItsServiceAndNoOther) {
  World world;
  world.put(world.db());
  istio::workload::Service other = world.db();
  other.set_hostname("other.shop.svc.cluster.local");
  other.mutable_addresses(0)->set_address(packed("10.96.0.7"));
  world.put(other);
  world.put(world.pod("p1", "10.1.0.1"));
  const std::vector<std::string> got = texts(world.put(world.pod("p2", "10.1.0.2")));
  EXPECT_THAT(got, ::testing::Contains("10.96.0.5:5432 direct 10.1.0.1:15432*100 10.1.0.2:15432*100"));
  EXPECT_THAT(got, ::testing::Not(::testing::Contains(::testing::HasSubstr("10.96.0.7"))));
}

TEST(KernelPlanTest, UnhealthyEndpointTakesNoConnectionAndAnEmptyServiceStaysDirect) {
  World world;
  world.put(world.db());
  istio::workload::Workload pod = world.pod("p1", "10.1.0.1");
  pod.set_status(istio::workload::UNHEALTHY);
  EXPECT_THAT(texts(world.put(pod)), ::testing::Contains("10.96.0.5:5432 direct"));
}

TEST(KernelPlanTest, RemovedServiceAndWorkloadLeaveNothing) {
  World world;
  world.put(world.db());
  world.put(world.pod("p1", "10.1.0.1"));
  KernelChange change = world.drop(kDb);
  EXPECT_THAT(texts(change), UnorderedElementsAre("10.96.0.5:5432 gone", "10.1.0.1:15432 gone"));
  EXPECT_THAT(change.gone_destinations, ElementsAre(*SocketAddress::parse("10.96.0.5:5432")));
  change = world.drop("p1");
  EXPECT_THAT(change.gone_destinations, SizeIs(2));
  EXPECT_THAT(world.planner.everything(world.model, world.ids).destinations, SizeIs(0));
  EXPECT_EQ(world.ids.size(), 0u);
}

TEST(KernelPlanTest, EverythingIsWhatTheChangesAddedUpTo) {
  World world;
  world.put(world.db());
  world.put(world.pod("p1", "10.1.0.1"));
  const KernelChange last = world.put(world.pod("p2", "10.1.0.2"));
  const KernelChange all = world.planner.everything(world.model, world.ids);
  EXPECT_TRUE(all.full);
  EXPECT_THAT(all.destinations, SizeIs(5)) << "the service's, and address and port of each pod";
  EXPECT_THAT(all.services, SizeIs(3));
  for (const std::string& changed : texts(last)) EXPECT_THAT(texts(all), ::testing::Contains(changed));
}

TEST(KernelPlanTest, NearestEndpointsAreTakenAndFurtherOnesWhenThoseFail) {
  World world;
  istio::workload::Service service = world.db();
  service.mutable_load_balancing()->set_mode(istio::workload::LoadBalancing::FAILOVER);
  service.mutable_load_balancing()->add_routing_preference(istio::workload::LoadBalancing::NODE);
  world.put(service);
  istio::workload::Workload near = world.pod("near", "10.1.0.1");
  near.set_node("node-a");
  world.put(near);
  EXPECT_THAT(texts(world.put(world.pod("far", "10.1.0.2"))),
              ::testing::Contains("10.96.0.5:5432 direct 10.1.0.1:15432*100"));
  near.set_status(istio::workload::UNHEALTHY);
  EXPECT_THAT(texts(world.put(near)), ::testing::Contains("10.96.0.5:5432 direct 10.1.0.2:15432*100"));
  service.mutable_load_balancing()->set_mode(istio::workload::LoadBalancing::STRICT);
  EXPECT_THAT(texts(world.put(service)), ::testing::Contains("10.96.0.5:5432 direct"));
}

TEST(KernelPlanTest, DatagramPortsAndAffinityComeWithTheExtension) {
  World world;
  istio::workload::Service service = world.db();
  mesh::v1::ServicePorts ports;
  ports.set_affinity_seconds(60);
  auto* dns = ports.add_datagram_ports();
  dns->set_number(53);
  dns->set_target_port(5353);
  auto* extension = service.add_extensions();
  extension->set_name("weft.mesh.v1.ServicePorts");
  extension->mutable_config()->set_value(ports.SerializeAsString());
  world.put(world.pod("p1", "10.1.0.1"));
  const KernelChange change = world.put(service);
  EXPECT_THAT(texts(change), ::testing::Contains("10.96.0.5:53/udp direct 10.1.0.1:5353*100"));
  for (const ServiceEntry& entry : change.services) {
    if (entry.path == ServiceEntry::Path::kDirect) {
      EXPECT_EQ(entry.affinity_seconds, 60u);
    }
  }
}

TEST(KernelPlanTest, ShareScalesOneBackendAndComesBack) {
  World world;
  world.put(world.db());
  world.put(world.pod("p1", "10.1.0.1"));
  world.put(world.pod("p2", "10.1.0.2"));
  const uint32_t id = world.ids.find(Subject::Kind::kService, kDb);
  const SocketAddress failing = *SocketAddress::parse("10.1.0.1:15432");
  EXPECT_THAT(texts(world.planner.set_share(world.model, world.ids, id, failing, 0)),
              ::testing::Contains("10.96.0.5:5432 direct 10.1.0.1:15432*0 10.1.0.2:15432*100"));
  EXPECT_THAT(texts(world.planner.set_share(world.model, world.ids, id, failing, 100)),
              ::testing::Contains("10.96.0.5:5432 direct 10.1.0.1:15432*100 10.1.0.2:15432*100"));
}

}  // namespace
}  // namespace weft::agent
