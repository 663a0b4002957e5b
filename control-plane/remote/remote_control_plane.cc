// See remote_control_plane.h: DeltaClient → Change.
#include "control-plane/remote/remote_control_plane.h"

#include <map>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "control-plane/discovery/ads_service.h"
#include "control-plane/discovery/node_findings.h"
#include "control-plane/discovery/node_pods.h"
#include "control-plane/remote/certificate_call.h"
#include "xds/delta_client.h"

namespace weft::control_plane {
namespace {

namespace pb = envoy::service::discovery::v3;
using SteadyClock = std::chrono::steady_clock;

constexpr absl::Duration kAskGiveUp = absl::Milliseconds(100);
constexpr double kJitter = 0.5;

constexpr const char* kTypes[] = {
    kAuthorizationType, kAuthenticationType, kAddressType,    kDestinationPolicyType,
    kRouteSetType,      kSecretType,         kPodType,        kMeshType,
    kMeshConfigType,    kFindingType,        kRevocationsType};

// The constant of that text: resources outlive the message that brought it. nullptr: of no type that is
// asked.
const char* type_named(const std::string& text) {
  for (const char* type : kTypes) {
    if (text == type) return type;
  }
  return nullptr;
}

class StreamedControlPlane final : public RemoteControlPlane, xds::Receiver {
 public:
  StreamedControlPlane(RemoteOptions options, Subscriber subscriber)
      : options_(std::move(options)), channel_(options_.access), subscriber_(std::move(subscriber)) {}

  absl::Status run() {
    xds::DeltaClient::Options client{.target = options_.access.target,
                                     .types = {std::begin(kTypes), std::end(kTypes)}};
    client.node.set_id(str_cat("weft~", options_.node_name));
    auto& metadata = *client.node.mutable_metadata()->mutable_fields();
    metadata[kNodeNameKey].set_string_value(options_.node_name);
    if (options_.gateway) metadata[kGatewayKey].set_string_value("true");
    client.connect = [this] { return channel_.connect(); };
    client.prepare = [this](grpc::ClientContext& context) { return channel_.prepare(context); };
    client.backoff_min = options_.backoff_min;
    client.backoff_max = options_.backoff_max;
    client.backoff_jitter = kJitter;
    client_ = xds::DeltaClient::start(std::move(client), *this);
    if (wait_for_first()) return absl::OkStatus();
    const RemoteReport now = report();
    const std::string why =
        now.problems.empty() ? "weft-control has not told everything in time" : now.problems.front();
    if (options_.give_up && options_.give_up()) return absl::CancelledError(str_cat("told to stop: ", why));
    return absl::DeadlineExceededError(why);
  }

  RemoteReport report() const override {
    const xds::DeltaClient::State state = client_->state();
    RemoteReport out{.connected = state.connected,
                     .problems = {},
                     .streams = state.streams,
                     .failures = state.failures,
                     .resources = state.resources,
                     .removals = state.removals,
                     .bytes = state.bytes};
    if (state.connected) return out;
    const auto seconds =
        std::chrono::duration_cast<std::chrono::seconds>(SteadyClock::now() - state.since).count();
    out.problems.push_back(
        str_cat("weft-control ", channel_.target(), ": ", state.error.empty() ? "no answer yet" : state.error,
                ", for ", seconds,
                " s; what it told last is in force (next: see that it runs and is reached: "
                "kubectl -n weft-system get pods)"));
    return out;
  }

  absl::StatusOr<std::string> revocations() const override {
    const absl::MutexLock lock(&mutex_);
    if (!revocations_) return absl::UnavailableError("weft-control has not told of revocation lists yet");
    return *revocations_;
  }

 private:
  bool wait_for_first() {
    const absl::Time end = absl::Now() + absl::FromChrono(options_.first_limit);
    const absl::MutexLock lock(&mutex_);
    while (!told_ && absl::Now() < end && (!options_.give_up || !options_.give_up()))
      mutex_.AwaitWithDeadline(absl::Condition(&told_), std::min(end, absl::Now() + kAskGiveUp));
    return told_;
  }

  std::map<std::string, std::string> held(const std::string& type) const override {
    const auto found = versions_.find(type);
    return found != versions_.end() ? found->second : std::map<std::string, std::string>();
  }

