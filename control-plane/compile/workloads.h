// Pods, Services and EndpointSlices to workloads with their service memberships. Pure; the compiler calls it,
// and the checks between objects read the result.
#pragma once

#include <map>
#include <string>

#include "control-plane/resource/objects.h"
#include "proto/istio/workload.pb.h"

namespace weft::control_plane {

struct CompiledWorkload {
  istio::workload::Workload workload;  // without extensions
  std::map<std::string, std::string> labels;
  bool declared_by_services = false;  // as in weft.mesh.v1.EgressPolicy
};

// By uid.
using Workloads = std::map<std::string, CompiledWorkload>;
using Objects = std::map<ObjectKey, const Object*>;

Workloads compile_workloads(const Objects& objects);

// An endpoint that is no pod, of no service and without a name yet; `packed` is its address, `owner` the
// object that describes it.
CompiledWorkload external_workload(const std::string& uid, const std::string& ns, const std::string& owner,
                                   const std::string& packed, const ServiceEntry::Endpoint& endpoint);

// "Kubernetes//WorkloadEntry/<ns>/<name>".
std::string entry_uid(const ObjectMeta& meta);
// "Kubernetes//Pod/<ns>/<name>".
std::string pod_uid(const ObjectMeta& meta);
// "<ns>/<hostname>".
std::string service_key(const ObjectMeta& meta);
// The Service that is called `host`; null: none is, or it is a name for something outside.
const Service* find_service(const Objects& objects, const std::string& host);
// Succeeded or Failed: it will never serve or call again.
bool is_terminal(const Pod& pod);
// Every pair of `selector` is in `labels`; an empty selector selects nothing.
bool selects(const std::map<std::string, std::string>& selector,
             const std::map<std::string, std::string>& labels);

// Calls visit(const T&) for every object of that type, in key order.
template <typename T, typename Visit>
void for_each(const Objects& objects, Visit visit) {
  for (const auto& [key, object] : objects) {
    if (const T* typed = std::get_if<T>(object)) visit(*typed);
  }
}

}  // namespace weft::control_plane
