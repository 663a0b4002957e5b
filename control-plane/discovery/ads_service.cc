// AdsService over gRPC's callback API: a stream is an object, not a thread. One mutex guards everything; what
// it protects is small and never blocks. See ads_stream.h for what a client is sent when.
#include "control-plane/discovery/ads_service.h"

#include <grpcpp/support/server_callback.h>

#include <algorithm>
#include <list>
#include <optional>

#include "absl/synchronization/mutex.h"
#include "base/strings.h"
#include "control-plane/discovery/ads_stream.h"

namespace weft::control_plane {
namespace {

namespace xds = envoy::service::discovery::v3;

// A call that came after shutdown().
class Refusal final
    : public grpc::ServerBidiReactor<xds::DeltaDiscoveryRequest, xds::DeltaDiscoveryResponse> {
 public:
  explicit Refusal(std::function<void(Refusal*)> on_done) : on_done_(std::move(on_done)) {
    Finish(grpc::Status(grpc::StatusCode::UNAVAILABLE, "the server is going down; connect again later"));
  }
  void OnDone() override {
    const auto on_done = on_done_;
    on_done(this);
  }

 private:
  const std::function<void(Refusal*)> on_done_;
};

class AdsServiceOverGrpc final : public AdsService, xds::AggregatedDiscoveryService::CallbackService {
 public:
  // The server must be shut down by then: gRPC ends every call with OnDone, which this waits for.
  ~AdsServiceOverGrpc() override {
    shutdown();
    const absl::MutexLock lock(&mutex_);
    mutex_.Await(absl::Condition(this, &AdsServiceOverGrpc::idle));
  }

  grpc::Service* service() override { return this; }

  void apply(const Change& change) override {
    const absl::MutexLock lock(&mutex_);
    for (const Resource& resource : change.upserted) put(resource);
    for (const auto& [type, name] : change.removed) remove(type, name);
    state_.generation = change.generation;
    for (const auto& stream : streams_) stream->pump();
  }

  std::vector<ClientState> clients() const override {
    const absl::MutexLock lock(&mutex_);
    std::vector<ClientState> out;
    for (const auto& stream : streams_) out.push_back(stream->client_state());
    return out;
  }

  void shutdown() override {
    const absl::MutexLock lock(&mutex_);
    down_ = true;
    for (const auto& stream : streams_) {
      stream->end(
          grpc::Status(grpc::StatusCode::UNAVAILABLE, "the server is going down; connect again later"));
    }
  }

 private:
  using Reactor = grpc::ServerBidiReactor<xds::DeltaDiscoveryRequest, xds::DeltaDiscoveryResponse>;

  Reactor* DeltaAggregatedResources(grpc::CallbackServerContext*) override {
    const absl::MutexLock lock(&mutex_);
    if (down_) {
      refusals_.push_back(std::make_unique<Refusal>([this](Refusal* done) { forget(refusals_, done); }));
      return refusals_.back().get();
    }
    streams_.push_back(
        std::make_unique<AdsStream>(mutex_, state_, [this](AdsStream* done) { forget(streams_, done); }));
    streams_.back()->start();
    return streams_.back().get();
  }

  void put(const Resource& resource) {
    TypeResources& resources = state_.types[resource.type_url()];
    const auto known = resources.find(resource.name());
    std::optional<Resource> before;
    if (known != resources.end()) {
      before = *known;
      resources.erase(known);
    }
    resources.insert(resource);
    if (before && before->version() == resource.version()) return;
    const std::optional<std::string_view> had = before ? std::optional(before->version()) : std::nullopt;
    for (const auto& stream : streams_)
      stream->changed(resource.type_url(), resource.name(), had, resource.version());
  }

  void remove(const std::string& type, const std::string& name) {
    TypeResources& resources = state_.types[type];
    const auto known = resources.find(name);
    if (known == resources.end()) return;
    for (const auto& stream : streams_) stream->changed(type, name, known->version(), std::nullopt);
    resources.erase(known);
  }

  template <typename T>
  void forget(std::list<std::unique_ptr<T>>& list, T* done) {
    // Destroyed after the lock is gone: it holds the function that is running.
    std::unique_ptr<T> dying;
    const absl::MutexLock lock(&mutex_);
    const auto at =
        std::find_if(list.begin(), list.end(), [done](const auto& entry) { return entry.get() == done; });
    if (at == list.end()) return;
    dying = std::move(*at);
    list.erase(at);
  }

  bool idle() const { return streams_.empty() && refusals_.empty(); }

  mutable absl::Mutex mutex_;
  AdsState state_;
  bool down_ = false;
  std::list<std::unique_ptr<AdsStream>> streams_;
  std::list<std::unique_ptr<Refusal>> refusals_;
};

}  // namespace

std::unique_ptr<AdsService> AdsService::create() { return std::make_unique<AdsServiceOverGrpc>(); }

}  // namespace weft::control_plane
