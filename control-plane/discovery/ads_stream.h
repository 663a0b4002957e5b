// One client's stream of delta ADS over gRPC's callback API: reads its requests, and sends what its
// subscriptions lack, one response per type at a time. Order within a stream: additions Authorization,
// Address, Secret, DestinationPolicy, RouteSet, Pod, then removals in reverse, so that nothing points at
// something its client does not have yet, or not any more: a workload that names an unknown policy would be
// open. The service owns it, and its lock guards it. A client that is a node sees what is for it (scope.h).
#pragma once

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "control-plane/discovery/ads_service.h"
#include "control-plane/discovery/memory_return.h"
#include "control-plane/discovery/scope.h"
#include "control-plane/discovery/secret_uses.h"
#include "control-plane/discovery/subscription.h"
#include "control-plane/discovery/type_resources.h"

namespace weft::control_plane {

// What all clients are served.
struct AdsState {
  uint64_t generation = 0;
  std::map<std::string, TypeResources> types;
  TypeResources none;
  NodeNamespaces namespaces;
  SecretUses secret_uses;

  // Empty for a type that there is not.
  TypeResources& of(const std::string& type);
};

// Who was proven to call.
struct Caller {
  std::string node;
  bool may_be_gateway = false;
};

class AdsStream final : public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  // The service destroys the stream in `on_done`, which comes without the lock. `caller` nullopt: one who
  // sees everything.
  AdsStream(absl::Mutex& mutex, AdsState& state, MemoryReturn& memory, const std::optional<Caller>& caller,
            std::function<void(AdsStream*)> on_done);

  void start() { StartRead(&read_); }

  // All with the lock held.
  // Sends the next response if one is due and the stream is free.
  void pump();
  // A resource is another one now; see Subscription::changed().
  void changed(const std::string& type, std::string_view name, std::optional<std::string_view> before,
               std::optional<std::string_view> after);
  bool sees(const TypeResources::Entry& entry) const { return !view_ || entry.is_for(*view_); }
  bool is_of(const std::string& node) const { return view_ && view_->node == node; }
  // Pods of these nodes are in other namespaces now.
  void namespaces_changed(const std::set<std::string>& nodes);
  // The last operation: nothing is started after it.
  void end(const grpc::Status& status);
  ClientState client_state() const;

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

 private:
  using Request = envoy::service::discovery::v3::DeltaDiscoveryRequest;
  // So many resources sent to one client are worth a walk through the heap.
  static constexpr size_t kManyResources = 10'000;

  grpc::Status accept(const Request& request);
  // The stream's first request.
  grpc::Status introduce(const envoy::service::discovery::v3::Node& node);
  // Whether it may say so many names, beside those that the stream keeps.
  grpc::Status bound(const Request& request) const;
  // Takes another view, and counts as changed what it shows or hides.
  void look(NodeView view);
  SeenResources seen(const std::string& type) const { return {state_.of(type), view_ ? &*view_ : nullptr}; }
  bool has_pending(const std::string& type, const Subscription& subscription) const;
  bool find_next();
  bool alone(const std::string& type) const;
  void fill(const std::string& type, Subscription& subscription, Subscription::Part part);
  void note_memory();

  absl::Mutex& mutex_;
  AdsState& state_;
  MemoryReturn& memory_;
  const std::function<void(AdsStream*)> on_done_;
  std::optional<NodeView> view_;
  const bool may_be_gateway_;
  std::string node_id_;
  std::map<std::string, Subscription> subscriptions_;
  grpc::ByteBuffer read_, written_;
  ResponseBytes response_;
  uint64_t next_nonce_ = 0;
  // Resources sent since memory was last given back.
  size_t sent_ = 0;
  // Until the client has acknowledged everything.
  std::vector<std::shared_ptr<const void>> kept_;
  bool introduced_ = false;
  bool writing_ = false;
  bool finished_ = false;
  grpc::Status final_status_;
};

}  // namespace weft::control_plane
