// All objects in force to mesh resources, local pods and the findings that need more than one object. Pure:
// the same objects give the same bytes.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "control-plane/compile/remembered.h"
#include "control-plane/compile/request_authentication.h"
#include "control-plane/compile/service_entries.h"
#include "control-plane/compile/workloads.h"
#include "control-plane/control_plane.h"

namespace weft::control_plane {

class WorkloadFacts;

struct Compiled {
  // {type_url, name}, of the resource itself: a row's resource is never put another in its place.
  using Name = std::pair<std::string_view, std::string_view>;
  std::map<Name, Resource> resources;
  // Cheapest in the order of names. Nothing, where the name is there.
  void add(Resource resource) {
    const Name name(resource.type_url(), resource.name());
    resources.emplace_hint(resources.end(), name, std::move(resource));
  }
  // Of compile().
  std::vector<LocalPod> local_pods;
  std::vector<std::string> mesh_namespaces;
  std::vector<Finding> findings;
  // For the next compilation.
  StepResults steps;
  // For kAllNodes; null otherwise.
  std::shared_ptr<const GatewayApiStatus> gateway_api;
};

// `resolved`: addresses of the names that hosts_to_resolve() names, as far as they are known. `before`: an
// earlier result for objects of the same store, or nullptr; what stands in it for an object that has not
// changed is taken as it is, which changes nothing but the time. `keys`: what keys_to_fetch() names, as far
// as it is known; nullptr: nobody fetches any, and nothing is said about those that are not there.
Compiled compile(const Objects& objects, const std::string& node_name, const ResolvedHosts& resolved = {},
                 const Compiled* before = nullptr, const FetchedKeys* keys = nullptr);

// The same without what a WorkloadStage has, whose facts these are; workload_stage.h, and pipeline.h, where
// the two are one.
Compiled compile_rest(const Objects& objects, const std::string& node_name, const WorkloadFacts& facts,
                      const Compiled* before, const FetchedKeys* keys);

// What turns `before` into `after`.
void diff(const Compiled& before, const Compiled& after, Change& out);

// Unknown hosts and subsets, empty subsets, hosts with two owners, policies without pods. In cross_check.cc;
// see endpoint_checks.h too.
std::vector<Finding> cross_check(const Objects& objects, const WorkloadFacts& facts, const KindStamps& stamps,
                                 Remembered& remembered);

}  // namespace weft::control_plane
