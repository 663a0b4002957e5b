// See enforcement.h. Called by the reconciler.
#include "agent/policy/enforcement.h"

#include <algorithm>
#include <set>

#include "agent/policy/l4_policy.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "bpf/abi/constants.h"

namespace weft::agent {
namespace {

// A pod that no resource describes has its name and nothing more.
istio::workload::Workload workload_of(const MeshModel& model, const Pod& pod) {
  if (const MeshWorkload* known = model.workload(pod.uid)) return whole(*known);
  istio::workload::Workload out;
  out.set_uid(pod.uid);
  out.set_name(pod.name);
  out.set_namespace_(pod.ns);
  return out;
}

std::vector<IpAddress> addresses_of(const istio::workload::Workload& workload) {
  std::vector<IpAddress> out;
  for (const std::string& packed : workload.addresses()) {
    if (const auto ip = IpAddress::from_packed(packed)) out.push_back(*ip);
  }
  return out;
}

std::vector<LocalIdentity> local_identities(const MeshModel& model, const IdRegistry& ids,
                                            const PodTable& pods) {
  std::vector<LocalIdentity> out;
  for (const auto& [key, pod] : pods.pods()) {
    if (pod.state != Pod::State::kCaptured) continue;
    out.push_back({.workload_id = ids.find(Subject::Kind::kWorkload, pod.uid),
                   .identity = identity_of(workload_of(model, pod))});
  }
  return out;
}

void append(std::string* out, const void* data, size_t size) {
  out->append(static_cast<const char*>(data), size);
}

std::string fingerprint(const InboundPolicy& inbound) {
  // Rules count also where all is denied: with them changes who keeps a connection that was let in before.
  std::string out = str_cat(inbound.deny_all ? "deny all," : "", inbound.inspect ? "inspected" : "");
  if (!inbound.rules) return out;
  const PolicyTable& table = *inbound.rules;
  append(&out, &table.fixed, sizeof(table.fixed));
  for (const PolicyTable::Cidr& cidr : table.cidrs) {
    append(&out, cidr.ip.bytes.data(), cidr.ip.bytes.size());
    append(&out, &cidr.prefix_length, sizeof(cidr.prefix_length));
    append(&out, &cidr.rules, sizeof(cidr.rules));
  }
  for (const auto* rows : {&table.ports, &table.workloads}) {
    out.push_back('|');
    for (const auto& [key, rules] : *rows) {
      append(&out, &key, sizeof(key));
      append(&out, &rules, sizeof(rules));
    }
  }
  return out;
}

// What its requests say decides about its plain connections, or somebody wants to know what a policy would
// make of them.
bool ask_requests(const SelectedPolicies& selected) {
  return std::ranges::any_of(selected.policies, [](const istio::security::Authorization* policy) {
    return policy->dry_run() || asks_about_requests(*policy);
  });
}

// What the policies of one pod make of its namespace.
struct PodPolicy {
  SelectedPolicies selected;
  bool any = false;           // in force
  bool missing = false;       // one that it names is not here, and it does not declare that it fails open
  bool reads_tokens = false;  // some rules say which tokens its requests may carry
  InboundPolicy inbound;
  absl::Status problem;  // why everything is denied
};

// The proxy sees the plain connections of such a pod.
bool wants_inspection(const MeshModel& model, const istio::workload::Workload& workload,
                      const SelectedPolicies& selected, const PodTable& pods) {
  return pods.proxy_judges() && (any_selects(model.token_rules(), workload) || ask_requests(selected));
}

PodPolicy plan_policy(const MeshModel& model, std::span<const LocalIdentity> local, const PodTable& pods,
                      const Pod& pod) {
  const istio::workload::Workload workload = workload_of(model, pod);
  PodPolicy out{.selected = select_policies(workload, model.authorizations())};
  out.missing = !out.selected.missing.empty() && pod.fail_mode != control_plane::LocalPod::FailMode::kOpen;
  out.any = out.missing ||
            std::ranges::any_of(out.selected.policies, [](const auto* policy) { return !policy->dry_run(); });
  out.reads_tokens = any_selects(model.token_rules(), workload);
  out.inbound.inspect = wants_inspection(model, workload, out.selected, pods);
  if (!out.any) return out;
  const RequestRules requests = out.inbound.inspect ? RequestRules::kLeftOpen : RequestRules::kStrict;
  absl::StatusOr<PolicyTable> table =
      compile_policies(out.selected.policies, addresses_of(workload), local, requests);
  out.problem = table.status();
  out.inbound.deny_all = !table.ok();
  if (table.ok()) out.inbound.rules = *std::move(table);
  // As in the proxy, which judges nothing by half of the policies (PolicySet).
  if (out.missing) {
    out.inbound.deny_all = true;
    out.problem.Update(absl::UnavailableError(
        str_cat("policy ", out.selected.missing.front(),
                " has not come from the control plane: new connections are refused until it does")));
  }
  return out;
}

}  // namespace

absl::Status Enforcement::enforce_pod(const MeshModel& model, std::span<const LocalIdentity> local,
                                      const Pod& pod, PodTable& pods) {
  const PodPolicy planned = plan_policy(model, local, pods, pod);
  const SelectedPolicies& selected = planned.selected;
  const InboundPolicy& inbound = planned.inbound;
  for (const std::string& name : selected.missing)
    log::warn("policy_missing", {{"pod", pod.key()}, {"policy", name}});
  // Without a proxy nobody looks at tokens, and headers that it would write are the client's.
  pods.set_has_policy(pod.uid, planned.any || planned.reads_tokens);
  const std::string print = fingerprint(inbound);
  const auto before = written_.find(pod.netns_cookie);
  if (before != written_.end() && before->second == print) return planned.problem;
  const absl::Status written = dataplane_.set_policy(pod.netns_cookie, inbound);
  // What could not be written is tried again by the next change; until then the kernel denies.
  if (written.ok())
    written_[pod.netns_cookie] = print;
  else
    written_.erase(pod.netns_cookie);
  // Connections that were let in are not ended for a policy of which nobody knows what it says: they are
  // judged again when it comes.
  const bool waits = planned.missing && inbound.rules.has_value();
  const bool closed_all = (inbound.deny_all && !waits) || !written.ok();
  if (planned.any || closed_all) {
    const bool speaks_hbone = pod.tunnels || pod.native_tunnel;
    const auto forbidden = [&](const InboundConnection& connection) {
      // Tunnels are judged by the proxy, by certificates, or by the application that takes them itself.
      if (speaks_hbone && connection.local.port == WEFT_PORT_HBONE) return false;
      if (closed_all) return true;
      PolicyConnection asked{.source = connection.remote.ip, .identity = {}, .destination = connection.local};
      for (const LocalIdentity& one : local) {
        if (one.workload_id != 0 && one.workload_id == connection.source_workload)
          asked.identity = one.identity;
      }
      return !evaluate(selected.policies, asked).allowed();
    };
    ASSIGN_OR_RETURN(const uint64_t closed,
                     dataplane_.close_connections(pod.netns_cookie, pod.captured_path, forbidden));
    log::info("policy_enforced",
              {{"pod", pod.key()}, {"policies", selected.policies.size()}, {"closed", closed}});
  }
  return written.ok() ? planned.problem : written;
}

void Enforcement::plan_inspection(const MeshModel& model, PodTable& pods) {
  std::vector<std::pair<std::string, bool>> found;
  for (const auto& [key, pod] : pods.pods()) {
    if (pod.state != Pod::State::kCaptured) continue;
    const istio::workload::Workload workload = workload_of(model, pod);
    const SelectedPolicies selected = select_policies(workload, model.authorizations());
    found.emplace_back(pod.uid, wants_inspection(model, workload, selected, pods));
  }
  for (const auto& [uid, inspected] : found) pods.set_inspected(uid, inspected);
}

std::vector<PlannedNamespace> planned_namespaces(const MeshModel& model, const IdRegistry& ids,
                                                 const PodTable& pods) {
  const std::vector<LocalIdentity> local = local_identities(model, ids, pods);
  std::vector<PlannedNamespace> out;
  for (const auto& [key, pod] : pods.pods()) {
    if (pod.state != Pod::State::kCaptured) continue;
    PlannedNamespace planned{.name = key, .netns_cookie = pod.netns_cookie, .plan = pods.plan_of(pod)};
    planned.plan.netns_path = pod.captured_path;
    planned.policy = plan_policy(model, local, pods, pod).inbound;
    out.push_back(std::move(planned));
  }
  return out;
}

std::string Enforcement::enforce(const MeshModel& model, const IdRegistry& ids, PodTable& pods) {
  const std::vector<LocalIdentity> local = local_identities(model, ids, pods);
  std::string first;
  std::set<uint64_t> captured;
  for (const auto& [key, pod] : pods.pods()) {
    if (pod.state != Pod::State::kCaptured) continue;
    captured.insert(pod.netns_cookie);
    const absl::Status status = enforce_pod(model, local, pod, pods);
    if (status.ok()) continue;
    log::error("policy_not_enforced", {{"pod", key}, {"error", status.message()}});
    if (first.empty()) first = str_cat(key, ": ", std::string(status.message()));
  }
  std::erase_if(written_, [&captured](const auto& row) { return !captured.contains(row.first); });
  return first;
}

}  // namespace weft::agent
