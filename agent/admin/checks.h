// The agent's half of `weft check` (ids A-*, B-*, C-*) as one pure function from gathered facts to results,
// and the gathering of those facts. Called by the admin service and the status row; never changes anything.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "agent/dataplane/dataplane.h"
#include "agent/feed/proxy_status.h"
#include "agent/mesh/reconciler.h"
#include "proto/weft/admin/v1/admin.pb.h"

namespace weft::agent {

struct NodeFacts {
  ProxyState proxy;
  uint64_t generation = 0;
  // The newest generation that a proxy acknowledged over delta ADS.
  uint64_t acked_generation = 0;
  bool applied = false;
  uint32_t findings_error = 0;
  std::string first_finding;
  std::vector<ProgramStatus> programs;
  // Namespaces that are captured now.
  std::vector<NamedNetns> namespaces;
  std::vector<Rival> rivals;
  // Why the kernel programs do not know the proxy; empty: they do.
  std::string pid_problem;
  std::vector<MapStatus> maps;
  std::vector<uint64_t> stats;
  std::string kernel_problem;
  // "8080: reason", ports of gateways that are not open.
  std::vector<std::string> closed_ports;
  // "shop/web: reason", pods that ask for capture and are not captured.
  std::vector<std::string> not_captured;
  uint32_t eligible = 0;
  uint32_t captured = 0;
  PodStarts pod_starts;
  // Why the runtime does not use the CNI plugin; nullopt: it is not ours to install.
  std::optional<std::string> cni_problem;
  // "shop/web", captured but not acknowledged by the proxy.
  std::vector<std::string> not_served;
  // Why the configuration may be old, each ending with " (next: …)".
  std::vector<std::string> source_problems;
  // Resources that the proxy refused: "name: reason".
  std::vector<std::string> proxy_rejected;
};

admin::v1::CheckReport run_checks(const NodeFacts& facts);

// Name and fill in percent of the fullest map.
std::pair<std::string, uint32_t> fullest_map(const std::vector<MapStatus>& maps);

// The part of the facts that the reconciler knows; `served` are the cookies that the proxy acknowledged.
void add_pod_facts(const Reconciler::View& view, const std::set<uint64_t>& served, NodeFacts* facts);

}  // namespace weft::agent
