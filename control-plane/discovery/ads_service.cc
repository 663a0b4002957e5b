// AdsService over gRPC's callback API: a stream is an object, not a thread. One mutex guards everything; what
// it protects is small and never blocks. See ads_stream.h for what a client is sent when.
#include "control-plane/discovery/ads_service.h"

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <algorithm>
#include <list>
#include <optional>
#include <set>

#include "absl/synchronization/mutex.h"
#include "base/strings.h"
#include "control-plane/discovery/ads_stream.h"

namespace weft::control_plane {
namespace {

namespace xds = envoy::service::discovery::v3;

// A call that came after shutdown(), or from nobody who may.
class Refusal final : public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  Refusal(const grpc::Status& status, std::function<void(Refusal*)> on_done) : on_done_(std::move(on_done)) {
    Finish(status);
  }
  void OnDone() override {
    const auto on_done = on_done_;
    on_done(this);
  }

 private:
  const std::function<void(Refusal*)> on_done_;
};

grpc::Status going_down() {
  return grpc::Status(grpc::StatusCode::UNAVAILABLE, "the server is going down; connect again later");
}

grpc::Status too_many_streams(const std::string& node) {
  return grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED,
                      str_cat("node ", node, " has ", kMaxStreamsOfNode,
                              " streams already; next: see that one agent runs on it, and try again when "
                              "connections that broke have ended"));
}

// Messages come and go as bytes: what many streams are sent is encoded once (response_bytes.h).
using BytesService = xds::AggregatedDiscoveryService::WithRawCallbackMethod_DeltaAggregatedResources<
    xds::AggregatedDiscoveryService::Service>;

class AdsServiceOverGrpc final : public AdsService, BytesService {
 public:
  AdsServiceOverGrpc(NodeOf node_of, MayBeGateway may_be_gateway)
      : node_of_(std::move(node_of)), may_be_gateway_(std::move(may_be_gateway)) {}
  // The server must be shut down by then: gRPC ends every call with OnDone, which this waits for.
  ~AdsServiceOverGrpc() override {
    shutdown();
    const absl::MutexLock lock(&mutex_);
    mutex_.Await(absl::Condition(this, &AdsServiceOverGrpc::idle));
  }

  grpc::Service* service() override { return this; }

  void apply(const Change& change) override {
    const absl::MutexLock lock(&mutex_);
    std::set<std::string> moved;
    for (const Resource& resource : change.upserted) put(resource, moved);
    for (const auto& [type, name] : change.removed) remove(type, name, moved);
    if (!moved.empty()) {
      for (const auto& stream : streams_) stream->namespaces_changed(moved);
    }
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
    for (const auto& stream : streams_) stream->end(going_down());
  }

 private:
  using Reactor = grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>;

  Reactor* DeltaAggregatedResources(grpc::CallbackServerContext* context) override {
    absl::StatusOr<std::string> node = node_of_ ? node_of_(*context) : "";
    const absl::MutexLock lock(&mutex_);
    if (down_) return refuse(going_down());
    if (!node.ok()) {
      return refuse(grpc::Status(static_cast<grpc::StatusCode>(node.status().code()),
                                 std::string(node.status().message())));
    }
    if (node_of_ && streams_of(*node) >= kMaxStreamsOfNode) return refuse(too_many_streams(*node));
    std::optional<Caller> caller;
    if (node_of_) caller = Caller{.node = *node, .may_be_gateway = may_be_gateway_ && may_be_gateway_(*node)};
    streams_.push_back(std::make_unique<AdsStream>(mutex_, state_, memory_, caller,
                                                   [this](AdsStream* done) { forget(streams_, done); }));
    streams_.back()->start();
    return streams_.back().get();
  }

  size_t streams_of(const std::string& node) const {
    return static_cast<size_t>(std::count_if(streams_.begin(), streams_.end(),
                                             [&](const auto& stream) { return stream->is_of(node); }));
  }

  Reactor* refuse(const grpc::Status& status) {
    refusals_.push_back(
        std::make_unique<Refusal>(status, [this](Refusal* done) { forget(refusals_, done); }));
    return refusals_.back().get();
  }

  void put(const Resource& resource, std::set<std::string>& moved) {
    const std::string type = resource.type_url();
    TypeResources& resources = state_.types[type];
    const std::optional<TypeResources::Entry> before = resources.put(resource, scope_now(resource));
    if (before && before->resource.version() == resource.version()) return;
    if (node_of_) state_.namespaces.put(resource, moved);
    const TypeResources::Entry& now = *resources.find(resource.name());
    if (node_of_) note_uses(now);
    for (const auto& stream : streams_) {
      const bool had = before && stream->sees(*before);
      const bool has = stream->sees(now);
      if (!had && !has) continue;
      stream->changed(type, resource.name(), had ? std::optional(before->resource.version()) : std::nullopt,
                      has ? std::optional(resource.version()) : std::nullopt);
    }
  }

  Scope scope_now(const Resource& resource) const {
    if (!node_of_) return Scope();
    if (std::string_view(resource.type_url()) == kSecretType) return state_.secret_uses.of(resource.name());
    return scope_of(resource);
  }

  // Secrets are of another type, so that what follows leaves `user` where it is.
  void note_uses(const TypeResources::Entry& user) {
    std::set<std::string> touched;
    state_.secret_uses.put(user.resource, user.scope ? *user.scope : Scope(), touched);
    for (const std::string& secret : touched) look_for_users(secret);
  }

  // Other nodes may need the Secret now.
  void look_for_users(const std::string& name) {
    TypeResources& secrets = state_.types[kSecretType];
    const TypeResources::Entry* const known = secrets.find(name);
    if (known == nullptr) return;
    const Resource secret = known->resource;
    const std::optional<TypeResources::Entry> before = secrets.put(secret, scope_now(secret));
    const TypeResources::Entry& now = *secrets.find(name);
    const std::optional<std::string_view> version(secret.version());
    for (const auto& stream : streams_) {
      const bool had = stream->sees(*before), has = stream->sees(now);
      if (had != has)
        stream->changed(kSecretType, name, had ? version : std::nullopt, has ? version : std::nullopt);
    }
  }

  void remove(const std::string& type, const std::string& name, std::set<std::string>& moved) {
    const std::optional<TypeResources::Entry> gone = state_.types[type].remove(name);
    if (!gone) return;
    for (const auto& stream : streams_) {
      if (stream->sees(*gone)) stream->changed(type, name, gone->resource.version(), std::nullopt);
    }
    if (!node_of_) return;
    if (type == kPodType) state_.namespaces.remove(name, moved);
    std::set<std::string> touched;
    state_.secret_uses.remove(type, name, touched);
    for (const std::string& secret : touched) look_for_users(secret);
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

  const NodeOf node_of_;
  const MayBeGateway may_be_gateway_;
  mutable absl::Mutex mutex_;
  AdsState state_;
  MemoryReturn memory_;
  bool down_ = false;
  std::list<std::unique_ptr<AdsStream>> streams_;
  std::list<std::unique_ptr<Refusal>> refusals_;
};

}  // namespace

std::unique_ptr<AdsService> AdsService::create(NodeOf node_of, MayBeGateway may_be_gateway) {
  return std::make_unique<AdsServiceOverGrpc>(std::move(node_of), std::move(may_be_gateway));
}

}  // namespace weft::control_plane
