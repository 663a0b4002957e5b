// A progressive delivery against an agent in this process whose mesh routes by the manifest: pods that go or
// come during a step, requests that reach nobody, an agent that hangs, a file that others edit.
#include "tools/weft/canary_run.h"

#include <gmock/gmock.h>
#include <grpcpp/create_channel.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <fstream>
#include <functional>
#include <map>
#include <mutex>
#include <sstream>

#include "agent/feed/grpc_unix_server.h"
#include "base/strings.h"
#include "tests/unit/base/scratch_folder.h"

namespace weft::cli {
namespace {

using std::chrono::milliseconds;
using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr char kManifest[] = R"(kind: VirtualService
metadata: {name: cart, namespace: shop}
spec:
  hosts: [cart]
  http:
  - route:
    - {destination: {host: cart, subset: v1}, weight: 100}
    - {destination: {host: cart, subset: v2}, weight: 0}
)";
const RouteQuery kQuery{.route = "", .host = "", .to = "v2"};

std::string read(const std::string& path) {
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

std::string with_share(uint32_t percent) {
  const auto place = find_route(kManifest, kQuery);
  return with_weights(kManifest, *place, shifted_weights(*place, percent));
}

// Routes by the manifest's weights; each of its counts is asked for in `on_counts`, with their number since
// v2 has got a share.
class Mesh final : public admin::v1::Admin::Service {
 public:
  grpc::Status ListRoutes(grpc::ServerContext*, const admin::v1::ListRequest*,
                          admin::v1::RouteList* reply) override {
    const std::lock_guard lock(mutex);
    if (away > 0) {
      --away;
      return grpc::Status(grpc::StatusCode::UNAVAILABLE, "starting");
    }
    if (late > 0) {
      --late;
      return grpc::Status::OK;
    }
    const auto place = find_route(read(path), kQuery);
    if (!place.ok()) return grpc::Status::OK;
    // Of another place that the VirtualService is bound to: nobody gets there.
    for (const bool reached : {false, true}) {
      auto* row = reply->add_routes();
      row->mutable_origin()->set_name(place->name);
      row->mutable_origin()->set_line(place->line);
      for (const WeightPlace& destination : place->destinations) {
        if (!reached || destination.weight == 0) continue;
        auto* target = row->add_targets();
        target->set_host("cart.shop.svc.cluster.local");
        target->set_subset(destination.subset);
        target->set_share_percent(destination.weight);
        if (destination.subset != "v2") continue;
        target->set_problem(problem);
        for (const std::string& pod : pods) target->add_endpoints()->set_workload(pod);
      }
    }
    return grpc::Status::OK;
  }
  grpc::Status GetStatus(grpc::ServerContext*, const admin::v1::GetStatusRequest*,
                         admin::v1::NodeStatus* reply) override {
    const std::lock_guard lock(mutex);
    for (const auto& finding : findings) *reply->add_findings() = finding;
    return grpc::Status::OK;
  }
  grpc::Status WatchRequests(grpc::ServerContext* context, const admin::v1::WatchRequestsRequest* request,
                             grpc::ServerWriter<admin::v1::RequestCounts>* writer) override {
    while (!context->IsCancelled()) {
      admin::v1::RequestCounts counts;
      if (fill(&counts) && !writer->Write(counts)) break;
      std::unique_lock lock(mutex);
      ended_.wait_for(lock, milliseconds(request->interval_ms()), [&] { return context->IsCancelled(); });
    }
    return grpc::Status::OK;
  }

  std::mutex mutex;
  std::string path, problem;
  std::set<std::string> pods = {"shop/cart-2"};
  std::vector<admin::v1::Finding> findings;
  std::map<std::string, std::pair<uint64_t, uint64_t>> counted;  // requests, errors; of workloads
  uint64_t generation = 1;
  uint32_t away = 0, late = 0;  // questions for routes that it cannot answer, that it has none for
  bool hangs = false;
  std::function<void(int)> on_counts = [](int) {};

 private:
  bool fill(admin::v1::RequestCounts* out) {
    const std::lock_guard lock(mutex);
    const auto place = find_route(read(path), kQuery);
    if (place.ok() && place->destinations[1].weight > 0) {
      on_counts(++since_);
    } else {
      hangs = false;
    }
    if (hangs) return false;
    for (const auto& [workload, numbers] : counted) {
      auto* row = out->add_rows();
      row->set_workload(workload);
      row->set_requests(numbers.first);
      row->set_errors(numbers.second);
    }
    out->set_proxy_answers(true);
    out->set_proxy_pid(7);
    out->set_config_generation(generation);
    out->set_proxy_generation(generation);
    return true;
  }
  int since_ = 0;
  std::condition_variable ended_;
};

// After the first counts of the step, which everything is compared with.
constexpr int kInForce = 4;

class CanaryRunTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::ofstream(path_) << kManifest;
    mesh_.path = path_;
    auto server = agent::GrpcUnixServer::start(folder_.file("agent.sock"), agent::SocketAccess{}, {&mesh_});
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = std::move(*server);
    stub_ = admin::v1::Admin::NewStub(
        grpc::CreateChannel("unix:" + folder_.file("agent.sock"), grpc::InsecureChannelCredentials()));
  }
  void TearDown() override { server_.reset(); }

