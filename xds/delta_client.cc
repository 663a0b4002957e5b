// The streams of DeltaClient.
#include "xds/delta_client.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <set>
#include <thread>

#include "base/backoff.h"
#include "base/log.h"
#include "base/strings.h"
#include "proto/xds/discovery.grpc.pb.h"

namespace weft::xds {
namespace {

namespace pb = envoy::service::discovery::v3;
using Stream = grpc::ClientReaderWriter<pb::DeltaDiscoveryRequest, pb::DeltaDiscoveryResponse>;
using SteadyClock = std::chrono::steady_clock;

// Responses waiting for the receiver; more wait in the socket.
constexpr size_t kMaxQueued = 64;
constexpr std::chrono::milliseconds kTidyAgain{100};

class StreamingDeltaClient final : public DeltaClient {
 public:
  StreamingDeltaClient(Options options, Receiver& receiver)
      : options_(std::move(options)), receiver_(receiver), thread_([this] { run(); }) {}

  ~StreamingDeltaClient() override {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
      if (context_ != nullptr) context_->TryCancel();
    }
    changed_.notify_all();
    thread_.join();
  }

  State state() const override {
    const std::lock_guard lock(mutex_);
    return state_;
  }

 private:
  void run() {
    Backoff backoff(options_.backoff_min, options_.backoff_max, options_.backoff_jitter);
    bool reported = false;
    while (!stopping()) {
      answered_here_ = false;
      const grpc::Status status = session();
      if (stopping()) return;
      note_end(status);
      if (answered_here_) backoff.reset();
      if (answered_here_ || !reported) {
        log::warn("config_stream_ended",
                  {{"target", options_.target},
                   {"error", status.error_message()},
                   {"next", "serving the last configuration, reconnecting; see `weft status`"}});
        reported = true;
      }
      receiver_.tidy();
      std::unique_lock lock(mutex_);
      changed_.wait_for(lock, backoff.next(), [this] { return stopping_; });
    }
  }

  bool stopping() const {
    const std::lock_guard lock(mutex_);
    return stopping_;
  }

  void note_end(const grpc::Status& status) {
    const std::lock_guard lock(mutex_);
    if (state_.connected) state_.since = SteadyClock::now();
    state_.connected = false;
    state_.error = status.error_message().empty() ? "the stream ended" : status.error_message();
    ++state_.failures;
  }

  void note_answer() {
    if (answered_here_) return;
    answered_here_ = true;
    const std::lock_guard lock(mutex_);
    state_.connected = true;
    state_.since = SteadyClock::now();
    ++state_.streams;
  }

  // One stream from connect to its end.
  grpc::Status session() {
    const auto channel = options_.connect();
    if (!channel.ok()) return to_grpc(channel.status());
    const auto stub = pb::AggregatedDiscoveryService::NewStub(*channel);
    grpc::ClientContext context;
    if (options_.prepare) {
      if (const absl::Status ready = options_.prepare(context); !ready.ok()) return to_grpc(ready);
    }
    {
      const std::lock_guard lock(mutex_);
      if (stopping_) return grpc::Status::CANCELLED;
      context_ = &context;
      queue_.clear();
      ended_ = false;
    }
    const std::unique_ptr<Stream> stream = stub->DeltaAggregatedResources(&context);
    std::thread reader([&] { read_all(*stream); });
    if (subscribe(*stream)) {
      while (serve_burst(*stream)) {
      }
    }
    {
      // A reader that waits for room must see the end. One that is at the end has the server's own status,
      // which a cancellation would take the place of.
      const std::lock_guard lock(mutex_);
      if (!ended_) context.TryCancel();
      queue_.clear();
      abandoned_ = true;
    }
    changed_.notify_all();
    reader.join();
    {
      const std::lock_guard lock(mutex_);
      abandoned_ = false;
      context_ = nullptr;
    }
    return stream->Finish();
  }

  static grpc::Status to_grpc(const absl::Status& status) {
    return grpc::Status(static_cast<grpc::StatusCode>(status.code()), std::string(status.message()));
  }

