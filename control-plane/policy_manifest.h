// The AuthorizationPolicies of one manifest as they would be compiled, without putting them in force: for
// `weft authz shadow`. Pure, any thread.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "control-plane/control_plane.h"
#include "proto/istio/security.pb.h"

namespace weft::control_plane {

struct WrittenPolicy {
  istio::security::Authorization policy;
  // As the compiler finds the workloads of a policy of scope WORKLOAD_SELECTOR: by labels, or as members of
  // Services ("<namespace>/<hostname>"). Neither: it is for gateways, and no workload has it.
  std::map<std::string, std::string> selector;
  std::vector<std::string> services;
  bool every_namespace = false;  // the selector is for
};

struct PolicyManifest {
  std::vector<WrittenPolicy> policies;
  std::vector<std::string> others;  // objects of other kinds, "VirtualService shop/cart"
  std::vector<Finding> findings;    // of the whole file; an object with an error is in no list
};

// `file`: what findings and the policies' origins call it.
PolicyManifest read_policies(const std::string& file, std::string_view text);

using ReadPolicies = std::function<PolicyManifest(const std::string& file, std::string_view text)>;

}  // namespace weft::control_plane
