// Which selector policies reach which workloads. Pure; the compiler asks it for every workload.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "control-plane/compile/workloads.h"

namespace weft::control_plane {

class PolicySelectors {
 public:
  // The objects outlive it.
  explicit PolicySelectors(const Objects& objects);

  // Adds to the workload, which has all its services, the names ("<namespace>/<name>", in order with those
  // that it has) of the policies that select it: those of its own namespace and of the root namespace, and
  // those for a Service that it is an endpoint of. Policies without a selector are found by their scope and
  // named nowhere.
  void add_to(CompiledWorkload& workload) const;

 private:
  void add(const std::string& ns, CompiledWorkload& workload) const;

  // By namespace: with a selector of labels.
  std::map<std::string, std::vector<const AuthorizationPolicy*>> by_ns_;
  // By service_key(): names of policies.
  std::map<std::string, std::vector<std::string>> by_service_;
};

// As in the resource of the Service `service` of the policy's namespace.
std::string target_key(const AuthorizationPolicy& policy, const std::string& service);

}  // namespace weft::control_plane
