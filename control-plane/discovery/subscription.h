// What one client of delta ADS knows and wants of one resource type. Pure bookkeeping: ads_service.cc feeds
// it requests and changes and asks it what to send; it does no I/O and needs the caller's lock. It keeps
// where the client differs from the resources, not what the client has, so it is small when there is nothing
// to send, and a change costs what it changes. Protocol: xDS "Incremental xDS" (delta).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "control-plane/control_plane.h"
#include "control-plane/discovery/response_bytes.h"
#include "control-plane/discovery/type_resources.h"
#include "proto/xds/discovery.pb.h"

namespace weft::control_plane {

// Of what a client refuses so much is kept: it is shown and logged.
inline constexpr size_t kMaxRefusals = 100;
inline constexpr size_t kMaxRefusalBytes = 512;  // of a name, and of a reason

// Names that a client has said, and the bytes of them and of their versions.
struct SaidNames {
  size_t names = 0;
  size_t bytes = 0;
};

class Subscription {
 public:
  enum class Part { kUpserts, kRemovals };

  // The first request of the type: names held from an earlier stream, wildcard when nothing is subscribed by
  // name.
  void begin(const envoy::service::discovery::v3::DeltaDiscoveryRequest& request,
             const SeenResources& resources);
  // A later request: acknowledgement, refusal and changes of interest, in any combination.
  void handle(const envoy::service::discovery::v3::DeltaDiscoveryRequest& request,
              const SeenResources& resources);
  // A resource of this type is made, altered or removed; its version before and after, absent when it was not
  // there or is not any more.
  void changed(std::string_view name, std::optional<std::string_view> before,
               std::optional<std::string_view> after);

  bool in_flight() const { return !nonce_.empty(); }
  // Nothing can be pending: the client has everything, and has asked for nothing more.
  bool quiet() const { return !first_due_ && asked_.empty() && behind_.empty(); }
  // True when that part has something to send.
  bool pending(Part part, const SeenResources& resources) const;
  // Fills the response and remembers it as sent and in flight under `nonce`. Names come in their order, but
  // for the first of a client that holds nothing of a type of many.
  void fill(Part part, const SeenResources& resources, const std::string& nonce, uint64_t generation,
            ResponseBytes& response);
  // Nothing is in flight and nothing pending: the client has everything up to `generation`.
  void settled(uint64_t generation) { acked_generation_ = generation; }

  uint64_t acked_generation() const { return acked_generation_; }
  // That this keeps: what it subscribes to by name, and what it said at the beginning that it holds.
  SaidNames said() const { return {names_.size() + initial_.names, names_bytes_ + initial_.bytes}; }
  // Name to reason, of the last answer: at most kMaxRefusals of them, one line each.
  const std::map<std::string, std::string>& rejected() const { return rejected_; }

 private:
  using Request = envoy::service::discovery::v3::DeltaDiscoveryRequest;
  // The version that the client has; absent: none.
  using Held = std::optional<std::string>;

  bool wants(const std::string& name) const { return wildcard_ || names_.contains(name); }
  void hold(const Request& request, const SeenResources& resources);
  void change_interest(const Request& request, const SeenResources& resources);
  void want_all(const SeenResources& resources);
  void want(const std::string& name);
  std::vector<const Resource*> due(const SeenResources& resources);
  void fill_upserts(const SeenResources& resources, ResponseBytes& response);
  void fill_removals(const SeenResources& resources, ResponseBytes& response);

  bool wildcard_ = false;
  std::set<std::string> names_;
  size_t names_bytes_ = 0;
  SaidNames initial_;
  // Subscribed by name since the last response: answered even when unchanged or unknown.
  std::set<std::string> asked_;
  // Names that the client may have otherwise than they are, with what it has. A name that is not here is as
  // the client has it; of a fresh client, one that it does not have.
  std::map<std::string, Held, std::less<>> behind_;
  // It held nothing when it came, and has not been answered yet.
  bool fresh_ = true;
  // The first response goes out even when empty: clients wait for it before they serve.
  bool first_due_ = true;
  std::string nonce_;
  uint64_t sent_generation_ = 0;
  uint64_t acked_generation_ = 0;
  std::map<std::string, std::string> rejected_;
};

}  // namespace weft::control_plane
