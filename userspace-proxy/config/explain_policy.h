// Why a request or a connection is let in to a workload or not, rule by rule, by the evaluator of what comes
// in (policy/request_policy.h). The agent asks for `weft authz`. Pure; for operators, and so without regard
// to cost.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "agent/policy/l4_policy.h"
#include "proto/weft/mesh/v1/request_authentication.pb.h"

namespace weft::proxy {

struct PolicyQuestion {
  agent::PolicyConnection connection;
  // Of an HTTP request; empty: what comes is no HTTP.
  std::string method;
  std::string target;  // "/items?page=2"
  std::string authority;
  std::vector<std::pair<std::string, std::string>> headers;  // "host" takes the authority's place
  // Of a connection that is no HTTP: what its ClientHello asks for; empty: it is no TLS, or names no server.
  std::string server_name = {};
  // Of a request: what its token says, a JSON object that is taken for proved; empty: it has none.
  std::string claims = {};
  // Those that say which tokens the server's requests may carry; keys do not matter.
  std::vector<mesh::v1::TokenRule> token_rules = {};
};

struct ExplainedPolicyRule {
  std::string policy;  // "<namespace>/<name>"
  const char* action = "ALLOW";
  bool dry_run = false;
  int index = -1;  // in the policy's rules; -1: it has none
  bool matched = false;
  std::string file;  // of the manifest, and the line it begins at; empty and 0 without
  uint32_t line = 0;
};

struct PolicyExplanation {
  bool allowed = true;         // by what is decided without asking a provider
  std::string verdict;         // in words
  std::optional<size_t> rule;  // of `rules`, the one that decided
  // Allowed, if a provider allows it too: of `rules`, the one of CUSTOM that asks first.
  std::optional<size_t> asks;
  std::vector<ExplainedPolicyRule> rules;
  std::vector<std::string> notes = {};
};

// The policies passed validate_policy(); a missing one denies everything that the proxy judges.
// InvalidArgument: the target is none that the proxy takes, or the claims are none.
absl::StatusOr<PolicyExplanation> explain_policy(const agent::SelectedPolicies& selected,
                                                 const PolicyQuestion& question);

}  // namespace weft::proxy
