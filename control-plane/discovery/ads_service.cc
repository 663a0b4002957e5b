// AdsService over gRPC's callback API: a stream is an object, not a thread. One mutex guards everything; what
// it protects is small and never blocks. Order within a stream: additions Authorization, Address,
// DestinationPolicy, RouteSet, then removals in reverse, so that nothing points at something its client does
// not have yet, or not any more: a workload that names an unknown policy would be open.
#include "control-plane/discovery/ads_service.h"

#include <grpcpp/support/server_callback.h>

#include <algorithm>
#include <array>
#include <list>
#include <string_view>

#include "absl/synchronization/mutex.h"
#include "base/strings.h"
#include "control-plane/discovery/subscription.h"

namespace weft::control_plane {
namespace {

namespace xds = envoy::service::discovery::v3;
using Part = Subscription::Part;

// A client has no use for more types; each costs memory here.
constexpr size_t kMaxTypes = 16;

struct Step {
  const char* type;
  Part part;
};
constexpr std::array<Step, 8> kSteps = {{{kAuthorizationType, Part::kUpserts},
                                         {kAddressType, Part::kUpserts},
                                         {kDestinationPolicyType, Part::kUpserts},
                                         {kRouteSetType, Part::kUpserts},
                                         {kRouteSetType, Part::kRemovals},
                                         {kDestinationPolicyType, Part::kRemovals},
                                         {kAddressType, Part::kRemovals},
                                         {kAuthorizationType, Part::kRemovals}}};

struct State {
  uint64_t generation = 0;
  std::map<std::string, TypeResources> types;

  const TypeResources& of(const std::string& type) const {
    static const TypeResources kNone;
    const auto found = types.find(type);
    return found != types.end() ? found->second : kNone;
  }
};

// One client. The service owns it and destroys it in OnDone; its lock is the service's.
class Stream final : public grpc::ServerBidiReactor<xds::DeltaDiscoveryRequest, xds::DeltaDiscoveryResponse> {
 public:
  Stream(absl::Mutex& mutex, const State& state, std::function<void(Stream*)> on_done)
      : mutex_(mutex), state_(state), on_done_(std::move(on_done)) {}

  void start() { StartRead(&request_); }

  // With the lock held: sends the next response if one is due and the stream is free.
  void pump() {
    if (finished_ || writing_) return;
    if (!find_next()) {
      for (auto& [type, subscription] : subscriptions_) {
        if (!subscription.in_flight() && !has_pending(type, subscription))
          subscription.settled(state_.generation);
      }
      return;
    }
    writing_ = true;
    StartWrite(&response_);
  }

  // With the lock held. The last operation: nothing is started after it.
  void end(const grpc::Status& status) {
    if (finished_) return;
    finished_ = true;
    final_status_ = status;
    // A message under way goes out first. A client that does not read holds it up until its connection ends,
    // or until the deadline of grpc::Server::Shutdown, which cancels what is left.
    if (!writing_) Finish(status);
  }

  ClientState client_state() const {
    ClientState out{.node_id = node_id_};
    bool first = true;
    for (const auto& [type, subscription] : subscriptions_) {
      const uint64_t acked = subscription.acked_generation();
      out.acked_generation = first ? acked : std::min(out.acked_generation, acked);
      first = false;
      for (const auto& [name, reason] : subscription.rejected())
        out.rejected[str_cat(type, " ", name)] = reason;
    }
    return out;
  }

  void OnReadDone(bool ok) override {
    const absl::MutexLock lock(&mutex_);
    if (!ok) return end(grpc::Status::OK);
    if (finished_) return;
    if (!accept(request_)) {
      return end(grpc::Status(grpc::StatusCode::INVALID_ARGUMENT,
                              "a request needs a type_url, and a stream carries at most 16 types"));
    }
    pump();
    StartRead(&request_);
  }

  void OnWriteDone(bool ok) override {
    const absl::MutexLock lock(&mutex_);
    writing_ = false;
    if (finished_) {
      Finish(final_status_);
    } else if (ok) {
      pump();
    } else {
      end(grpc::Status(grpc::StatusCode::UNAVAILABLE, "the client is gone"));
    }
  }

