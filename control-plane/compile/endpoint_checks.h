// Services that select nothing, and EndpointSlices of Services that are not there, each looked at when it or
// its endpoints change. See compiler.h for the checks of everything else. One thread.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "control-plane/compile/stale_units.h"
#include "control-plane/compile/workload_facts.h"
#include "control-plane/control_plane.h"

namespace weft::control_plane {

class EndpointChecks {
 public:
  // Of a step, after facts.settle().
  void apply(const StaleUnits& stale, const Objects& objects, const WorkloadFacts& facts);

  std::vector<Finding> findings() const;
  // Counts steps that altered the findings.
  uint64_t version() const { return version_; }

 private:
  using Found = std::map<StaleUnits::Name, Finding>;
  void check(const Service* service, const StaleUnits::Name& name, const WorkloadFacts& facts);
  void check(const EndpointSlice* slice, const StaleUnits::Name& name, const Objects& objects);
  void set(Found& found, const StaleUnits::Name& name, const Finding* finding);

  Found services_, slices_;
  uint64_t version_ = 0;
};

}  // namespace weft::control_plane
