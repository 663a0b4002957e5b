// The streams of Reporter. One thread reads the agent's requests into a queue, the other sleeps until a beat
// is due, a request came or an exchange was observed, and is the only writer of the stream.
#include "userspace-proxy/reporter.h"

#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "base/backoff.h"
#include "base/log.h"
#include "proto/weft/proxy/v1/telemetry.grpc.pb.h"
#include "userspace-proxy/metrics.h"
#include "xds/stream_channel.h"

namespace weft::proxy {
namespace {

namespace v1 = weft::proxy::v1;
using Stream = grpc::ClientReaderWriter<v1::ProxyReport, v1::ReportRequest>;
using std::chrono::steady_clock;

// What the agent asks of the proxy is a few fields.
constexpr int kMaxRequestBytes = 1 << 20;

class StreamingReporter final : public Reporter {
 public:
  StreamingReporter(Options options, Sources sources)
      : options_(std::move(options)), sources_(std::move(sources)), thread_([this] { run(); }) {}

  ~StreamingReporter() override {
    {
      std::lock_guard lock(mutex_);
      stopping_ = true;
      if (context_ != nullptr) context_->TryCancel();
    }
    stopped_.notify_all();
    sources_.observed->notify();
    thread_.join();
  }

 private:
  void run() {
    Backoff backoff(options_.backoff_min, options_.backoff_max);
    bool reported = false;
    for (;;) {
      bool answered = false;
      const grpc::Status status = session(&answered);
      observe(false);
      if (answered) backoff.reset();
      if (answered || !reported) {
        log::info("report_stream_ended", {{"target", options_.target}, {"error", status.error_message()}});
        reported = true;
      }
      std::unique_lock lock(mutex_);
      if (stopped_.wait_for(lock, backoff.next(), [this] { return stopping_; })) return;
    }
  }

  grpc::Status session(bool* answered) {
    const auto stub = v1::ProxyTelemetry::NewStub(xds::stream_channel(options_.target, kMaxRequestBytes));
    grpc::ClientContext context;
    {
      std::lock_guard lock(mutex_);
      if (stopping_) return grpc::Status::CANCELLED;
      context_ = &context;
      requests_.clear();
      ended_ = false;
    }
    const std::unique_ptr<Stream> stream = stub->Report(&context);
    std::thread reader([&] { read_all(*stream); });
    if (hello(*stream)) *answered = serve(*stream);
    context.TryCancel();
    reader.join();
    std::lock_guard lock(mutex_);
    context_ = nullptr;
    return stream->Finish();
  }

  void read_all(Stream& stream) {
    v1::ReportRequest request;
    while (stream.Read(&request)) {
      {
        std::lock_guard lock(mutex_);
        requests_.push_back(request);
      }
      sources_.observed->notify();
    }
    {
      std::lock_guard lock(mutex_);
      ended_ = true;
    }
    sources_.observed->notify();
  }

  bool hello(Stream& stream) {
    v1::ProxyReport report;
    report.mutable_hello()->set_version(options_.version);
    report.mutable_hello()->set_pid(static_cast<uint32_t>(::getpid()));
    report.mutable_hello()->set_workers(static_cast<uint32_t>(sources_.workers.size()));
    report.mutable_hello()->set_io(options_.io);
    return stream.Write(report);
  }

  // Until the stream ends. True when it was up for at least one beat.
  bool serve(Stream& stream) {
    bool up = false;
    auto next_beat = steady_clock::now();
    turns_.assign(sources_.workers.size(), 0);
    for (;;) {
      if (steady_clock::now() >= next_beat) {
        next_beat = steady_clock::now() + options_.beat_interval;
        if (!beat(stream)) return up;
        up = true;
      }
      std::deque<v1::ReportRequest> requests;
      if (!take_requests(&requests)) return up;
      for (const v1::ReportRequest& request : requests) {
        if (!answer(stream, request)) return up;
      }
      if (!send_observed(stream)) return up;
      rest_until(next_beat);
    }
  }

