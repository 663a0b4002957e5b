// The streams of ConfigClient. One thread reads responses into a short queue; the other drains the queue,
// builds, publishes and acknowledges. Never touches a worker itself: that is what Publish is for.
#include "userspace-proxy/config/config_client.h"

#include <grpcpp/grpcpp.h>

#include <array>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include "base/log.h"
#include "proto/xds/discovery.grpc.pb.h"
#include "userspace-proxy/config/agent_channel.h"
#include "userspace-proxy/config/backoff.h"
#include "userspace-proxy/config/resource_store.h"
#include "userspace-proxy/config/snapshot_builder.h"

namespace weft::proxy {
namespace {

namespace xds = envoy::service::discovery::v3;
using Stream = grpc::ClientReaderWriter<xds::DeltaDiscoveryRequest, xds::DeltaDiscoveryResponse>;

constexpr std::array kTypes = {kAddressType,           kSecretType,         kRouteSetType,
                               kDestinationPolicyType, kAuthenticationType, kAuthorizationType};
// istiod's own limit; one response may carry a whole cluster.
constexpr int kMaxMessageBytes = 200 << 20;
// Responses waiting for the builder; more wait in the socket.
constexpr size_t kMaxQueued = 64;
// How long a snapshot that nobody uses may stay.
constexpr std::chrono::milliseconds kRetiredLook{100};

class StreamingConfigClient final : public ConfigClient {
 public:
  StreamingConfigClient(Options options, Publish publish)
      : options_(std::move(options)), publish_(std::move(publish)), thread_([this] { run(); }) {}

  ~StreamingConfigClient() override {
    {
      std::lock_guard lock(mutex_);
      stopping_ = true;
      if (context_ != nullptr) context_->TryCancel();
    }
    changed_.notify_all();
    thread_.join();
  }

  std::map<std::string, std::string> rejected() const override {
    std::lock_guard lock(mutex_);
    return rejected_;
  }

 private:
  void run() {
    Backoff backoff(options_.backoff_min, options_.backoff_max);
    bool reported = false;
    while (!stopping()) {
      bool answered = false;
      const grpc::Status status = session(&answered);
      if (stopping()) return;
      if (answered) backoff.reset();
      if (answered || !reported) {
        log::warn("config_stream_ended",
                  {{"target", options_.target},
                   {"error", status.error_message()},
                   {"next", "serving the last configuration, reconnecting; see `weft status`"}});
        reported = true;
      }
      free_retired();
      std::unique_lock lock(mutex_);
      changed_.wait_for(lock, backoff.next(), [this] { return stopping_; });
    }
  }

  bool stopping() const {
    std::lock_guard lock(mutex_);
    return stopping_;
  }

  // One stream from connect to its end.
  grpc::Status session(bool* answered) {
    const auto stub =
        xds::AggregatedDiscoveryService::NewStub(agent_channel(options_.target, kMaxMessageBytes));
    grpc::ClientContext context;
    {
      std::lock_guard lock(mutex_);
      if (stopping_) return grpc::Status::CANCELLED;
      context_ = &context;
      queue_.clear();
      ended_ = false;
    }
    const std::unique_ptr<Stream> stream = stub->DeltaAggregatedResources(&context);
    std::thread reader([&] { read_all(*stream); });
    if (subscribe(*stream)) {
      while (serve_burst(*stream)) *answered = true;
    }
    context.TryCancel();
    {
      // A reader that waits for room must see the end.
      std::lock_guard lock(mutex_);
      queue_.clear();
      abandoned_ = true;
    }
    changed_.notify_all();
    reader.join();
    std::lock_guard lock(mutex_);
    abandoned_ = false;
    context_ = nullptr;
    return stream->Finish();
  }

  void read_all(Stream& stream) {
    xds::DeltaDiscoveryResponse response;
    while (stream.Read(&response)) {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return queue_.size() < kMaxQueued || abandoned_ || stopping_; });
      queue_.push_back(std::move(response));
      response.Clear();
      changed_.notify_all();
    }
    std::lock_guard lock(mutex_);
    ended_ = true;
    changed_.notify_all();
  }

  bool subscribe(Stream& stream) {
    for (const std::string_view type : kTypes) {
      xds::DeltaDiscoveryRequest request;
      request.mutable_node()->set_id(options_.node_id);
      request.set_type_url(std::string(type));
      for (const auto& [name, version] : store_.versions(type)) {
        (*request.mutable_initial_resource_versions())[name] = version;
      }
      if (!stream.Write(request)) return false;
    }
    return true;
  }

