// KernelDataplane::drift(): namespaces, policies and programs here, services and destinations by their
// tables.
#include "agent/dataplane/drift.h"

#include <set>

#include "agent/dataplane/capture_route.h"
#include "agent/dataplane/kernel_dataplane.h"
#include "agent/dataplane/netns.h"
#include "base/status_macros.h"

namespace weft::agent {
namespace {

// Those of the namespace itself; one that cannot be entered is a difference, too.
std::vector<std::string> route_differences(const std::string& netns_path) {
  std::vector<std::string> out;
  const absl::StatusOr<UniqueFd> netns = open_netns(netns_path);
  if (!netns.ok()) return {str_cat(netns.status().message())};
  const absl::Status status = run_in_netns(netns->get(), [&out]() -> absl::Status {
    ASSIGN_OR_RETURN(out, inspect_capture_route());
    return absl::OkStatus();
  });
  if (!status.ok()) out.push_back(str_cat(status.message()));
  return out;
}

}  // namespace

std::vector<std::string> KernelDataplane::differences(const PlannedNamespace& wanted,
                                                      const weft_netns& row) const {
  std::vector<std::string> out;
  const NamespacePlan& plan = wanted.plan;
  const uint32_t flags = WEFT_NETNS_CAPTURE | (plan.fail_closed ? WEFT_NETNS_FAIL_CLOSED : 0) |
                         (plan.shortcut ? WEFT_NETNS_SHORTCUT : 0) |
                         (plan.exclude_ports.empty() ? 0 : WEFT_NETNS_PORT_EXCL) |
                         (plan.exclude_cidrs.empty() ? 0 : WEFT_NETNS_CIDR_EXCL);
  if (row.workload_id != plan.workload_id) out.emplace_back("its row of m_netns names another workload");
  if (row.flags != flags) out.emplace_back("its row of m_netns has other flags");
  if (!slot_is_live(row.slot)) out.emplace_back("no listener is in its slot of m_listener");
  for (const auto& part : {exclusions_.differences(plan), inbound_.differences(row.slot, plan),
                           route_differences(plan.netns_path)})
    out.insert(out.end(), part.begin(), part.end());
  return out;
}

DriftRow KernelDataplane::namespace_drift(const std::vector<PlannedNamespace>& wanted) const {
  DriftRow out{.scope = "namespaces", .desired = wanted.size(), .agent = wanted.size()};
  std::set<uint64_t> asked;
  for (const PlannedNamespace& one : wanted) {
    asked.insert(one.netns_cookie);
    const std::optional<weft_netns> row = netns_.find(one.netns_cookie);
    if (!row) {
      out.note(one.name, 0, "its row of m_netns is missing: nothing of it is captured");
      continue;
    }
    for (std::string& difference : differences(one, *row)) out.note(one.name, 0, std::move(difference));
  }
  for (const uint64_t cookie : netns_.keys(WEFT_MAX_NAMESPACES)) {
    ++out.kernel;
    if (!asked.contains(cookie))
      out.note(str_cat("netns cookie ", cookie), 0, "captured, but nobody asks for it");
  }
  return out;
}

DriftRow KernelDataplane::policy_drift(const std::vector<PlannedNamespace>& wanted) const {
  DriftRow out{.scope = "policies"};
  for (const PlannedNamespace& one : wanted) {
    const bool has_policy = one.policy.rules.has_value() || one.policy.deny_all;
    out.desired += has_policy ? 1 : 0;
    out.agent += has_policy ? 1 : 0;
    const std::optional<weft_netns> row = netns_.find(one.netns_cookie);
    if (!row) continue;  // said above
    std::string difference = inbound_.policy_difference(row->slot, one.policy);
    out.kernel += has_policy && difference.empty() ? 1 : 0;
    if (!difference.empty()) out.note(one.name, 0, std::move(difference));
  }
  return out;
}

DriftRow KernelDataplane::program_drift() const {
  DriftRow out{.scope = "programs"};
  for (ProgramStatus& program : programs()) {
    ++out.desired;
    ++out.agent;
    out.kernel += program.attached ? 1 : 0;
    if (!program.problem.empty())
      out.note(str_cat(program.name, " at ", program.target), 0, std::move(program.problem));
  }
  return out;
}

std::vector<DriftRow> KernelDataplane::drift(const PlannedKernel& wanted) const {
  return {namespace_drift(wanted.namespaces), policy_drift(wanted.namespaces),
          services_.drift(wanted.entries.services), destinations_.drift(wanted.entries.destinations),
          program_drift()};
}

}  // namespace weft::agent