  // False when the stream or the reporter has ended.
  bool take_requests(std::deque<v1::ReportRequest>* out) {
    std::lock_guard lock(mutex_);
    out->swap(requests_);
    return !ended_ && !stopping_;
  }

  void rest_until(steady_clock::time_point when) {
    sources_.observed->prepare();
    bool idle = std::none_of(sources_.telemetry.begin(), sources_.telemetry.end(),
                             [](const WorkerTelemetry* t) { return t->has_observed(); });
    {
      std::lock_guard lock(mutex_);
      idle = idle && requests_.empty() && !ended_ && !stopping_;
    }
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(when - steady_clock::now()).count();
    if (idle && left > 0) {
      sources_.observed->wait(static_cast<int>(left));
    } else {
      sources_.observed->cancel();
    }
  }

  // A worker that has not turned its loop since the last beat makes this one stay out: the agent then sees us
  // as stuck.
  bool beat(Stream& stream) {
    bool all_turned = true;
    for (size_t i = 0; i < turns_.size(); ++i) {
      const uint64_t turns = sources_.workers[i]->gauges().loop_turns;
      all_turned = all_turned && turns != turns_[i];
      turns_[i] = turns;
    }
    if (!all_turned) return true;
    v1::ProxyReport report;
    report.mutable_beat()->set_snapshot_generation(lowest_generation(sources_.workers));
    report.mutable_beat()->set_draining(sources_.draining());
    return stream.Write(report);
  }

  bool answer(Stream& stream, const v1::ReportRequest& request) {
    switch (request.request_case()) {
      case v1::ReportRequest::kMetricsId:
        return send_metrics(stream, request.metrics_id());
      case v1::ReportRequest::kObserve:
        observe(request.observe());
        return true;
      case v1::ReportRequest::kDrain:
        if (request.drain()) sources_.drain();
        return true;
      case v1::ReportRequest::REQUEST_NOT_SET:
        break;
    }
    return true;
  }

  bool send_metrics(Stream& stream, uint64_t id) {
    v1::ProxyReport report;
    v1::Metrics& metrics = *report.mutable_metrics();
    metrics.set_id(id);
    sum_telemetry(sources_.telemetry, &metrics);
    sum_gauges(sources_.workers, &metrics);
    sum_pods(sources_.workers, &metrics);
    if (sources_.clusters) add_ejections(sources_.clusters(), &metrics);
    (*metrics.mutable_gauges())["weft_proxy_io_uring"] = options_.io == name_of(IoKind::kUring) ? 1 : 0;
    (*metrics.mutable_counters())["weft_proxy_access_log_dropped_total"] = sources_.access_log_dropped();
    for (const auto& [name, reason] : sources_.rejected()) (*metrics.mutable_rejected())[name] = reason;
    return stream.Write(report);
  }

  bool send_observed(Stream& stream) {
    std::vector<v1::Exchange> exchanges;
    for (WorkerTelemetry* t : sources_.telemetry) t->take_observed(&exchanges);
    for (v1::Exchange& exchange : exchanges) {
      v1::ProxyReport report;
      *report.mutable_exchange() = std::move(exchange);
      if (!stream.Write(report)) return false;
    }
    return true;
  }

  void observe(bool on) {
    for (WorkerTelemetry* t : sources_.telemetry) t->observe(on);
  }

  const Options options_;
  const Sources sources_;
  std::vector<uint64_t> turns_;  // reporter thread only: at the last beat

  std::mutex mutex_;
  std::condition_variable stopped_;
  std::deque<v1::ReportRequest> requests_;
  grpc::ClientContext* context_ = nullptr;
  bool ended_ = false;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace

std::unique_ptr<Reporter> Reporter::start(Options options, Sources sources) {
  return std::make_unique<StreamingReporter>(std::move(options), std::move(sources));
}

}  // namespace weft::proxy
