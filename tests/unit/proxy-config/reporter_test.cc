// The telemetry stream against a scripted agent on a Unix socket: hello, beats, metrics, observed exchanges,
// drain.
#include "userspace-proxy/reporter.h"

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <mutex>

#include "base/strings.h"
#include "proto/weft/proxy/v1/telemetry.grpc.pb.h"
#include "tests/unit/proxy-config/fake_worker.h"
#include "tests/unit/proxy-config/telemetry_world.h"

namespace weft::proxy {
namespace {

namespace v1 = weft::proxy::v1;

class AgentServer final : public v1::ProxyTelemetry::Service {
 public:
  explicit AgentServer(const std::string& target) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort(target, grpc::InsecureServerCredentials());
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
  }
  ~AgentServer() override { server_->Shutdown(std::chrono::system_clock::now()); }

  grpc::Status Report(grpc::ServerContext*,
                      grpc::ServerReaderWriter<v1::ReportRequest, v1::ProxyReport>* s) override {
    {
      std::lock_guard lock(mutex_);
      stream_ = s;
    }
    v1::ProxyReport report;
    while (s->Read(&report)) {
      std::lock_guard lock(mutex_);
      reports_.push_back(report);
      changed_.notify_all();
    }
    std::lock_guard lock(mutex_);
    stream_ = nullptr;
    return grpc::Status::OK;
  }

  // The first report of that kind from now or before; empty when none came.
  v1::ProxyReport wait_for(v1::ProxyReport::ReportCase kind, size_t nth = 1) {
    std::unique_lock lock(mutex_);
    v1::ProxyReport found;
    changed_.wait_for(lock, kTestPatience, [&] {
      size_t seen = 0;
      for (const v1::ProxyReport& report : reports_) {
        if (report.report_case() != kind || ++seen != nth) continue;
        found = report;
        return true;
      }
      return false;
    });
    return found;
  }
  size_t count(v1::ProxyReport::ReportCase kind) {
    std::lock_guard lock(mutex_);
    return static_cast<size_t>(std::count_if(
        reports_.begin(), reports_.end(), [&](const v1::ProxyReport& r) { return r.report_case() == kind; }));
  }
  void send(const v1::ReportRequest& request) {
    std::lock_guard lock(mutex_);
    ASSERT_NE(stream_, nullptr);
    stream_->Write(request);
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<v1::ProxyReport> reports_;
  grpc::ServerReaderWriter<v1::ReportRequest, v1::ProxyReport>* stream_ = nullptr;
  std::unique_ptr<grpc::Server> server_;
};

class ReporterTest : public testing::Test {
 protected:
  ReporterTest()
      : target_(str_cat("unix:", testing::TempDir(), "weft-report-", ::getpid(), ".sock")),
        server_(std::make_unique<AgentServer>(target_)) {}
  ~ReporterTest() override {
    reporter_.reset();
    server_.reset();
  }

  void start() {
    Reporter::Options options;
    options.target = target_;
    options.version = "test";
    options.beat_interval = std::chrono::milliseconds(5);
    Reporter::Sources sources;
    sources.workers = {&workers_[0], &workers_[1]};
    sources.telemetry = {&telemetry_};
    sources.observed = &observed_;
    sources.rejected = [] { return std::map<std::string, std::string>{{"RouteSet a", "bad"}}; };
    sources.access_log_dropped = [] { return uint64_t{3}; };
    sources.draining = [] { return false; };
    sources.drain = [this] {
      std::lock_guard lock(mutex_);
      drain_asked_ = true;
      drained_.notify_all();
    };
    reporter_ = Reporter::start(options, std::move(sources));
    EXPECT_EQ(server_->wait_for(v1::ProxyReport::kHello).hello().workers(), 2u);
  }

