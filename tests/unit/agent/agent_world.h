// A whole agent over fakes for the kernel and the control plane, and a client of its operator's socket.
#pragma once

#include <grpcpp/create_channel.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "agent/agent.h"
#include "proto/weft/admin/v1/admin.grpc.pb.h"
#include "tests/unit/agent/fake_dataplane.h"
#include "tests/unit/base/scratch_folder.h"

namespace weft::agent {

// Shared with the test, which outlives the agent that owns the fakes.
struct Journal {
  std::mutex mutex;
  std::condition_variable came;
  std::vector<std::string> lines;
  void add(const std::string& line) {
    const std::lock_guard lock(mutex);
    lines.push_back(line);
    came.notify_all();
  }
  // Until the line is there; false: not in time.
  bool wait_for(const std::string& line) {
    std::unique_lock lock(mutex);
    return came.wait_for(lock, std::chrono::seconds(30),
                         [&] { return std::find(lines.begin(), lines.end(), line) != lines.end(); });
  }
  std::vector<std::string> all() {
    const std::lock_guard lock(mutex);
    return lines;
  }
};

class JournalDataplane final : public FakeDataplane {
 public:
  explicit JournalDataplane(Journal& journal) : journal_(journal) {}
  absl::StatusOr<EnrolledNamespace> enroll(const NamespacePlan& plan) override {
    journal_.add("enroll " + plan.netns_path);
    return FakeDataplane::enroll(plan);
  }
  absl::Status unenroll(uint64_t cookie, const std::string& path) override {
    journal_.add("unenroll " + path);
    return FakeDataplane::unenroll(cookie, path);
  }
  absl::Status apply(const KernelChange& change) override {
    journal_.add("destinations");
    return FakeDataplane::apply(change);
  }

 private:
  Journal& journal_;
};

class JournalAds final : public control_plane::AdsService {
 public:
  explicit JournalAds(Journal& journal) : journal_(journal) {}
  grpc::Service* service() override { return &service_; }
  void apply(const control_plane::Change& change) override {
    journal_.add("publish +" + std::to_string(change.upserted.size()) + " -" +
                 std::to_string(change.removed.size()));
  }
  std::vector<control_plane::ClientState> clients() const override { return {}; }
  void shutdown() override {}

 private:
  Journal& journal_;
  envoy::service::discovery::v3::AggregatedDiscoveryService::Service service_;
};

class NoControlPlane final : public control_plane::ControlPlane {};

class AgentWorld : public ::testing::Test {
 protected:
  void SetUp() override {
    first_.generation = 1;
    start();
  }
  void TearDown() override { agent_.reset(); }
  void start() {
    Agent::Options options{.node_name = "n1", .config_source = "memory", .run_dir = folder_.path()};
    options.metrics_address = *SocketAddress::parse("127.0.0.1:0");
    options.health_address = options.metrics_address;
    options.gateways.address = gateway_address_;
    Agent::Parts parts;
    auto dataplane = std::make_unique<JournalDataplane>(journal_);
    dataplane_ = dataplane.get();
    parts.dataplane = std::move(dataplane);
    parts.ads = std::make_unique<JournalAds>(journal_);
    parts.start_control_plane = [this](control_plane::ControlPlane::Subscriber subscriber)
        -> absl::StatusOr<std::unique_ptr<control_plane::ControlPlane>> {
      subscriber_ = std::move(subscriber);
      subscriber_(first_);
      return std::make_unique<NoControlPlane>();
    };
    parts.source_report = [this] { return source_; };
    parts.find_pods = find_pods_;
    parts.probe = probe_;
    parts.authority = std::move(authority_);
    parts.signs_for_gateways = signs_for_gateways_;
    auto agent = Agent::start(std::move(options), std::move(parts));
    ASSERT_TRUE(agent.ok()) << agent.status();
    agent_ = std::move(*agent);
    stub_ = admin::v1::Admin::NewStub(
        grpc::CreateChannel("unix:" + folder_.file("agent.sock"), grpc::InsecureChannelCredentials()));
  }
  grpc::Status enroll(const std::string& workload, const std::string& path) {
    grpc::ClientContext context;
    admin::v1::EnrollRequest request;
    request.set_workload(workload);
    request.set_netns_path(path);
    admin::v1::EnrollResponse reply;
    return stub_->Enroll(&context, request, &reply);
  }
  grpc::Status unenroll(const std::string& workload) {
    grpc::ClientContext context;
    admin::v1::UnenrollRequest request;
    request.set_workload(workload);
    admin::v1::UnenrollResponse reply;
    return stub_->Unenroll(&context, request, &reply);
  }
  admin::v1::NodeStatus status() {
    grpc::ClientContext context;
    admin::v1::NodeStatus reply;
    EXPECT_TRUE(stub_->GetStatus(&context, {}, &reply).ok());
    return reply;
  }

  Journal journal_;
  const test::ScratchFolder folder_;
  control_plane::Change first_;
  // Not changed while an agent runs.
  bool signs_for_gateways_ = true;
  control_plane::SourceReport source_;
  // Of the next agent that is started; none: it signs nothing.
  std::unique_ptr<control_plane::CertificateAuthority> authority_;
  // Of agents that are started from now on; none: they serve no gateways.
  std::optional<IpAddress> gateway_address_;
  // Of agents that are started from now on, as is how they tell namespaces apart.
  std::optional<SandboxWatch::Options> find_pods_;
  NetnsProbe probe_ = [](const std::string& path) -> absl::StatusOr<NetnsIdentity> {
    if (path == "/ns/missing") return absl::NotFoundError("no such file");
    return NetnsIdentity{1, std::hash<std::string>()(path)};
  };
  control_plane::ControlPlane::Subscriber subscriber_;
  std::unique_ptr<Agent> agent_;
  FakeDataplane* dataplane_ = nullptr;  // owned by the agent
  std::unique_ptr<admin::v1::Admin::Stub> stub_;
};

}  // namespace weft::agent