  // One step to 50 %; ends well after 500 ms and 100 requests.
  CanaryRun::End run() {
    Environment env{out_, err_, false, {}, {}};
    auto file = ManifestFile::open(path_);
    auto place = find_route(file->text(), kQuery);
    Interrupt interrupt;
    CanaryRun run({.query = kQuery,
                   .steps = {50},
                   .interval = milliseconds(500),
                   .patience = milliseconds(20'000),
                   .bounds = {},
                   .effective = milliseconds(2'000),
                   .silence = milliseconds(1'000)},
                  *std::move(file), *std::move(place), *stub_, interrupt, env);
    const CanaryRun::End end = run.run();
    problem_ = std::string(run.problem().message());
    weights_ = run.weights();
    return end;
  }
  void good_request() { mesh_.counted["shop/cart-2"].first += 50; }

  const test::ScratchFolder folder_;
  const std::string path_ = folder_.file("m.yaml");
  Mesh mesh_;
  std::unique_ptr<agent::GrpcUnixServer> server_;
  std::unique_ptr<admin::v1::Admin::Stub> stub_;
  std::ostringstream out_, err_;
  std::string problem_, weights_;
};

TEST_F(CanaryRunTest, AGoodVersionIsPromotedByTheRowThatLeadsSomewhere) {
  mesh_.on_counts = [this](int) { good_request(); };
  EXPECT_EQ(run(), CanaryRun::End::kPromoted) << problem_ << err_.str();
  EXPECT_EQ(read(path_), with_share(50));
}

TEST_F(CanaryRunTest, AVersionThatLosesItsPodsDuringAStepIsRolledBack) {
  mesh_.on_counts = [this](int number) {
    good_request();
    if (number != kInForce) return;
    mesh_.problem = "no usable endpoint: answered 503 no_endpoint";
    ++mesh_.generation;
  };
  EXPECT_EQ(run(), CanaryRun::End::kRolledBack) << problem_ << err_.str();
  EXPECT_THAT(problem_, HasSubstr("v2: no usable endpoint"));
  EXPECT_EQ(read(path_), kManifest);
}

TEST_F(CanaryRunTest, PodsThatComeDuringAStepCount) {
  mesh_.on_counts = [this](int number) {
    good_request();
    if (number < kInForce) return;
    if (number == kInForce) ++mesh_.generation;
    mesh_.pods = {"shop/cart-3"};
    auto& [requests, errors] = mesh_.counted["shop/cart-3"];
    requests += 50;
    errors += 50;
  };
  EXPECT_EQ(run(), CanaryRun::End::kRolledBack) << problem_ << err_.str();
  EXPECT_THAT(problem_, HasSubstr("requests failed"));
}

TEST_F(CanaryRunTest, RequestsThatReachNobodyRollItBack) {
  mesh_.counted[""] = {1000, 1000};
  mesh_.on_counts = [this](int number) {
    good_request();
    if (number >= kInForce) mesh_.counted[""].second += 100;
  };
  EXPECT_EQ(run(), CanaryRun::End::kRolledBack) << problem_ << err_.str();
  EXPECT_THAT(problem_, HasSubstr("requests reached no endpoint"));
}

TEST_F(CanaryRunTest, AnAgentThatIsAwayForAMomentIsAskedAgain) {
  mesh_.on_counts = [this](int number) {
    good_request();
    if (number != kInForce) return;
    mesh_.away = 2;
    ++mesh_.generation;
  };
  EXPECT_EQ(run(), CanaryRun::End::kPromoted) << problem_ << err_.str();
  EXPECT_EQ(mesh_.away, 0u);
}

TEST_F(CanaryRunTest, AnAgentThatHangsDuringAStepEndsIt) {
  mesh_.on_counts = [this](int number) {
    good_request();
    mesh_.hangs = number >= kInForce;
  };
  EXPECT_EQ(run(), CanaryRun::End::kRolledBack) << problem_ << err_.str();
  EXPECT_THAT(problem_, HasSubstr("have not answered for 1 s"));
  EXPECT_EQ(read(path_), kManifest);
}

TEST_F(CanaryRunTest, ABadVersionIsTakenOutOfAFileThatSomebodyElseEdited) {
  mesh_.on_counts = [this](int number) {
    good_request();
    if (number == kInForce) std::ofstream(path_) << "# of somebody else\n" << with_share(60);
    if (number >= kInForce) mesh_.counted["shop/cart-2"].second += 50;
  };
  EXPECT_EQ(run(), CanaryRun::End::kRolledBack) << problem_ << err_.str();
  EXPECT_EQ(weights_, "v1 100, v2 0");
  EXPECT_EQ(read(path_), str_cat("# of somebody else\n", kManifest));
}

TEST_F(CanaryRunTest, ARollbackThatCannotBeWrittenSaysWhatStays) {
  mesh_.on_counts = [this](int number) {
    good_request();
    if (number == kInForce) std::ofstream(path_) << "theirs: [\n";
    mesh_.counted["shop/cart-2"].second += number == kInForce ? 1000 : 0;
  };
  EXPECT_EQ(run(), CanaryRun::End::kFailed) << err_.str();
  EXPECT_THAT(problem_, AllOf(HasSubstr("v2 still has its share"), HasSubstr("requests failed")));
  EXPECT_EQ(weights_, "unknown") << "the file says nothing of it";
  EXPECT_EQ(read(path_), "theirs: [\n");
}

// While it is not in force the agent is asked what it refuses.
TEST_F(CanaryRunTest, WhatIsRefusedBesideItDoesNotConcernIt) {
  mesh_.on_counts = [this](int) { good_request(); };
  mesh_.late = 3;
  admin::v1::Finding other;
  other.set_level("error");
  other.set_file("elsewhere/m.yaml");
  other.set_object("VirtualService shop/basket");
  mesh_.findings = {other};
  EXPECT_EQ(run(), CanaryRun::End::kPromoted) << problem_ << err_.str();
}

TEST_F(CanaryRunTest, ARefusalOfItsOwnObjectOrFileRollsItBack) {
  mesh_.on_counts = [this](int) { good_request(); };
  for (const char* object : {"VirtualService shop/cart", ""}) {
    mesh_.late = 3;
    admin::v1::Finding own;
    own.set_level("error");
    own.set_file("m.yaml");
    own.set_object(object);
    own.set_message("weights add up to 90");
    mesh_.findings = {own};
    EXPECT_NE(run(), CanaryRun::End::kPromoted) << object;
    EXPECT_THAT(err_.str(), HasSubstr("rolled back: v1 100, v2 0 (the agent refuses m.yaml:0: weights"))
        << object;
  }
}

}  // namespace
}  // namespace weft::cli