  // Everything that waits becomes one snapshot. False when the stream has ended.
  bool serve_burst(Stream& stream) {
    std::deque<xds::DeltaDiscoveryResponse> burst;
    {
      std::unique_lock lock(mutex_);
      await_work(lock);
      if (stopping_ || queue_.empty()) return false;
      burst.swap(queue_);
    }
    changed_.notify_all();
    // Here too: changes may come without a pause.
    free_retired();
    std::vector<xds::DeltaDiscoveryRequest> answers;
    for (const xds::DeltaDiscoveryResponse& response : burst) answers.push_back(fold(response));
    publish_if_changed();
    for (const xds::DeltaDiscoveryRequest& answer : answers) {
      if (!stream.Write(answer)) return false;
    }
    return true;
  }

  // Until there is a response or an end. Snapshots that no worker uses any more go meanwhile: here, because
  // freeing ten thousand routes between two turns of a worker would be felt by its requests.
  void await_work(std::unique_lock<std::mutex>& lock) {
    const auto ready = [this] { return !queue_.empty() || ended_ || stopping_; };
    while (!retired_.empty() && !changed_.wait_for(lock, kRetiredLook, ready)) {
      lock.unlock();
      free_retired();
      lock.lock();
    }
    changed_.wait(lock, ready);
  }

  void free_retired() {
    std::erase_if(retired_, [](const SnapshotPtr& snapshot) { return snapshot.use_count() == 1; });
  }

  // Applies what is good; the answer is an ACK, or a NACK with one "name: reason" per line.
  xds::DeltaDiscoveryRequest fold(const xds::DeltaDiscoveryResponse& response) {
    std::string reasons;
    for (const xds::Resource& resource : response.resources()) {
      const absl::Status status = store_.apply(response.type_url(), resource);
      if (status.ok()) {
        dirty_ = true;
        continue;
      }
      str_append(&reasons, reasons.empty() ? "" : "\n", resource.name(), ": ", std::string(status.message()));
      log::warn("config_refused",
                {{"type", response.type_url()},
                 {"name", resource.name()},
                 {"reason", std::string(status.message())},
                 {"next", "the last good version serves; correct it, then see `weft status`"}});
    }
    for (const std::string& name : response.removed_resources()) store_.remove(response.type_url(), name);
    dirty_ = dirty_ || response.removed_resources_size() > 0;
    answered_.insert(response.type_url());
    xds::DeltaDiscoveryRequest answer;
    answer.set_type_url(response.type_url());
    answer.set_response_nonce(response.nonce());
    if (!reasons.empty()) {
      answer.mutable_error_detail()->set_code(grpc::StatusCode::INVALID_ARGUMENT);
      answer.mutable_error_detail()->set_message(reasons);
    }
    return answer;
  }

  void publish_if_changed() {
    {
      std::lock_guard lock(mutex_);
      rejected_ = store_.rejected();
    }
    for (const std::string_view type : kTypes) {
      if (!answered_.contains(std::string(type))) return;
    }
    if (!dirty_ && generation_ > 0) return;
    dirty_ = false;
    if (published_ != nullptr) retired_.push_back(std::move(published_));
    published_ = build_snapshot(store_.resources(), ++generation_, lists_);
    publish_(published_);
  }

  const Options options_;
  const Publish publish_;

  // Client thread only.
  ResourceStore store_{options_.path_normalisation};
  std::set<std::string> answered_;
  bool dirty_ = false;
  uint64_t generation_ = 0;
  RouteLists lists_;
  SnapshotPtr published_;
  std::vector<SnapshotPtr> retired_;  // in use by exchanges that began with them

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<xds::DeltaDiscoveryResponse> queue_;
  std::map<std::string, std::string> rejected_;
  grpc::ClientContext* context_ = nullptr;
  bool ended_ = false;      // the reader is done
  bool abandoned_ = false;  // nobody will drain the queue of this stream
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace

std::unique_ptr<ConfigClient> ConfigClient::start(Options options, Publish publish) {
  return std::make_unique<StreamingConfigClient>(std::move(options), std::move(publish));
}

}  // namespace weft::proxy
