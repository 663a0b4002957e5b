// See pod_use.h.
#include "agent/admin/pod_use.h"

namespace weft::agent {

std::map<uint64_t, admin::v1::PodUse> pod_uses(const proxy::v1::Metrics& metrics) {
  std::map<uint64_t, admin::v1::PodUse> out;
  for (const proxy::v1::PodUse& pod : metrics.pods()) {
    admin::v1::PodUse& use = out[pod.netns_cookie()];
    use.set_connections(pod.connections());
    use.set_requests(pod.requests());
    use.set_waiting(pod.waiting());
    use.set_buffered_bytes(pod.buffered_bytes());
    for (const auto& [reason, count] : pod.refused()) {
      if (count > 0) (*use.mutable_refused())[reason] = count;
    }
  }
  return out;
}

void add_refusals(const std::map<uint64_t, admin::v1::PodUse>& uses, const PodTable& pods,
                  admin::v1::NodeStatus* status) {
  for (const auto& [key, pod] : pods.pods()) {
    const auto use = uses.find(pod.netns_cookie);
    if (pod.state != Pod::State::kCaptured || use == uses.end() || use->second.refused().empty()) continue;
    *status->add_pods_refused() = use->second;
    status->mutable_pods_refused()->rbegin()->set_workload(key);
  }
}

void add_uses(const std::map<uint64_t, admin::v1::PodUse>& uses, admin::v1::WorkloadList* list) {
  for (admin::v1::WorkloadRow& row : *list->mutable_workloads()) {
    const auto use = uses.find(row.netns_cookie());
    if (row.netns_cookie() == 0 || use == uses.end()) continue;
    *row.mutable_use() = use->second;
    row.mutable_use()->set_workload(row.namespace_() + "/" + row.name());
  }
}

}  // namespace weft::agent