  const std::string target_;
  std::unique_ptr<AgentServer> server_;
  FakeWorker workers_[2];
  Wakeup observed_;
  WorkerTelemetry telemetry_{0, nullptr, &observed_};
  std::mutex mutex_;
  std::condition_variable drained_;
  bool drain_asked_ = false;
  std::unique_ptr<Reporter> reporter_;
};

TEST_F(ReporterTest, BeatCarriesTheLowestGenerationOfAllWorkers) {
  const auto at = [](uint64_t generation) {
    auto snapshot = std::make_shared<Snapshot>();
    snapshot->generation = generation;
    return snapshot;
  };
  workers_[0].set_snapshot(at(5));
  workers_[1].set_snapshot(at(4));
  start();
  const v1::ProxyReport beat = server_->wait_for(v1::ProxyReport::kBeat);
  EXPECT_EQ(beat.beat().snapshot_generation(), 4u);
  EXPECT_EQ(server_->wait_for(v1::ProxyReport::kBeat, 3).report_case(), v1::ProxyReport::kBeat) << "goes on";
}

TEST_F(ReporterTest, StuckWorkerStopsTheBeat) {
  start();
  ASSERT_TRUE(server_->wait_for(v1::ProxyReport::kBeat, 2).has_beat());
  workers_[1].get_stuck();
  v1::ReportRequest ask;
  // A beat may be on its way; metrics answered one after the other mark time without a clock.
  for (uint64_t id = 1; id <= 2; ++id) {
    ask.set_metrics_id(id);
    server_->send(ask);
    ASSERT_TRUE(server_->wait_for(v1::ProxyReport::kMetrics, id).has_metrics());
  }
  const size_t before = server_->count(v1::ProxyReport::kBeat);
  for (uint64_t id = 3; id <= 1000; ++id) {
    ask.set_metrics_id(id);
    server_->send(ask);
    ASSERT_TRUE(server_->wait_for(v1::ProxyReport::kMetrics, id).has_metrics());
  }
  // Turns made before the worker got stuck may still justify one beat, never a second.
  EXPECT_LE(server_->count(v1::ProxyReport::kBeat), before + 1);
}

TEST_F(ReporterTest, IdleRealWorkerKeepsTheBeat) {
  Worker::Options worker_options;
  worker_options.sink = &telemetry_;
  auto worker = Worker::start(worker_options);
  ASSERT_TRUE(worker.ok()) << worker.status();
  Reporter::Options options;
  options.target = target_;
  Reporter::Sources sources;
  sources.workers = {worker->get()};
  sources.observed = &observed_;
  sources.draining = [] { return false; };
  reporter_ = Reporter::start(options, std::move(sources));
  EXPECT_TRUE(server_->wait_for(v1::ProxyReport::kBeat, 3).has_beat());
  reporter_.reset();
}

TEST_F(ReporterTest, MetricsAnswerWithTheId) {
  telemetry_.record(telemetry_record(), telemetry_snapshot());
  start();
  v1::ReportRequest ask;
  ask.set_metrics_id(42);
  server_->send(ask);
  const v1::Metrics metrics = server_->wait_for(v1::ProxyReport::kMetrics).metrics();
  EXPECT_EQ(metrics.id(), 42u);
  ASSERT_EQ(metrics.requests_size(), 1);
  EXPECT_EQ(metrics.requests(0).requests(), 1u);
  EXPECT_EQ(metrics.gauges().at("weft_proxy_downstream_connections"), 4u);
  EXPECT_EQ(metrics.counters().at("weft_proxy_access_log_dropped_total"), 3u);
  EXPECT_EQ(metrics.rejected().at("RouteSet a"), "bad");
}

TEST_F(ReporterTest, MetricsAddUpAPodOverTheWorkers) {
  for (FakeWorker& worker : workers_) {
    auto pod = std::make_shared<PodUse>(7, "Kubernetes//Pod/shop/web");
    pod->connections.add(2);
    pod->buffered_bytes.add(4096);
    pod->refuse(Refusal::kPodRequests);
    worker.pods_.push_back(std::move(pod));
  }
  workers_[1].pods_.push_back(std::make_shared<PodUse>(8));
  start();
  v1::ReportRequest ask;
  ask.set_metrics_id(1);
  server_->send(ask);
  const v1::Metrics metrics = server_->wait_for(v1::ProxyReport::kMetrics).metrics();
  ASSERT_EQ(metrics.pods_size(), 2);
  const v1::PodUse& pod = metrics.pods(0);
  EXPECT_EQ(pod.netns_cookie(), 7u);
  EXPECT_EQ(pod.workload_uid(), "Kubernetes//Pod/shop/web");
  EXPECT_EQ(pod.connections(), 4u);
  EXPECT_EQ(pod.buffered_bytes(), 8192u);
  EXPECT_EQ(pod.refused().at("pod_requests"), 2u);
  EXPECT_EQ(pod.refused().at("evicted"), 0u);
}

TEST_F(ReporterTest, ObservedExchangesAreSentWhileAsked) {
  start();
  v1::ReportRequest ask;
  ask.set_observe(true);
  server_->send(ask);
  // The metrics answer shows that the switch has been read: requests are handled in order.
  ask.set_metrics_id(1);
  server_->send(ask);
  ASSERT_TRUE(server_->wait_for(v1::ProxyReport::kMetrics).has_metrics());
  telemetry_.record(telemetry_record(), telemetry_snapshot());
  EXPECT_EQ(server_->wait_for(v1::ProxyReport::kExchange).exchange().route(), "default");
}

TEST_F(ReporterTest, DrainIsPassedOn) {
  start();
  v1::ReportRequest ask;
  ask.set_drain(true);
  server_->send(ask);
  std::unique_lock lock(mutex_);
  EXPECT_TRUE(drained_.wait_for(lock, kTestPatience, [&] { return drain_asked_; }));
}

TEST_F(ReporterTest, RestartedAgentGetsAHello) {
  start();
  server_.reset();
  server_ = std::make_unique<AgentServer>(target_);
  EXPECT_EQ(server_->wait_for(v1::ProxyReport::kHello).hello().version(), "test");
}

}  // namespace
}  // namespace weft::proxy
