// See explain_policy.h. Each rule is asked alone, as a policy of its own; who decides says the whole set.
#include "userspace-proxy/config/explain_policy.h"

#include <algorithm>
#include <iterator>

#include "base/status_macros.h"
#include "base/strings.h"
#include "proto/weft/mesh/v1/mesh.pb.h"
#include "userspace-proxy/http/path.h"
#include "userspace-proxy/policy/request_policy.h"
#include "userspace-proxy/policy/token_rule.h"

namespace weft::proxy {
namespace {

namespace pb = istio::security;

// The question, read as the proxy would.
struct Asking {
  const PolicyQuestion& question;
  const RequestHead* head = nullptr;  // null: it is no HTTP
  VerifiedTokenPtr token = nullptr;   // null: none that counts
};

ConnectionPolicy::Verdict judge(const std::vector<AuthorizationPtr>& policies, const Asking& asking,
                                std::shared_ptr<const PolicySet>* set,
                                std::vector<ConnectionPolicy::Asked>* asked = nullptr) {
  *set = std::make_shared<const PolicySet>(policies);
  const PolicyQuestion& question = asking.question;
  const ConnectionPolicy policy(*set, question.connection);
  if (asking.head == nullptr) return policy.judge_bytes(question.server_name);
  PathReadings readings;
  const JudgedRequest request =
      judged(*asking.head, question.connection.source, &readings, asking.token.get());
  if (asked != nullptr && policy.may_ask()) policy.asked(request, asked);
  return policy.judge(request);
}

bool rule_matches(const pb::Authorization& policy, const pb::Rule& rule, const Asking& asking) {
  auto alone = std::make_shared<pb::Authorization>();
  alone->set_action(policy.action());
  *alone->add_rules() = rule;
  std::shared_ptr<const PolicySet> set;
  const bool allowed = judge({alone}, asking, &set).allowed;
  return policy.action() == pb::DENY ? !allowed : allowed;
}

ExplainedPolicyRule row_of(const pb::Authorization& policy) {
  ExplainedPolicyRule out{.policy = str_cat(policy.namespace_(), "/", policy.name()), .file = {}};
  const bool audit = agent::is_audit(policy);
  out.action = audit                         ? "AUDIT"
               : agent::is_custom(policy)    ? "CUSTOM"
               : policy.action() == pb::DENY ? "DENY"
                                             : "ALLOW";
  out.dry_run = policy.dry_run() && !audit;
  for (const auto& extension : policy.extensions()) {
    mesh::v1::Origin origin;
    if (extension.name() != agent::kOriginExtension || !extension.config().UnpackTo(&origin)) continue;
    out.file = origin.file();
    out.line = origin.line();
  }
  return out;
}

// As the proxy would read it. The question outlives the head.
absl::Status make_head(const PolicyQuestion& question, RequestHead* head) {
  if (question.method.empty()) return absl::OkStatus();
  head->method = question.method;
  head->authority = question.authority;
  head->target = question.target;
  if (!is_target_text(question.target) || !split_origin_form(question.target, head) ||
      !normalise_target(PathNormalisation::kBase, &head->rewritten, head)) {
    return absl::InvalidArgumentError(
        str_cat("\"", question.target, "\" is no path that the proxy takes; expected one like \"/items\""));
  }
  for (const auto& [name, value] : question.headers) {
    if (equals_ignore_case(name, "host"))
      head->authority = value;
    else
      head->headers.push_back({name, value});
  }
  return absl::OkStatus();
}

// What the first rule that takes such a token makes of it; null: there is none, or nobody takes it.
absl::StatusOr<VerifiedTokenPtr> token_of(const PolicyQuestion& question, std::vector<std::string>* notes) {
  if (question.claims.empty()) return nullptr;
  for (mesh::v1::TokenRule rule : question.token_rules) {
    rule.clear_jwks();
    ASSIGN_OR_RETURN(const TokenRulePtr compiled, TokenRule::compile(rule));
    ASSIGN_OR_RETURN(VerifiedTokenPtr token, compiled->as_if_proved(question.claims));
    if (token != nullptr) return token;
  }
  notes->emplace_back(question.token_rules.empty()
                          ? "no RequestAuthentication is for the server: nobody looks at the token, and its "
                            "claims count for nothing"
                          : "no RequestAuthentication of the server takes a token of that issuer and "
                            "audience: the request is answered with 401 where a rule reads its place");
  return nullptr;
}

// In the order in which they are asked.
int turn_of(const pb::Authorization& policy) {
  if (policy.dry_run()) return 3;
  if (agent::is_custom(policy)) return 0;
  return policy.action() == pb::DENY ? 1 : 2;
}

// Of CUSTOM a request is left to be allowed by others; what is no HTTP is denied.
void decide(std::string_view policy, bool request, PolicyExplanation* out) {
  bool any_allow = false;
  for (size_t i = 0; i < out->rules.size(); ++i) {
    const ExplainedPolicyRule& rule = out->rules[i];
    const std::string_view action = rule.action;
    if (rule.dry_run || action == "AUDIT" || (request && action == "CUSTOM")) continue;
    any_allow = any_allow || action == "ALLOW";
    if (rule.matched && (action == "ALLOW") == out->allowed && !out->rule) out->rule = i;
  }
  if (out->allowed) {
    out->verdict = out->rule   ? str_cat("allowed by ", out->rules[*out->rule].policy)
                   : any_allow ? "allowed"
                               : "allowed: no policy asks for more";
  } else {
    out->verdict = out->rule ? str_cat("denied by ", out->rules[*out->rule].policy)
                   : policy == kUnknownPolicy
                       ? "denied: it names a policy that is not there"
                       : str_cat("denied: no rule allows it, and ", std::string(policy), " allows others");
  }
}

// What is decided only when the request comes.
void add_asked(const std::vector<ConnectionPolicy::Asked>& asked, PolicyExplanation* out) {
  if (!out->allowed) return;
  for (size_t i = 0; i < out->rules.size() && !asked.empty() && !out->asks; ++i) {
    const ExplainedPolicyRule& rule = out->rules[i];
    if (rule.matched && std::string_view(rule.action) == "CUSTOM" && rule.policy == asked.front().policy)
      out->asks = i;
  }
  for (const ConnectionPolicy::Asked& one : asked)
    str_append(&out->verdict, ", if provider ", one.provider, " allows it (", one.policy, ")");
}

}  // namespace

absl::StatusOr<PolicyExplanation> explain_policy(const agent::SelectedPolicies& selected,
                                                 const PolicyQuestion& question) {
  RequestHead request;
  RETURN_IF_ERROR(make_head(question, &request));
  Asking asking{.question = question, .head = question.method.empty() ? nullptr : &request};
  PolicyExplanation out;
  ASSIGN_OR_RETURN(asking.token, token_of(question, &out.notes));
  std::vector<const pb::Authorization*> ordered;
  for (const int turn : {0, 1, 2, 3}) {
    std::copy_if(selected.policies.begin(), selected.policies.end(), std::back_inserter(ordered),
                 [turn](const pb::Authorization* policy) { return turn_of(*policy) == turn; });
  }
  std::vector<AuthorizationPtr> all;
  for (const pb::Authorization* policy : ordered) {
    all.push_back(std::make_shared<const pb::Authorization>(*policy));
    ExplainedPolicyRule row = row_of(*policy);
    if (policy->rules().empty()) out.rules.push_back(row);
    for (const pb::Rule& rule : policy->rules()) {
      ++row.index;
      row.matched = rule_matches(*policy, rule, asking);
      out.rules.push_back(row);
    }
  }
  if (!selected.missing.empty()) all.push_back(nullptr);
  std::shared_ptr<const PolicySet> set;  // holds what the verdict names
  std::vector<ConnectionPolicy::Asked> asked;
  const ConnectionPolicy::Verdict said = judge(all, asking, &set, &asked);
  out.allowed = said.allowed;
  decide(said.policy, asking.head != nullptr, &out);
  add_asked(asked, &out);
  return out;
}

}  // namespace weft::proxy
