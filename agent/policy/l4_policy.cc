// See l4_policy.h. The shape of every decision here is Istio's: a policy is any of its rules, a rule all of
// its clauses, a clause any of its matches, a match all of its kinds of terms.
#include "agent/policy/l4_policy.h"

#include <algorithm>
#include <string_view>

#include "base/ip_range.h"
#include "base/spiffe_id.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "proto/weft/mesh/v1/http_terms.pb.h"

namespace weft::agent {
namespace {

namespace pb = istio::security;
using google::protobuf::RepeatedPtrField;

constexpr uint32_t kHighestPort = 65535;

// What the terms of one connection are compared with; empty texts without an identity.
struct Facts {
  const PolicyConnection& connection;
  std::string principal;
  std::string ns;
};

Facts facts_of(const PolicyConnection& connection) {
  if (!connection.identity) return {.connection = connection};
  return {connection, connection.identity->principal(), connection.identity->ns};
}

// Without an identity there is nothing to compare with: not even "begins with nothing" hits.
bool hits(const pb::StringMatch& match, std::string_view text) {
  if (text.empty()) return false;
  switch (match.match_type_case()) {
    case pb::StringMatch::kExact:
      return text == match.exact();
    case pb::StringMatch::kPrefix:
      return text.starts_with(match.prefix());
    case pb::StringMatch::kSuffix:
      return text.ends_with(match.suffix());
    case pb::StringMatch::kPresence:
      return true;
    case pb::StringMatch::MATCH_TYPE_NOT_SET:
      break;
  }
  return false;
}

bool hits(const pb::Address& range, const IpAddress& address) {
  const auto parsed = IpRange::from_packed(range.address(), range.length());
  return parsed && parsed->contains(address);
}

bool hits(const pb::ServiceAccountMatch& match, const std::optional<PeerIdentity>& identity) {
  return identity && identity->ns == match.namespace_() &&
         identity->service_account == match.serviceaccount();
}

bool hits(uint32_t wanted, uint16_t port) { return wanted == port; }

// One kind of term: any of the positive list, none of the negative one.
template <typename List, typename Value>
bool holds(const List& positive, const List& negative, const Value& value) {
  const auto hit = [&value](const auto& term) { return hits(term, value); };
  return (positive.empty() || std::any_of(positive.begin(), positive.end(), hit)) &&
         std::none_of(negative.begin(), negative.end(), hit);
}

bool names_identity(const pb::Match& m) {
  return !m.namespaces().empty() || !m.not_namespaces().empty() || !m.principals().empty() ||
         !m.not_principals().empty() || !m.service_accounts().empty() || !m.not_service_accounts().empty();
}

bool names_addresses(const pb::Match& m) {
  return !m.source_ips().empty() || !m.not_source_ips().empty() || !m.destination_ips().empty() ||
         !m.not_destination_ips().empty() || !m.destination_ports().empty() ||
         !m.not_destination_ports().empty();
}

bool identity_holds(const pb::Match& m, const Facts& facts) {
  return holds(m.namespaces(), m.not_namespaces(), facts.ns) &&
         holds(m.service_accounts(), m.not_service_accounts(), facts.connection.identity) &&
         holds(m.principals(), m.not_principals(), facts.principal);
}

bool parts_hold(const pb::Match& m, const Facts& facts) {
  const SocketAddress& destination = facts.connection.destination;
  return port_holds(m, destination.port) && destination_holds(m, destination.ip) &&
         holds(m.source_ips(), m.not_source_ips(), facts.connection.source) && identity_holds(m, facts);
}

bool matches(const pb::Clause& clause, pb::Action action, const Facts& facts) {
  return clause.matches().empty() ||
         std::any_of(clause.matches().begin(), clause.matches().end(), [action, &facts](const pb::Match& m) {
           return can_hold(m, action) && parts_hold(m, facts);
         });
}

bool matches(const pb::Authorization& policy, const Facts& facts) {
  return std::any_of(policy.rules().begin(), policy.rules().end(), [&policy, &facts](const pb::Rule& rule) {
    return std::all_of(rule.clauses().begin(), rule.clauses().end(),
                       [&policy, &facts](const pb::Clause& c) { return matches(c, policy.action(), facts); });
  });
}

std::string name_of(const pb::Authorization& policy) {
  return str_cat(policy.namespace_(), "/", policy.name());
}

bool has_extension(const pb::Authorization& policy, std::string_view name) {
  return std::any_of(policy.extensions().begin(), policy.extensions().end(),
                     [name](const auto& extension) { return extension.name() == name; });
}

absl::Status check(const RepeatedPtrField<pb::StringMatch>& texts, std::string_view what) {
  for (const pb::StringMatch& text : texts) {
    if (text.match_type_case() == pb::StringMatch::MATCH_TYPE_NOT_SET) {
      return absl::InvalidArgumentError(str_cat(what, ": a text without exact, prefix, suffix or presence"));
    }
  }
  return absl::OkStatus();
}

absl::Status check(const RepeatedPtrField<pb::Address>& ranges, std::string_view what) {
  for (const pb::Address& range : ranges) {
    if (!IpRange::from_packed(range.address(), range.length())) {
      return absl::InvalidArgumentError(str_cat(what, ": ", range.address().size(),
                                                " bytes with a prefix of ", range.length(),
                                                " bits are no address range"));
    }
  }
  return absl::OkStatus();
}

absl::Status check(const google::protobuf::RepeatedField<uint32_t>& ports, std::string_view what) {
  for (uint32_t port : ports) {
    if (port > kHighestPort) return absl::InvalidArgumentError(str_cat(what, ": ", port, " is no port"));
  }
  return absl::OkStatus();
}

absl::Status check(const pb::Match& m) {
  RETURN_IF_ERROR(check(m.namespaces(), "namespaces"));
  RETURN_IF_ERROR(check(m.not_namespaces(), "not_namespaces"));
  RETURN_IF_ERROR(check(m.principals(), "principals"));
  RETURN_IF_ERROR(check(m.not_principals(), "not_principals"));
  RETURN_IF_ERROR(check(m.source_ips(), "source_ips"));
  RETURN_IF_ERROR(check(m.not_source_ips(), "not_source_ips"));
  RETURN_IF_ERROR(check(m.destination_ips(), "destination_ips"));
  RETURN_IF_ERROR(check(m.not_destination_ips(), "not_destination_ips"));
  RETURN_IF_ERROR(check(m.destination_ports(), "destination_ports"));
  return check(m.not_destination_ports(), "not_destination_ports");
}

}  // namespace

std::string PeerIdentity::principal() const {
  return str_cat(trust_domain, "/ns/", ns, "/sa/", service_account);
}

PeerIdentity identity_of(const istio::workload::Workload& workload) {
  const auto or_default = [](const std::string& text, const char* fallback) {
    return text.empty() ? std::string(fallback) : text;
  };
  return {.trust_domain = or_default(workload.trust_domain(), kDefaultTrustDomain),
          .ns = workload.namespace_(),
          .service_account = or_default(workload.service_account(), "default")};
}

bool is_audit(const pb::Authorization& policy) { return has_extension(policy, kAuditExtension); }

bool is_custom(const pb::Authorization& policy) { return has_extension(policy, kCustomExtension); }

std::string provider_of(const pb::Authorization& policy) {
  for (const auto& extension : policy.extensions()) {
    mesh::v1::CustomAction action;
    if (extension.name() == kCustomExtension && extension.config().UnpackTo(&action))
      return action.provider();
  }
  return "";
}

SelectedPolicies select_policies(const istio::workload::Workload& workload, const Authorizations& all) {
  SelectedPolicies out;
  // By name, so that a policy that is in reach twice counts once.
  std::map<std::string_view, const pb::Authorization*> found;
  for (const auto& [name, policy] : all) {
    const bool in_scope = policy.scope() == pb::GLOBAL ||
                          (policy.scope() == pb::NAMESPACE && policy.namespace_() == workload.namespace_());
    if (in_scope) found.emplace(name, &policy);
  }
  for (const std::string& name : workload.authorization_policies()) {
    const auto policy = all.find(name);
    if (policy != all.end()) {
      found.emplace(policy->first, &policy->second);
    } else {
      out.missing.push_back(name);
    }
  }
  for (const auto& [name, policy] : found) out.policies.push_back(policy);
  return out;
}

Verdict evaluate(std::span<const pb::Authorization* const> policies, const PolicyConnection& connection) {
  const Facts facts = facts_of(connection);
  for (const pb::Authorization* policy : policies) {
    if (policy->dry_run() || policy->action() != pb::DENY || !matches(*policy, facts)) continue;
    return {Verdict::Reason::kDenied, name_of(*policy)};
  }
  const pb::Authorization* first_allow = nullptr;
  for (const pb::Authorization* policy : policies) {
    if (policy->dry_run() || policy->action() != pb::ALLOW) continue;
    if (matches(*policy, facts)) return {Verdict::Reason::kAllowed, name_of(*policy)};
    if (first_allow == nullptr) first_allow = policy;
  }
  if (first_allow != nullptr) return {Verdict::Reason::kNotAllowed, name_of(*first_allow)};
  return {};
}

absl::Status validate_policy(const pb::Authorization& policy) {
  if (!pb::Scope_IsValid(policy.scope()) || !pb::Action_IsValid(policy.action())) {
    return absl::InvalidArgumentError(str_cat("unknown scope ", static_cast<int>(policy.scope()),
                                              " or action ", static_cast<int>(policy.action()),
                                              "; use an agent that knows it"));
  }
  for (int i = 0; i < policy.rules_size(); ++i) {
    for (const pb::Clause& clause : policy.rules(i).clauses()) {
      for (const pb::Match& match : clause.matches()) {
        const absl::Status status = check(match);
        if (!status.ok()) return annotate(str_cat("rule ", i), status);
      }
    }
  }
  return absl::OkStatus();
}

bool has_terms(const pb::Match& match) { return names_identity(match) || names_addresses(match); }

bool has_request_terms(const pb::Match& match) { return !match.extensions().empty(); }

bool has_request_terms(const pb::Authorization& policy) {
  return std::any_of(policy.rules().begin(), policy.rules().end(), [](const pb::Rule& rule) {
    return std::any_of(rule.clauses().begin(), rule.clauses().end(), [](const pb::Clause& clause) {
      return std::any_of(clause.matches().begin(), clause.matches().end(),
                         [](const pb::Match& match) { return has_request_terms(match); });
    });
  });
}

bool asks_about_requests(const pb::Authorization& policy) {
  return !policy.dry_run() && (is_custom(policy) || has_request_terms(policy));
}

bool can_hold(const pb::Match& match, pb::Action action) {
  return has_request_terms(match) ? action == pb::DENY : has_terms(match);
}

bool connection_holds(const pb::Match& match, const PolicyConnection& connection) {
  return parts_hold(match, facts_of(connection));
}

bool port_holds(const pb::Match& match, uint16_t port) {
  return holds(match.destination_ports(), match.not_destination_ports(), port);
}

bool destination_holds(const pb::Match& match, const IpAddress& address) {
  return holds(match.destination_ips(), match.not_destination_ips(), address);
}

bool identity_holds(const pb::Match& match, const std::optional<PeerIdentity>& identity) {
  const PolicyConnection connection{.source = {}, .identity = identity, .destination = {}};
  return identity_holds(match, facts_of(connection));
}

bool compares_only_addresses(const pb::Rule& rule) {
  return std::none_of(rule.clauses().begin(), rule.clauses().end(), [](const pb::Clause& clause) {
    return std::any_of(clause.matches().begin(), clause.matches().end(), names_identity);
  });
}

}  // namespace weft::agent