  void OnCancel() override {
    const absl::MutexLock lock(&mutex_);
    end(grpc::Status::CANCELLED);
  }

  void OnDone() override {
    // A copy, because the call destroys this object.
    const auto on_done = on_done_;
    on_done(this);
  }

 private:
  bool accept(const xds::DeltaDiscoveryRequest& request) {
    if (!request.node().id().empty()) node_id_ = request.node().id();
    if (request.type_url().empty()) return false;
    const auto known = subscriptions_.find(request.type_url());
    if (known != subscriptions_.end()) {
      known->second.handle(request);
      return true;
    }
    if (subscriptions_.size() >= kMaxTypes) return false;
    subscriptions_[request.type_url()].begin(request);
    return true;
  }

  bool has_pending(const std::string& type, const Subscription& subscription) const {
    const TypeResources& resources = state_.of(type);
    return subscription.pending(Part::kUpserts, resources) ||
           subscription.pending(Part::kRemovals, resources);
  }

  // Fills response_ with the first step that has something; a step whose type is in flight holds back those
  // behind it.
  bool find_next() {
    for (const Step& step : kSteps) {
      const auto found = subscriptions_.find(step.type);
      if (found == subscriptions_.end() || !found->second.pending(step.part, state_.of(step.type))) continue;
      if (found->second.in_flight()) return false;
      fill(found->first, found->second, step.part);
      // Additions and removals of routes are neighbours in the order: one response carries both.
      if (std::string_view(step.type) == kRouteSetType || alone(found->first)) {
        fill(found->first, found->second, step.part == Part::kUpserts ? Part::kRemovals : Part::kUpserts);
      }
      return true;
    }
    for (auto& [type, subscription] : subscriptions_) {
      if (is_ordered(type) || subscription.in_flight() || !has_pending(type, subscription)) continue;
      fill(type, subscription, Part::kUpserts);
      fill(type, subscription, Part::kRemovals);
      return true;
    }
    return false;
  }

  static bool is_ordered(const std::string& type) {
    return std::any_of(kSteps.begin(), kSteps.end(), [&type](const Step& step) { return type == step.type; });
  }

  // No other type waits: then the order between types does not matter.
  bool alone(const std::string& type) const {
    return std::none_of(subscriptions_.begin(), subscriptions_.end(), [&](const auto& entry) {
      return entry.first != type && (entry.second.in_flight() || has_pending(entry.first, entry.second));
    });
  }

  void fill(const std::string& type, Subscription& subscription, Part part) {
    if (!subscription.in_flight()) {
      response_.Clear();
      response_.set_type_url(type);
      response_.set_system_version_info(str_cat(state_.generation));
      ++next_nonce_;
    }
    subscription.fill(part, state_.of(type), str_cat(next_nonce_), state_.generation, response_);
  }

  absl::Mutex& mutex_;
  const State& state_;
  const std::function<void(Stream*)> on_done_;
  std::string node_id_;
  std::map<std::string, Subscription> subscriptions_;
  xds::DeltaDiscoveryRequest request_;
  xds::DeltaDiscoveryResponse response_;
  uint64_t next_nonce_ = 0;
  bool writing_ = false;
  bool finished_ = false;
  grpc::Status final_status_;
};

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
    for (const Resource& resource : change.upserted)
      state_.types[resource.type_url][resource.name] = resource;
    for (const auto& [type, name] : change.removed) state_.types[type].erase(name);
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
        std::make_unique<Stream>(mutex_, state_, [this](Stream* done) { forget(streams_, done); }));
    streams_.back()->start();
    return streams_.back().get();
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
  State state_;
  bool down_ = false;
  std::list<std::unique_ptr<Stream>> streams_;
  std::list<std::unique_ptr<Refusal>> refusals_;
};

}  // namespace

std::unique_ptr<AdsService> AdsService::create() { return std::make_unique<AdsServiceOverGrpc>(); }

}  // namespace weft::control_plane
