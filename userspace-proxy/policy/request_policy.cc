// See request_policy.h.
#include "userspace-proxy/policy/request_policy.h"

#include <algorithm>
#include <utility>

#include "base/status_macros.h"
#include "base/strings.h"

namespace weft::proxy {
namespace {

namespace pb = istio::security;

}  // namespace

absl::Status validate_request_terms(const pb::Authorization& policy) {
  for (int i = 0; i < policy.rules_size(); ++i) {
    for (const pb::Clause& clause : policy.rules(i).clauses()) {
      for (const pb::Match& match : clause.matches()) {
        const auto terms = HttpTerms::compile(match);
        if (!terms.ok()) return annotate(str_cat("rule ", i), terms.status());
      }
    }
  }
  return absl::OkStatus();
}

PolicySet::PolicySet(std::span<const AuthorizationPtr> policies) {
  for (const AuthorizationPtr& message : policies) {
    if (message == nullptr) {
      complete_ = false;
      continue;
    }
    const bool audit = agent::is_audit(*message);
    const bool custom = agent::is_custom(*message);
    // One of CUSTOM in dry run asks nobody, and so has nothing to say.
    if (custom && message->dry_run()) continue;
    has_audit_ = has_audit_ || audit;
    has_dry_run_ = has_dry_run_ || (message->dry_run() && !audit);
    Policy policy{message, str_cat(message->namespace_(), "/", message->name()), audit, custom, "", {}};
    if (custom) policy.provider = agent::provider_of(*message);
    for (const pb::Rule& rule : message->rules()) {
      for (const pb::Clause& clause : rule.clauses()) {
        for (const pb::Match& match : clause.matches()) {
          auto terms = HttpTerms::compile(match);
          policy.terms.push_back(terms.ok() ? *std::move(terms) : nullptr);
        }
      }
    }
    policies_.push_back(std::move(policy));
  }
}

ConnectionPolicy::ConnectionPolicy(std::shared_ptr<const PolicySet> set,
                                   const agent::PolicyConnection& connection, View view)
    : set_(std::move(set)) {
  if (view == View::kEnforced && (set_->has_dry_run_ || set_->has_audit_))
    shadow_ = std::make_shared<const ShadowPolicy>(set_, connection);
  if (!set_->complete_) return;
  const std::vector<PolicySet::Policy>& policies = set_->policies_;
  const auto counts = [view](const PolicySet::Policy& policy) {
    if (view == View::kAudit || policy.audit) return view == View::kAudit && policy.audit;
    return view == View::kAsIfEnforced || !policy.message->dry_run();
  };
  const PolicySet::Policy* const first_custom = view == View::kEnforced ? reduce_custom(connection) : nullptr;
  bool open = false;
  for (uint32_t i = 0; i < policies.size(); ++i) {
    const pb::Authorization& message = *policies[i].message;
    if (!counts(policies[i]) || policies[i].custom || message.action() != pb::DENY) continue;
    const Left left = reduce(policies[i], i, connection);
    if (left == Left::kAlways) {
      denied_by_ = policies[i].name;
      return;
    }
    if (left == Left::kRequests && !std::exchange(open, true)) denied_by_ = policies[i].name;
  }
  const PolicySet::Policy* first_allow = nullptr;
  bool may_allow = false;
  for (uint32_t i = 0; i < policies.size() && !allowed_otherwise_; ++i) {
    const pb::Authorization& message = *policies[i].message;
    if (!counts(policies[i]) || message.action() != pb::ALLOW) continue;
    if (first_allow == nullptr) first_allow = &policies[i];
    const Left left = reduce(policies[i], i, connection);
    allowed_otherwise_ = left == Left::kAlways;
    may_allow = may_allow || left == Left::kRequests;
  }
  if (first_allow == nullptr)
    allowed_otherwise_ = true;
  else
    would_allow_ = first_allow->name;
  if (!allowed_otherwise_ && (!may_allow || !open)) denied_by_ = first_allow->name;
  if (allowed_otherwise_) {
    decision_ = open ? Decision::kDepends : Decision::kAllowed;
  } else {
    decision_ = may_allow ? Decision::kDepends : Decision::kDenied;
  }
  if (decision_ != Decision::kAllowed || first_custom == nullptr) return;
  decision_ = Decision::kDepends;
  denied_by_ = first_custom->name;
}

const PolicySet::Policy* ConnectionPolicy::reduce_custom(const agent::PolicyConnection& connection) {
  const std::vector<PolicySet::Policy>& policies = set_->policies_;
  const PolicySet::Policy* first = nullptr;
  for (uint32_t i = 0; i < policies.size(); ++i) {
    if (!policies[i].custom) continue;
    const Left left = reduce(policies[i], i, connection);
    // A rule without clauses holds for every request.
    if (left == Left::kAlways) rules_.push_back(Rule{i, true, 0, 0});
    if (left != Left::kNever && first == nullptr) first = &policies[i];
  }
  custom_.swap(rules_);
  if (first != nullptr && connection.identity) peer_ = str_cat("spiffe://", connection.identity->principal());
  return first;
}

void ConnectionPolicy::asked(const JudgedRequest& request, std::vector<Asked>* out) const {
  for (const Rule& rule : custom_) {
    const PolicySet::Policy& policy = set_->policies_[rule.policy];
    const auto same = [&policy](const Asked& one) { return one.provider == policy.provider; };
    if (std::none_of(out->begin(), out->end(), same) && holds(rule, request))
      out->push_back({policy.name, policy.provider});
  }
}

// What the connection's facts leave of one policy's rules. A rule that is decided is not kept.
ConnectionPolicy::Left ConnectionPolicy::reduce(const PolicySet::Policy& policy, uint32_t index,
                                                const agent::PolicyConnection& connection) {
  const bool deny = policy.message->action() == pb::DENY;
  Left out = Left::kNever;
  size_t next = 0;
  for (const pb::Rule& each : policy.message->rules()) {
    Rule rule{index, deny, static_cast<uint32_t>(clauses_.size()), 0};
    bool never = false;
    for (const pb::Clause& clause : each.clauses()) {
      Clause kept{static_cast<uint32_t>(alternatives_.size()), 0};
      bool always = clause.matches().empty();
      for (const pb::Match& match : clause.matches()) {
        const HttpTerms* terms = policy.terms[next++].get();
        const bool asks = terms != nullptr;
        // Without terms: what the evaluator of connections says, also of those that cannot be read.
        if (always || never || !(asks || agent::can_hold(match, policy.message->action()))) continue;
        if (!agent::connection_holds(match, connection)) continue;
        if (asks) alternatives_.push_back(terms);
        always = !asks;
      }
      if (always) {
        alternatives_.resize(kept.first);
        continue;
      }
      kept.count = static_cast<uint32_t>(alternatives_.size()) - kept.first;
      never = never || kept.count == 0;
      clauses_.push_back(kept);
    }
    rule.count = static_cast<uint32_t>(clauses_.size()) - rule.first;
    if (never) {
      clauses_.resize(rule.first);
    } else if (rule.count == 0) {
      return Left::kAlways;
    } else {
      rules_.push_back(rule);
      out = Left::kRequests;
    }
  }
  return out;
}

template <typename Hold>
bool ConnectionPolicy::holds_by(const Rule& rule, Hold hold) const {
  const auto any_holds = [&](const Clause& clause) {
    const auto first = alternatives_.begin() + clause.first;
    return std::any_of(first, first + clause.count, hold);
  };
  const auto first = clauses_.begin() + rule.first;
  return std::all_of(first, first + rule.count, any_holds);
}

bool ConnectionPolicy::holds(const Rule& rule, const JudgedRequest& request) const {
  return holds_by(rule, [&](const HttpTerms* terms) { return terms->hold(request, rule.deny); });
}

// Rules that nothing hangs on any more do not ask.
template <typename Asks>
bool ConnectionPolicy::any_asks(Asks asks) const {
  if (decision_ != Decision::kDepends) return false;
  const auto rule_asks = [&](const Rule& rule) {
    if (!rule.deny && allowed_otherwise_) return false;
    for (uint32_t i = rule.first; i < rule.first + rule.count; ++i) {
      const auto first = alternatives_.begin() + clauses_[i].first;
      if (std::any_of(first, first + clauses_[i].count, asks)) return true;
    }
    return false;
  };
  return std::any_of(rules_.begin(), rules_.end(), rule_asks) ||
         std::any_of(custom_.begin(), custom_.end(), rule_asks);
}

// A provider is asked about requests only.
bool ConnectionPolicy::asks_requests() const {
  return may_ask() || any_asks([](const HttpTerms* terms) { return terms->ask_requests(); });
}

bool ConnectionPolicy::asks_server_name() const {
  return any_asks([](const HttpTerms* terms) { return terms->ask_server_name(); });
}

ConnectionPolicy::Verdict ConnectionPolicy::judge(const JudgedRequest& request) const {
  if (decision_ == Decision::kAllowed) return {};
  if (decision_ == Decision::kDenied) return {false, denied_by_};
  std::string_view would_allow;
  for (const Rule& rule : rules_) {
    if (!rule.deny && allowed_otherwise_) break;
    const std::string_view name = set_->policies_[rule.policy].name;
    if (holds(rule, request)) return rule.deny ? Verdict{false, name} : Verdict{};
    if (!rule.deny && would_allow.empty()) would_allow = name;
  }
  return allowed_otherwise_ ? Verdict{} : Verdict{false, would_allow};
}

ConnectionPolicy::Verdict ConnectionPolicy::judge_bytes(std::optional<std::string_view> server_name) const {
  if (decision_ == Decision::kAllowed) return {};
  if (decision_ == Decision::kDenied) return {false, denied_by_};
  const auto holds_unread = [&](const Rule& rule) {
    return holds_by(rule, [&](const HttpTerms* terms) { return terms->hold_unread(server_name, rule.deny); });
  };
  bool allowed = allowed_otherwise_;
  for (const Rule& rule : rules_) {
    if (!rule.deny && allowed) break;
    if (!holds_unread(rule)) continue;
    if (rule.deny) return {false, set_->policies_[rule.policy].name};
    allowed = true;
  }
  if (!allowed) return {false, would_allow_};
  const auto asked = std::find_if(custom_.begin(), custom_.end(), holds_unread);
  return asked == custom_.end() ? Verdict{} : Verdict{false, set_->policies_[asked->policy].name};
}

ShadowPolicy::ShadowPolicy(const std::shared_ptr<const PolicySet>& set,
                           const agent::PolicyConnection& connection)
    : dry_run_(set->has_dry_run()),
      audit_(set->has_audit()),
      as_if_enforced_(set, connection, ConnectionPolicy::View::kAsIfEnforced),
      audited_(set, connection, ConnectionPolicy::View::kAudit) {}

bool ShadowPolicy::depends() const {
  const auto asks = [](const ConnectionPolicy& policy) {
    return policy.decision() == ConnectionPolicy::Decision::kDepends;
  };
  return (dry_run_ && asks(as_if_enforced_)) || (audit_ && asks(audited_));
}

bool ShadowPolicy::asks_server_name() const {
  return (dry_run_ && as_if_enforced_.asks_server_name()) || (audit_ && audited_.asks_server_name());
}

ShadowPolicy::Report ShadowPolicy::judge(const JudgedRequest& request) const {
  Report out{.dry_run = dry_run_};
  if (dry_run_) {
    const ConnectionPolicy::Verdict said = as_if_enforced_.judge(request);
    out.allowed = said.allowed;
    out.denied_by = said.policy;
  }
  if (audit_) out.audited_by = audited_.judge(request).policy;
  return out;
}

ShadowPolicy::Report ShadowPolicy::judge_bytes(std::optional<std::string_view> server_name) const {
  Report out{.dry_run = dry_run_};
  if (dry_run_) {
    const ConnectionPolicy::Verdict said = as_if_enforced_.judge_bytes(server_name);
    out.allowed = said.allowed;
    out.denied_by = said.policy;
  }
  if (audit_) out.audited_by = audited_.judge_bytes(server_name).policy;
  return out;
}

}  // namespace weft::proxy
