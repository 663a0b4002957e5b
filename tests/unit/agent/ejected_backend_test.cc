// From a report of the kernel to the weights that it gets: who is sent to rest, and who is not. The
// reconciler with a dataplane that only remembers.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/mesh/reconciler.h"
#include "tests/unit/agent/fake_dataplane.h"
#include "tests/unit/base/scratch_folder.h"

namespace weft::agent {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr char kDb[] = "shop/db.shop.svc.cluster.local";
const SocketAddress kSlow = *SocketAddress::parse("10.1.0.1:15432");
const SocketAddress kFast = *SocketAddress::parse("10.1.0.2:15432");

std::string packed(const char* ip) { return IpAddress::parse(ip)->packed(); }

control_plane::Resource resource(const std::string& name, const istio::workload::Address& address) {
  return {control_plane::kAddressType, name, "1", address.SerializeAsString()};
}

control_plane::Resource database() {
  istio::workload::Address address;
  auto* service = address.mutable_service();
  service->set_name("db");
  service->set_namespace_("shop");
  service->set_hostname("db.shop.svc.cluster.local");
  service->add_addresses()->set_address(packed("10.96.0.5"));
  auto* port = service->add_ports();
  port->set_service_port(5432);
  port->set_target_port(15432);
  port->set_app_protocol(istio::workload::TCP);
  return resource(kDb, address);
}

control_plane::Resource pod(const char* uid, const char* ip) {
  istio::workload::Address address;
  auto* workload = address.mutable_workload();
  workload->set_uid(uid);
  workload->set_name(uid);
  workload->set_namespace_("shop");
  workload->add_addresses(packed(ip));
  auto* port = (*workload->mutable_services())[kDb].add_ports();
  port->set_service_port(5432);
  port->set_target_port(15432);
  return resource(uid, address);
}

class EjectedBackendTest : public ::testing::Test {
 protected:
  void SetUp() override {
    reconciler_ = std::make_unique<Reconciler>(
        Reconciler::Options{.store_path = folder_.file("enrollments.json"), .node_name = "n1"},
        Reconciler::Parts{.dataplane = dataplane_,
                          .feed = feed_,
                          .publish = [](const control_plane::Change&) {},
                          .probe = [](const std::string&) -> absl::StatusOr<NetnsIdentity> {
                            return absl::NotFoundError("none");
                          }});
    ASSERT_TRUE(reconciler_->start().ok());
    control_plane::Change change;
    change.generation = 1;
    change.upserted = {database(), pod("p1", "10.1.0.1"), pod("p2", "10.1.0.2")};
    reconciler_->apply(std::move(change));
    service_ = *reconciler_->read(
        [](const Reconciler::View& view) { return view.ids.find(Subject::Kind::kService, kDb); });
    ASSERT_NE(service_, 0u);
  }
  void TearDown() override { reconciler_->stop(); }
  // Hands the report over and waits until it was dealt with: the watcher takes it, then posts it.
  void report(const FailingBackend& failing) {
    {
      const std::lock_guard lock(dataplane_.mutex);
      dataplane_.failing = {failing};
    }
    dataplane_.failing_came.notify_all();
    // The watcher waits again only after it has posted.
    dataplane_.wait_taken();
    reconciler_->read([](const Reconciler::View& view) { return view.generation; });
  }
  // The backends of the service as the kernel was told last; empty when it was told nothing since.
  std::vector<uint32_t> weights_since(size_t before) {
    const std::lock_guard lock(dataplane_.mutex);
    std::vector<uint32_t> out;
    if (dataplane_.kernel_changes.size() <= before) return out;
    for (const ServiceEntry& entry : dataplane_.kernel_changes.back().services) {
      if (entry.path != ServiceEntry::Path::kDirect) continue;
      for (const BackendEntry& backend : entry.backends) out.push_back(backend.weight);
    }
    return out;
  }
  size_t changes() {
    const std::lock_guard lock(dataplane_.mutex);
    return dataplane_.kernel_changes.size();
  }

  const test::ScratchFolder folder_;
  FakeDataplane dataplane_;
  FakeFeed feed_;
  std::unique_ptr<Reconciler> reconciler_;
  uint32_t service_ = 0;
};

TEST_F(EjectedBackendTest, BackendFarSlowerThanItsSiblingsRestsAndIsNotSentToRestTwice) {
  dataplane_.latencies = {{kSlow, 900'000}, {kFast, 400}};
  const size_t before = changes();
  report({.service = service_, .address = kSlow, .latency_us = 900'000});
  EXPECT_THAT(weights_since(before), ElementsAre(0u, 100u));
  const size_t after = changes();
  report({.service = service_, .address = kSlow, .latency_us = 900'000});
  EXPECT_THAT(weights_since(after), IsEmpty()) << "it rests already";
}

TEST_F(EjectedBackendTest, BackendAsSlowAsItsSiblingsIsLeftAlone) {
  const size_t before = changes();
  dataplane_.latencies = {{kSlow, 90'000}, {kFast, 80'000}};
  report({.service = service_, .address = kSlow, .latency_us = 90'000});
  dataplane_.latencies = {{kSlow, 90'000}};
  report({.service = service_, .address = kSlow, .latency_us = 90'000});
  EXPECT_THAT(weights_since(before), IsEmpty());
}

TEST_F(EjectedBackendTest, BackendThatFailsRestsWhateverItsLatencyAndTheLastOneStays) {
  dataplane_.latencies = {{kSlow, 100}, {kFast, 100}};
  const size_t before = changes();
  report({.service = service_, .address = kSlow, .failures = 5});
  EXPECT_THAT(weights_since(before), ElementsAre(0u, 100u));
  const size_t after = changes();
  report({.service = service_, .address = kFast, .failures = 5});
  EXPECT_THAT(weights_since(after), IsEmpty());
  EXPECT_THAT(dataplane_.seen(), Contains("forgive " + kFast.to_string()));
}

}  // namespace
}  // namespace weft::agent
