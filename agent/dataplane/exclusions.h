// Rows of m_excl_port and m_excl_cidr of one workload. Used by enrolment; keeps no state, what the maps hold
// is the truth.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "agent/dataplane/dataplane.h"
#include "bpf/abi/constants.h"
#include "bpf/user/map.h"

namespace weft::agent {

class Exclusions {
 public:
  Exclusions(int port_fd, int cidr_fd) : ports_(port_fd, "m_excl_port"), cidrs_(cidr_fd, "m_excl_cidr") {}

  // Adds the plan's rows; the WEFT_NETNS_* flags that make the kernel look at them.
  absl::StatusOr<uint32_t> add(const NamespacePlan& plan) const;
  // Removes rows of this workload that the plan does not want (all of them with an empty plan).
  void prune(uint32_t workload_id, const NamespacePlan& plan) const;

  // Rows of the plan that are missing and rows of its workload that it does not want, one sentence each.
  std::vector<std::string> differences(const NamespacePlan& plan) const;

  size_t port_count() const { return ports_.keys(WEFT_MAX_EXCLUSIONS).size(); }
  size_t cidr_count() const { return cidrs_.keys(WEFT_MAX_EXCLUSIONS).size(); }

 private:
  bpf::Map<weft_excl_port_key, uint32_t> ports_;
  bpf::Map<weft_excl_cidr_key, uint32_t> cidrs_;
};

}  // namespace weft::agent
