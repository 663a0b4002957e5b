// See ads_stream.h. Called by gRPC's threads and, for changes, by the service.
#include "control-plane/discovery/ads_stream.h"

#include <algorithm>
#include <array>
#include <utility>

#include "absl/time/clock.h"
#include "base/strings.h"

namespace weft::control_plane {
namespace {

using Part = Subscription::Part;

// A client has no use for more types; each costs memory here.
constexpr size_t kMaxTypes = 16;
// Of a name that a client says.
constexpr size_t kMaxShownName = 253;

struct Step {
  const char* type;
  Part part;
};
constexpr std::array<Step, 16> kSteps = {{{kMeshConfigType, Part::kUpserts},
                                          {kAuthenticationType, Part::kUpserts},
                                          {kAuthorizationType, Part::kUpserts},
                                          {kAddressType, Part::kUpserts},
                                          {kSecretType, Part::kUpserts},
                                          {kDestinationPolicyType, Part::kUpserts},
                                          {kRouteSetType, Part::kUpserts},
                                          {kRouteSetType, Part::kRemovals},
                                          {kPodType, Part::kUpserts},
                                          {kPodType, Part::kRemovals},
                                          {kDestinationPolicyType, Part::kRemovals},
                                          {kSecretType, Part::kRemovals},
                                          {kAddressType, Part::kRemovals},
                                          {kAuthorizationType, Part::kRemovals},
                                          {kAuthenticationType, Part::kRemovals},
                                          {kMeshConfigType, Part::kRemovals}}};

bool is_ordered(const std::string& type) {
  return std::any_of(kSteps.begin(), kSteps.end(), [&type](const Step& step) { return type == step.type; });
}

grpc::Status unreadable() {
  return grpc::Status(grpc::StatusCode::INVALID_ARGUMENT, "a request is no DeltaDiscoveryRequest");
}

}  // namespace

TypeResources& AdsState::of(const std::string& type) {
  const auto found = types.find(type);
  return found != types.end() ? found->second : none;
}

AdsStream::AdsStream(absl::Mutex& mutex, AdsState& state, MemoryReturn& memory,
                     const std::optional<Caller>& caller, std::function<void(AdsStream*)> on_done)
    : mutex_(mutex),
      state_(state),
      memory_(memory),
      on_done_(std::move(on_done)),
      may_be_gateway_(caller && caller->may_be_gateway) {
  if (caller) view_ = state_.namespaces.view_of(caller->node, false);
}

void AdsStream::pump() {
  if (finished_ || writing_) return;
  if (!find_next()) {
    for (auto& [type, subscription] : subscriptions_) {
      if (!subscription.in_flight() && !has_pending(type, subscription))
        subscription.settled(state_.generation);
    }
    return;
  }
  writing_ = true;
  sent_ += response_.resources();
  written_ = response_.take();
  for (std::shared_ptr<const void>& kept : response_.take_kept()) kept_.push_back(std::move(kept));
  StartWrite(&written_);
}

void AdsStream::changed(const std::string& type, std::string_view name,
                        std::optional<std::string_view> before, std::optional<std::string_view> after) {
  const auto known = subscriptions_.find(type);
  if (known != subscriptions_.end()) known->second.changed(name, before, after);
}

void AdsStream::namespaces_changed(const std::set<std::string>& nodes) {
  if (!view_ || !nodes.contains(view_->node)) return;
  look(state_.namespaces.view_of(view_->node, view_->gateway));
}

void AdsStream::look(NodeView view) {
  const NodeView before = std::exchange(*view_, std::move(view));
  for (auto& [type, subscription] : subscriptions_) {
    const TypeResources& resources = state_.of(type);
    resources.for_each_between(before, *view_, [&](const Resource& resource) {
      const std::optional<std::string_view> version(resource.version());
      const bool now_sees = sees(*resources.find(resource.name()));
      subscription.changed(resource.name(), now_sees ? std::nullopt : version,
                           now_sees ? version : std::nullopt);
    });
  }
}

void AdsStream::end(const grpc::Status& status) {
  if (finished_) return;
  finished_ = true;
  final_status_ = status;
  // A message under way goes out first. A client that does not read holds it up until its connection ends, or
  // until the deadline of grpc::Server::Shutdown, which cancels what is left.
  if (!writing_) Finish(status);
}

ClientState AdsStream::client_state() const {
  ClientState out{.node_id = node_id_, .node = view_ ? view_->node : ""};
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

void AdsStream::OnReadDone(bool ok) {
  // Without the lock: a client that comes back names all that it holds.
  Request request;
  const grpc::Status parsed =
      ok ? grpc::SerializationTraits<Request>::Deserialize(&read_, &request) : grpc::Status::OK;
  {
    const absl::MutexLock lock(&mutex_);
    if (!ok) return end(grpc::Status::OK);
    if (finished_) return;
    if (!parsed.ok()) return end(unreadable());
    if (const grpc::Status accepted = accept(request); !accepted.ok()) return end(accepted);
    note_memory();
    pump();
    StartRead(&read_);
  }
  // The stream itself may be at its end by now.
  memory_.run(absl::Now());
}

void AdsStream::OnWriteDone(bool ok) {
  const absl::MutexLock lock(&mutex_);
  writing_ = false;
  // The first response of a stream carries the whole mesh.
  written_.Clear();
  if (finished_) {
    Finish(final_status_);
  } else if (ok) {
    pump();
  } else {
    end(grpc::Status(grpc::StatusCode::UNAVAILABLE, "the client is gone"));
  }
}

void AdsStream::OnCancel() {
  const absl::MutexLock lock(&mutex_);
  end(grpc::Status::CANCELLED);
}

void AdsStream::OnDone() {
  // A copy, because the call destroys this object.
  const auto on_done = on_done_;
  on_done(this);
}

// A client that is proven to be a node says which one it means to be, and whether it serves gateways.
grpc::Status AdsStream::introduce(const envoy::service::discovery::v3::Node& node) {
  node_id_ = node.id().substr(0, kMaxShownName);
  if (!view_) return grpc::Status::OK;
  const auto text = [&node](const char* key) {
    const auto found = node.metadata().fields().find(key);
    return found != node.metadata().fields().end() ? found->second.string_value() : std::string();
  };
  const std::string name = text(kNodeNameKey);
  if (!name.empty() && name != view_->node) {
    return grpc::Status(
        grpc::StatusCode::PERMISSION_DENIED,
        str_cat("its credentials are of node ", view_->node, ", and it says that it is ",
                name.substr(0, kMaxShownName), "; next: start the agent with --node-name ", view_->node));
  }
  const bool gateway = text(kGatewayKey) == "true";
  if (gateway && !may_be_gateway_) {
    return grpc::Status(grpc::StatusCode::PERMISSION_DENIED,
                        str_cat("node ", view_->node,
                                " says that it serves Gateways, and may not have their keys; next: start "
                                "weft-control with --gateway-node ",
                                view_->node, ", or the agent without --gateway-address"));
  }
  if (gateway != view_->gateway) look(state_.namespaces.view_of(view_->node, gateway));
  return grpc::Status::OK;
}

grpc::Status AdsStream::bound(const Request& request) const {
  if (!view_) return grpc::Status::OK;
  SaidNames said;
  for (const auto& [type, subscription] : subscriptions_) {
    said.names += subscription.said().names;
    said.bytes += subscription.said().bytes;
  }
  size_t longest = std::max(request.type_url().size(), request.response_nonce().size());
  const auto add = [&](size_t name, size_t version) {
    ++said.names;
    said.bytes += name + version;
    longest = std::max({longest, name, version});
  };
  for (const std::string& name : request.resource_names_subscribe()) add(name.size(), 0);
  for (const auto& [name, version] : request.initial_resource_versions()) add(name.size(), version.size());
  if (said.names <= kMaxNames && said.bytes <= kMaxNamesBytes && longest <= kMaxNameBytes)
    return grpc::Status::OK;
  return grpc::Status(
      grpc::StatusCode::RESOURCE_EXHAUSTED,
      str_cat("a stream may name ", kMaxNames, " resources, in ", kMaxNamesBytes, " bytes, none longer than ",
              kMaxNameBytes, ": this one names ", said.names, " in ", said.bytes, ", the longest has ",
              longest, "; next: start the agent anew, which then holds nothing"));
}

grpc::Status AdsStream::accept(const Request& request) {
  if (!std::exchange(introduced_, true)) {
    if (const grpc::Status introduced = introduce(request.node()); !introduced.ok()) return introduced;
  }
  if (const grpc::Status bounded = bound(request); !bounded.ok()) return bounded;
  const std::string& type = request.type_url();
  const auto known = subscriptions_.find(type);
  if (type.empty() || (known == subscriptions_.end() && subscriptions_.size() >= kMaxTypes)) {
    return grpc::Status(grpc::StatusCode::INVALID_ARGUMENT,
                        "a request needs a type_url, and a stream carries at most 16 types");
  }
  if (known != subscriptions_.end())
    known->second.handle(request, seen(type));
  else
    subscriptions_[type].begin(request, seen(type));
  return grpc::Status::OK;
}

// When a client has acknowledged a whole mesh, what gRPC and the response held of it is free again, scattered
// over the heap between what stays.
void AdsStream::note_memory() {
  if (writing_ || (kept_.empty() && sent_ < kManyResources)) return;
  for (const auto& [type, subscription] : subscriptions_) {
    if (subscription.in_flight()) return;
  }
  kept_.clear();
  sent_ = 0;
  memory_.note();
}

bool AdsStream::has_pending(const std::string& type, const Subscription& subscription) const {
  if (subscription.quiet()) return false;
  const SeenResources resources = seen(type);
  return subscription.pending(Part::kUpserts, resources) || subscription.pending(Part::kRemovals, resources);
}

// Fills response_ with the first step that has something; a step whose type is in flight holds back those
// behind it.
bool AdsStream::find_next() {
  for (const Step& step : kSteps) {
    const auto found = subscriptions_.find(step.type);
    if (found == subscriptions_.end() || found->second.quiet()) continue;
    if (!found->second.pending(step.part, seen(step.type))) continue;
    if (found->second.in_flight()) return false;
    fill(found->first, found->second, step.part);
    // Additions and removals of these are neighbours in the order: one response carries both.
    if (found->first == kRouteSetType || found->first == kPodType || alone(found->first)) {
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

// No other type waits: then the order between types does not matter.
bool AdsStream::alone(const std::string& type) const {
  return std::none_of(subscriptions_.begin(), subscriptions_.end(), [&](const auto& entry) {
    return entry.first != type && (entry.second.in_flight() || has_pending(entry.first, entry.second));
  });
}

void AdsStream::fill(const std::string& type, Subscription& subscription, Part part) {
  if (!subscription.in_flight()) {
    ++next_nonce_;
    response_.begin(type, state_.generation, str_cat(next_nonce_));
  }
  subscription.fill(part, seen(type), str_cat(next_nonce_), state_.generation, response_);
}

}  // namespace weft::control_plane