  absl::Status put(const std::string& type, const pb::Resource& resource) override {
    const char* const known = type_named(type);
    if (known == nullptr) return absl::InvalidArgumentError("nobody asked for that type");
    if (known == std::string_view(kPodType)) {
      ASSIGN_OR_RETURN(LocalPod pod, read_pod(resource.resource().value()));
      if (pod.node != options_.node_name)
        return absl::InvalidArgumentError(str_cat("it is of node ", pod.node));
      pods_[resource.name()] = std::move(pod);
      dirty_ = true;
    } else if (known == std::string_view(kMeshType)) {
      ASSIGN_OR_RETURN(mesh_namespaces_, read_mesh(resource.resource().value()));
      dirty_ = true;
    } else if (known == std::string_view(kFindingType)) {
      ASSIGN_OR_RETURN(findings_[resource.name()], read_finding(resource.resource().value()));
      dirty_ = true;
    } else if (known == std::string_view(kRevocationsType)) {
      ASSIGN_OR_RETURN(std::string lists, read_revocations(resource.resource().value()));
      const absl::MutexLock lock(&mutex_);
      revocations_ = std::move(lists);
    } else {
      const std::pair<std::string, std::string> key(type, resource.name());
      removed_.erase(key);
      upserted_.insert_or_assign(
          key, Resource(known, resource.name(), resource.version(), resource.resource().value()));
    }
    versions_[type][resource.name()] = resource.version();
    return absl::OkStatus();
  }

  void remove(const std::string& type, const std::string& name) override {
    versions_[type].erase(name);
    if (type == kPodType) {
      dirty_ = pods_.erase(name) > 0 || dirty_;
      return;
    }
    if (type == kFindingType) {
      dirty_ = findings_.erase(name) > 0 || dirty_;
      return;
    }
    // weft-control has always one, but where it could not read its lists since it started. What was revoked
    // stays so until it says otherwise.
    if (type == kMeshType || type == kRevocationsType) return;
    upserted_.erase({type, name});
    removed_.insert({type, name});
  }

  void settle(bool complete) override {
    // Of a mesh that is not whole yet nothing may be captured: its policies may be what is missing.
    if (!complete) return;
    if (generation_ > 0 && !dirty_ && upserted_.empty() && removed_.empty()) return;
    Change change{.generation = ++generation_};
    for (auto& [key, resource] : upserted_) change.upserted.push_back(std::move(resource));
    change.removed.assign(removed_.begin(), removed_.end());
    for (const auto& [uid, pod] : pods_) change.local_pods.push_back(pod);
    change.mesh_namespaces = mesh_namespaces_;
    for (const auto& [name, finding] : findings_) change.findings.push_back(finding);
    upserted_.clear();
    removed_.clear();
    dirty_ = false;
    subscriber_(change);
    const absl::MutexLock lock(&mutex_);
    told_ = true;
  }

  const RemoteOptions options_;
  const ControlChannel channel_;
  const Subscriber subscriber_;

  // Client thread only. What came since the last change, and what is held.
  std::map<std::pair<std::string, std::string>, Resource> upserted_;
  std::set<std::pair<std::string, std::string>> removed_;
  std::map<std::string, LocalPod> pods_;
  std::vector<std::string> mesh_namespaces_;
  std::map<std::string, Finding> findings_;
  std::map<std::string, std::map<std::string, std::string>> versions_;
  bool dirty_ = false;
  uint64_t generation_ = 0;

  mutable absl::Mutex mutex_;
  bool told_ ABSL_GUARDED_BY(mutex_) = false;
  std::optional<std::string> revocations_ ABSL_GUARDED_BY(mutex_);  // nullopt: never told
  // Last: its threads end while all that they use is there.
  std::unique_ptr<xds::DeltaClient> client_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<RemoteControlPlane>> start_remote(RemoteOptions options,
                                                                 ControlPlane::Subscriber subscriber) {
  auto out = std::make_unique<StreamedControlPlane>(std::move(options), std::move(subscriber));
  RETURN_IF_ERROR(out->run());
  return out;
}

absl::StatusOr<std::vector<std::string>> sign_remotely(ControlChannel& channel, const std::string& request,
                                                       const std::string& identity, absl::Duration lifetime) {
  return call_for_certificate(channel, str_cat("weft-control ", channel.target()), request, identity,
                              lifetime);
}

}  // namespace weft::control_plane
