// See ads_stream.h. Called by gRPC's threads and, for changes, by the service.
#include "control-plane/discovery/ads_stream.h"

#include <malloc.h>

#include <algorithm>
#include <array>

#include "base/strings.h"

namespace weft::control_plane {
namespace {

using Part = Subscription::Part;

// A client has no use for more types; each costs memory here.
constexpr size_t kMaxTypes = 16;
// So many resources sent to one client are worth a walk through the heap.
constexpr int kManyResources = 10000;

struct Step {
  const char* type;
  Part part;
};
constexpr std::array<Step, 10> kSteps = {{{kAuthenticationType, Part::kUpserts},
                                          {kAuthorizationType, Part::kUpserts},
                                          {kAddressType, Part::kUpserts},
                                          {kDestinationPolicyType, Part::kUpserts},
                                          {kRouteSetType, Part::kUpserts},
                                          {kRouteSetType, Part::kRemovals},
                                          {kDestinationPolicyType, Part::kRemovals},
                                          {kAddressType, Part::kRemovals},
                                          {kAuthorizationType, Part::kRemovals},
                                          {kAuthenticationType, Part::kRemovals}}};

bool is_ordered(const std::string& type) {
  return std::any_of(kSteps.begin(), kSteps.end(), [&type](const Step& step) { return type == step.type; });
}

}  // namespace

const TypeResources& AdsState::of(const std::string& type) const {
  static const TypeResources kNone;
  const auto found = types.find(type);
  return found != types.end() ? found->second : kNone;
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
  StartWrite(response_.get());
}

void AdsStream::changed(const std::string& type, std::string_view name,
                        std::optional<std::string_view> before, std::optional<std::string_view> after) {
  const auto known = subscriptions_.find(type);
  if (known != subscriptions_.end()) known->second.changed(name, before, after);
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

void AdsStream::OnReadDone(bool ok) {
  const absl::MutexLock lock(&mutex_);
  if (!ok) return end(grpc::Status::OK);
  if (finished_) return;
  if (!accept(request_)) {
    return end(grpc::Status(grpc::StatusCode::INVALID_ARGUMENT,
                            "a request needs a type_url, and a stream carries at most 16 types"));
  }
  return_memory();
  pump();
  StartRead(&request_);
}

void AdsStream::OnWriteDone(bool ok) {
  const absl::MutexLock lock(&mutex_);
  writing_ = false;
  sent_ += response_->resources_size();
  // Not Clear(), which keeps the memory: the first response of a stream carries the whole mesh.
  response_ = std::make_unique<Response>();
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

bool AdsStream::accept(const Request& request) {
  if (!request.node().id().empty()) node_id_ = request.node().id();
  if (request.type_url().empty()) return false;
  const TypeResources& resources = state_.of(request.type_url());
  const auto known = subscriptions_.find(request.type_url());
  if (known != subscriptions_.end()) {
    known->second.handle(request, resources);
    return true;
  }
  if (subscriptions_.size() >= kMaxTypes) return false;
  subscriptions_[request.type_url()].begin(request, resources);
  return true;
}

// When a client has acknowledged a whole mesh, what gRPC and the response held of it is free again, scattered
// over the heap between what stays: glibc gives such pages back only when it is told to.
void AdsStream::return_memory() {
  if (sent_ < kManyResources || writing_) return;
  for (const auto& [type, subscription] : subscriptions_) {
    if (subscription.in_flight()) return;
  }
  sent_ = 0;
  ::malloc_trim(0);
}

bool AdsStream::has_pending(const std::string& type, const Subscription& subscription) const {
  const TypeResources& resources = state_.of(type);
  return subscription.pending(Part::kUpserts, resources) || subscription.pending(Part::kRemovals, resources);
}

// Fills response_ with the first step that has something; a step whose type is in flight holds back those
// behind it.
bool AdsStream::find_next() {
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

// No other type waits: then the order between types does not matter.
bool AdsStream::alone(const std::string& type) const {
  return std::none_of(subscriptions_.begin(), subscriptions_.end(), [&](const auto& entry) {
    return entry.first != type && (entry.second.in_flight() || has_pending(entry.first, entry.second));
  });
}

void AdsStream::fill(const std::string& type, Subscription& subscription, Part part) {
  if (!subscription.in_flight()) {
    response_->set_type_url(type);
    response_->set_system_version_info(str_cat(state_.generation));
    ++next_nonce_;
  }
  subscription.fill(part, state_.of(type), str_cat(next_nonce_), state_.generation, *response_);
}

}  // namespace weft::control_plane
