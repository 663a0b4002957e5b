// One entry of AuthorizationPolicy rules[] as a rule of the wire; terms that nothing reads yet as a list to
// report. parse_authorization_policy.cc is the only caller.
#pragma once

#include <string>
#include <vector>

#include "control-plane/resource/field_reader.h"
#include "proto/istio/security.pb.h"

namespace weft::control_plane {

// A term about filters of Envoy, which nothing checks.
struct UncheckedTerm {
  FieldReader where;
  std::string name;  // "experimental.envoy.filters.a[b]"
  // Without such terms nothing is left of the entry it stands in, or of another part of the rule that
  // must hold too: what remains of the rule, or of that entry, matches nothing.
  bool nothing_left = false;
};

struct PolicyRule {
  istio::security::Rule rule;
  std::vector<UncheckedTerm> unchecked;
};

// `ns` is the policy's namespace, where service accounts without one live. What is wrong goes to the reader's
// findings. As istiod does, `to` comes before `from` and every `when` is a clause of its own, and an entry
// that held only unchecked terms stays as a match without terms, which matches nothing. Terms about requests
// are an extension of the match they belong to (proto/weft/mesh/v1/http_terms.proto).
PolicyRule parse_policy_rule(const FieldReader& rule, const std::string& ns);

}  // namespace weft::control_plane
