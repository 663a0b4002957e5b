// Which workloads a RequestAuthentication is about, by the same rule as the proxy's: one that selects a pod
// makes the proxy read what comes in to it. Pure.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "proto/istio/workload.pb.h"
#include "proto/weft/mesh/v1/request_authentication.pb.h"

namespace weft::agent {

// Every RequestAuthentication with a rule by its resource name, "<namespace>/<name>". Of the rules there is
// what tells their tokens and claims apart, and no key: keys are the proxy's.
using TokenRules = std::map<std::string, mesh::v1::RequestAuthentication>;

// Of the pod, as its resource has them.
std::map<std::string, std::string> labels_of(const istio::workload::Workload& workload);

// Some of these says which tokens the requests to the workload may carry.
bool any_selects(const TokenRules& all, const istio::workload::Workload& workload);
// In the order in which the proxy asks them.
std::vector<mesh::v1::TokenRule> rules_for(const TokenRules& all, const istio::workload::Workload& workload);

// The same without what the agent does not hold.
mesh::v1::RequestAuthentication without_keys(const mesh::v1::RequestAuthentication& object);

}  // namespace weft::agent
