// See node_workloads.h.
#include "control-plane/serve/node_workloads.h"

#include <string_view>

#include "proto/istio/workload.pb.h"

namespace weft::control_plane {
namespace {

// Of pods alone the API server says on which node they are.
constexpr std::string_view kOfPods = "Kubernetes//Pod/";

std::string or_default(const std::string& text, const char* otherwise) {
  return text.empty() ? otherwise : text;
}

}  // namespace

void NodeWorkloads::leave(const std::string& uid) {
  const auto known = places_.find(uid);
  if (known == places_.end()) return;
  const auto count = pods_.find(known->second);
  if (count != pods_.end() && --count->second == 0) pods_.erase(count);
  places_.erase(known);
}

void NodeWorkloads::apply(const Change& change) {
  const absl::MutexLock lock(&mutex_);
  for (const Resource& resource : change.upserted) {
    if (std::string_view(resource.type_url()) != kAddressType || !resource.name().starts_with(kOfPods))
      continue;
    const std::string uid(resource.name());
    leave(uid);
    istio::workload::Address address;
    if (!resource.decode(&address) || !address.has_workload() || address.workload().node().empty()) continue;
    const istio::workload::Workload& pod = address.workload();
    const Place place{pod.node(),
                      SpiffeId{.trust_domain = or_default(pod.trust_domain(), kDefaultTrustDomain),
                               .ns = pod.namespace_(),
                               .account = or_default(pod.service_account(), "default")}};
    places_.emplace(uid, place);
    ++pods_[place];
  }
  for (const auto& [type, name] : change.removed) {
    if (type == kAddressType) leave(name);
  }
}

bool NodeWorkloads::runs_on(const std::string& node, const SpiffeId& id) const {
  const absl::MutexLock lock(&mutex_);
  return pods_.contains(Place(node, id));
}

}  // namespace weft::control_plane