  void read_all(Stream& stream) {
    pb::DeltaDiscoveryResponse response;
    while (stream.Read(&response)) {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return queue_.size() < kMaxQueued || abandoned_ || stopping_; });
      state_.resources += static_cast<uint64_t>(response.resources_size());
      state_.removals += static_cast<uint64_t>(response.removed_resources_size());
      state_.bytes += response.ByteSizeLong();
      queue_.push_back(std::move(response));
      response.Clear();
      changed_.notify_all();
    }
    const std::lock_guard lock(mutex_);
    ended_ = true;
    changed_.notify_all();
  }

  bool subscribe(Stream& stream) {
    for (const std::string& type : options_.types) {
      pb::DeltaDiscoveryRequest request;
      *request.mutable_node() = options_.node;
      request.set_type_url(type);
      for (auto& [name, version] : receiver_.held(type))
        (*request.mutable_initial_resource_versions())[name] = version;
      if (!stream.Write(request)) {
        await_end();
        return false;
      }
    }
    return true;
  }

  // A write fails when the stream has ended; the reader is about to see why.
  void await_end() {
    std::unique_lock lock(mutex_);
    abandoned_ = true;
    queue_.clear();
    changed_.notify_all();
    changed_.wait(lock, [this] { return ended_ || stopping_; });
  }

  // Everything that waits is one burst. False when the stream has ended.
  bool serve_burst(Stream& stream) {
    std::deque<pb::DeltaDiscoveryResponse> burst;
    {
      std::unique_lock lock(mutex_);
      await_work(lock);
      if (stopping_ || queue_.empty()) return false;
      burst.swap(queue_);
    }
    changed_.notify_all();
    note_answer();
    // Here too: changes may come without a pause.
    receiver_.tidy();
    std::vector<pb::DeltaDiscoveryRequest> answers;
    for (const pb::DeltaDiscoveryResponse& response : burst) answers.push_back(fold(response));
    receiver_.settle(answered_.size() == options_.types.size());
    for (const pb::DeltaDiscoveryRequest& answer : answers) {
      if (!stream.Write(answer)) {
        await_end();
        return false;
      }
    }
    return true;
  }

  // Until there is a response or an end. What the receiver does not use any more goes meanwhile: here, and
  // not where it is used, because freeing it takes time.
  void await_work(std::unique_lock<std::mutex>& lock) {
    const auto ready = [this] { return !queue_.empty() || ended_ || stopping_; };
    while (!ready()) {
      lock.unlock();
      const bool again = receiver_.tidy();
      lock.lock();
      if (!again) break;
      changed_.wait_for(lock, kTidyAgain, ready);
    }
    changed_.wait(lock, ready);
  }

  // Applies what is good; the answer is an ACK, or a NACK with one "name: reason" per line.
  pb::DeltaDiscoveryRequest fold(const pb::DeltaDiscoveryResponse& response) {
    std::string reasons;
    for (const pb::Resource& resource : response.resources()) {
      const absl::Status status = receiver_.put(response.type_url(), resource);
      if (status.ok()) continue;
      str_append(&reasons, reasons.empty() ? "" : "\n", resource.name(), ": ", std::string(status.message()));
      log::warn("config_refused",
                {{"type", response.type_url()},
                 {"name", resource.name()},
                 {"reason", std::string(status.message())},
                 {"next", "the last good version serves; correct it, then see `weft status`"}});
    }
    for (const std::string& name : response.removed_resources()) receiver_.remove(response.type_url(), name);
    if (std::find(options_.types.begin(), options_.types.end(), response.type_url()) != options_.types.end())
      answered_.insert(response.type_url());
    pb::DeltaDiscoveryRequest answer;
    answer.set_type_url(response.type_url());
    answer.set_response_nonce(response.nonce());
    if (!reasons.empty()) {
      answer.mutable_error_detail()->set_code(grpc::StatusCode::INVALID_ARGUMENT);
      answer.mutable_error_detail()->set_message(reasons);
    }
    return answer;
  }

  const Options options_;
  Receiver& receiver_;

  // Client thread only.
  std::set<std::string> answered_;
  bool answered_here_ = false;  // on the stream of now

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<pb::DeltaDiscoveryResponse> queue_;
  State state_;
  grpc::ClientContext* context_ = nullptr;
  bool ended_ = false;      // the reader is done
  bool abandoned_ = false;  // nobody will drain the queue of this stream
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace

std::unique_ptr<DeltaClient> DeltaClient::start(Options options, Receiver& receiver) {
  return std::make_unique<StreamingDeltaClient>(std::move(options), receiver);
}

}  // namespace weft::xds
