// What one client of delta ADS knows and wants of one resource type. Pure bookkeeping: ads_service.cc feeds
// it requests and asks it what to send; it does no I/O and needs the caller's lock. Protocol: xDS
// "Incremental xDS" (delta).
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "control-plane/control_plane.h"
#include "proto/xds/discovery.pb.h"

namespace weft::control_plane {

// Name to resource, of one type.
using TypeResources = std::map<std::string, Resource>;

class Subscription {
 public:
  enum class Part { kUpserts, kRemovals };

  // The first request of the type: names held from an earlier stream, wildcard when nothing is subscribed by
  // name.
  void begin(const envoy::service::discovery::v3::DeltaDiscoveryRequest& request);
  // A later request: acknowledgement, refusal and changes of interest, in any combination.
  void handle(const envoy::service::discovery::v3::DeltaDiscoveryRequest& request);

  bool in_flight() const { return !nonce_.empty(); }
  // True when that part has something to send.
  bool pending(Part part, const TypeResources& resources) const;
  // Fills the response and remembers it as sent and in flight under `nonce`.
  void fill(Part part, const TypeResources& resources, const std::string& nonce, uint64_t generation,
            envoy::service::discovery::v3::DeltaDiscoveryResponse& response);
  // Nothing is in flight and nothing pending: the client has everything up to `generation`.
  void settled(uint64_t generation) { acked_generation_ = generation; }

  uint64_t acked_generation() const { return acked_generation_; }
  // Name to reason, of the last answer.
  const std::map<std::string, std::string>& rejected() const { return rejected_; }

 private:
  bool wants(const std::string& name) const { return wildcard_ || names_.contains(name); }
  void change_interest(const envoy::service::discovery::v3::DeltaDiscoveryRequest& request);

  bool wildcard_ = false;
  std::set<std::string> names_;
  // Subscribed by name since the last response: answered even when unchanged or unknown.
  std::set<std::string> asked_;
  // Name to version, as the client has it.
  std::map<std::string, std::string> sent_;
  // The first response goes out even when empty: clients wait for it before they serve.
  bool first_due_ = true;
  std::string nonce_;
  uint64_t sent_generation_ = 0;
  uint64_t acked_generation_ = 0;
  std::map<std::string, std::string> rejected_;
};

}  // namespace weft::control_plane
