// See policy_trial.h. A verdict is certain when the most and the least that the unknown terms could allow are
// the same.
#include "agent/policy/policy_trial.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "agent/mesh/reconciler.h"
#include "agent/policy/l4_policy.h"
#include "agent/policy/token_rules.h"
#include "base/strings.h"
#include "proto/weft/mesh/v1/http_terms.pb.h"
#include "userspace-proxy/config/explain_policy.h"

namespace weft::agent {
namespace {

namespace pb = istio::security;

constexpr char kHttpTerms[] = "weft.mesh.v1.HttpTerms";
constexpr char kConnectionTerms[] = "weft.mesh.v1.ConnectionTerms";

std::string name_of(const pb::Authorization& policy) {
  return str_cat(policy.namespace_(), "/", policy.name());
}

// What the traffic does not tell is taken out of the match. False: there was none of it.
bool take_unknown(bool requests, pb::Match* match) {
  bool any = false;
  auto& extensions = *match->mutable_extensions();
  for (int i = extensions.size() - 1; i >= 0; --i) {
    // What a request is seen of spoke no TLS.
    if (!requests && extensions[i].name() == kConnectionTerms) continue;
    mesh::v1::HttpTerms terms;
    const bool http = extensions[i].name() == kHttpTerms && extensions[i].config().UnpackTo(&terms);
    if (http && !requests) {
      if (terms.headers().empty() && terms.remote_ips().empty() && terms.not_remote_ips().empty()) continue;
      terms.clear_headers();
      terms.clear_remote_ips();
      terms.clear_not_remote_ips();
    } else {
      terms.Clear();
    }
    any = true;
    if (terms.ByteSizeLong() == 0)
      extensions.DeleteSubrange(i, 1);
    else
      extensions[i].mutable_config()->PackFrom(terms);
  }
  return any;
}

// False: the rule cannot hold any more.
bool assume(bool requests, bool holds, pb::Rule* rule) {
  for (pb::Clause& clause : *rule->mutable_clauses()) {
    if (clause.matches().empty()) continue;
    auto& matches = *clause.mutable_matches();
    bool always = false;
    for (int i = matches.size() - 1; i >= 0; --i) {
      if (!take_unknown(requests, &matches[i])) continue;
      if (!holds)
        matches.DeleteSubrange(i, 1);
      else
        always = always || !(has_terms(matches[i]) || has_request_terms(matches[i]));
    }
    if (always)
      clause.clear_matches();
    else if (matches.empty())
      return false;
  }
  return true;
}

// The policies as if they allowed as much, or as little, as they may.
SelectedPolicies view_of(const std::vector<const pb::Authorization*>& policies, bool requests, bool most,
                         std::vector<pb::Authorization>* kept) {
  kept->clear();
  kept->reserve(policies.size());
  SelectedPolicies out;
  for (const pb::Authorization* policy : policies) {
    const bool holds = (policy->action() == pb::ALLOW) == most;
    kept->push_back(assuming(*policy, requests, holds));
    out.policies.push_back(&kept->back());
  }
  return out;
}

// What policies say of a question, whatever of it is not known.
struct Judged {
  PolicyTrial::Verdict verdict = PolicyTrial::Verdict::kAllowed;
  proxy::PolicyExplanation said;
};

bool denied_by_custom(const proxy::PolicyExplanation& said) {
  return said.rule && std::string_view(said.rules[*said.rule].action) == "CUSTOM";
}

// Nullopt: the path is none.
std::optional<Judged> judge(const std::vector<const pb::Authorization*>& policies,
                            const proxy::PolicyQuestion& question) {
  using Verdict = PolicyTrial::Verdict;
  const bool requests = question.method.empty();
  std::vector<pb::Authorization> kept;
  auto most = proxy::explain_policy(view_of(policies, requests, true, &kept), question);
  auto least = proxy::explain_policy(view_of(policies, requests, false, &kept), question);
  if (!most.ok() || !least.ok()) return std::nullopt;
  // What a provider would say nobody knows; of a connection that nobody read neither whether it is asked.
  const bool asks = most->asks || (!most->allowed && requests && denied_by_custom(*most));
  if (asks || least->asks) {
    const bool may_pass = most->allowed || asks;
    return Judged{may_pass ? Verdict::kDepends : Verdict::kDenied, *std::move(least)};
  }
  // Who could deny it says the strict view, who allows it the other.
  if (most->allowed && least->allowed) return Judged{Verdict::kAllowed, *std::move(most)};
  return Judged{most->allowed ? Verdict::kDepends : Verdict::kDenied, *std::move(least)};
}

void name_rule(const proxy::PolicyExplanation& said, PolicyTrial::Row* row) {
  const auto take = [row](const proxy::ExplainedPolicyRule& rule) {
    row->policy = rule.policy;
    row->file = rule.file;
    row->line = rule.line;
  };
  if (const std::optional<size_t> named = said.asks ? said.asks : said.rule) {
    take(said.rules[*named]);
    row->rule = said.rules[*named].index;
    return;
  }
  if (said.allowed) return;
  // No rule allows it: the first policy that allows others is why.
  const auto first = std::find_if(said.rules.begin(), said.rules.end(), [](const auto& rule) {
    return std::string_view(rule.action) == "ALLOW" && !rule.dry_run;
  });
  if (first != said.rules.end()) take(*first);
}

bool carries(const istio::workload::Workload& server, const std::map<std::string, std::string>& selector) {
  const std::map<std::string, std::string> labels = labels_of(server);
  return std::all_of(selector.begin(), selector.end(), [&labels](const auto& wanted) {
    const auto found = labels.find(wanted.first);
    return found != labels.end() && found->second == wanted.second;
  });
}

std::optional<istio::workload::Workload> find(const MeshModel& model, const std::string& name) {
  const auto parts = parse_workload_name(name);
  return parts.ok() ? model.find_workload(parts->first, parts->second) : std::nullopt;
}

// Who the server's node knows the client to be, as `weft authz check` has it.
std::optional<PeerIdentity> proved(const std::optional<istio::workload::Workload>& client,
                                   const istio::workload::Workload& server) {
  if (!client) return std::nullopt;
  const bool one_node = !server.node().empty() && server.node() == client->node();
  if (!one_node && server.tunnel_protocol() != istio::workload::HBONE) return std::nullopt;
  return identity_of(*client);
}

std::string key_of(const PolicyTrial::Row& row) {
  return str_cat(row.client, "|", row.server, "|", row.request, "|", row.denied ? 1 : 0, "|",
                 static_cast<int>(row.then), "|", row.policy, "|", row.rule);
}

}  // namespace

std::string path_class(std::string_view path) {
  path = path.substr(0, path.find('?'));
  const size_t second = path.size() > 1 ? path.find('/', 1) : std::string_view::npos;
  if (second == std::string_view::npos || second + 1 == path.size()) return std::string(path);
  return str_cat(path.substr(0, second), "/*");
}

pb::Authorization assuming(const pb::Authorization& policy, bool requests, bool holds) {
  pb::Authorization out = policy;
  for (int i = out.rules_size() - 1; i >= 0; --i) {
    pb::Rule& rule = *out.mutable_rules(i);
    if (assume(requests, holds, &rule)) continue;
    // It keeps its place, so that rules are called by their numbers, and never holds.
    rule.Clear();
    rule.add_clauses()->add_matches();
  }
  return out;
}

PolicyTrial::PolicyTrial(std::vector<control_plane::WrittenPolicy> policies)
    : policies_(std::move(policies)) {
  for (control_plane::WrittenPolicy& one : policies_) {
    names_.insert(name_of(one.policy));
    // Here it is to decide; one of AUDIT never does.
    if (!is_audit(one.policy)) one.policy.set_dry_run(false);
  }
}

bool PolicyTrial::is_for(const control_plane::WrittenPolicy& one,
                         const istio::workload::Workload& server) const {
  const pb::Authorization& policy = one.policy;
  if (policy.scope() == pb::GLOBAL) return true;
  if (policy.scope() == pb::NAMESPACE) return policy.namespace_() == server.namespace_();
  if (!one.services.empty()) {
    return std::any_of(one.services.begin(), one.services.end(),
                       [&server](const std::string& key) { return server.services().contains(key); });
  }
  const bool in_reach = one.every_namespace || policy.namespace_() == server.namespace_();
  return in_reach && !one.selector.empty() && carries(server, one.selector);
}

// Nullopt: none of the policies is for the server, or the path is none.
std::optional<PolicyTrial::Answer> PolicyTrial::ask(const MeshModel& model, const SeenTraffic& traffic,
                                                    const istio::workload::Workload& server) const {
  const std::vector<const pb::Authorization*> before =
      select_policies(server, model.authorizations()).policies;
  std::vector<const pb::Authorization*> after;
  // The manifest's takes the place of the one in force.
  std::copy_if(before.begin(), before.end(), std::back_inserter(after),
               [this](const pb::Authorization* known) { return !names_.contains(name_of(*known)); });
  bool touched = after.size() != before.size();
  for (const control_plane::WrittenPolicy& one : policies_) {
    if (!is_for(one, server)) continue;
    touched = true;
    after.push_back(&one.policy);
  }
  if (!touched) return std::nullopt;
  const auto client = find(model, traffic.client);
  const proxy::PolicyQuestion question{.connection = {.source = traffic.source,
                                                      .identity = proved(client, server),
                                                      .destination = traffic.destination},
                                       .method = traffic.method,
                                       .target = traffic.path,
                                       .authority = traffic.authority,
                                       .headers = {}};
  const auto now = judge(before, question), then = judge(after, question);
  if (!now || !then) return std::nullopt;
  Answer out;
  out.now = now->verdict != Verdict::kDepends ? now->verdict
            : traffic.refused                 ? Verdict::kDenied
                                              : Verdict::kAllowed;
  out.row.then = then->verdict;
  out.row.client = question.connection.identity ? question.connection.identity->principal()
                   : traffic.client.empty()     ? traffic.source.to_string()
                                                : traffic.client;
  name_rule(then->said, &out.row);
  return out;
}

void PolicyTrial::see(const MeshModel& model, const SeenTraffic& traffic) {
  const auto server = find(model, traffic.server);
  if (!server) {
    ++not_judged_;
    return;
  }
  ++judged_;
  const std::optional<Answer> answer = ask(model, traffic, *server);
  if (!answer || answer->row.then == answer->now) {
    ++unchanged_;
    return;
  }
  Row row = answer->row;
  row.server = str_cat(traffic.server, ":", traffic.destination.port);
  if (!traffic.method.empty()) row.request = str_cat(traffic.method, " ", path_class(traffic.path));
  row.denied = answer->now == Verdict::kDenied;
  const std::string key = key_of(row);
  const auto known = rows_.find(key);
  if (known == rows_.end() && rows_.size() >= kMaxRows) {
    ++left_out_;
    return;
  }
  if (known == rows_.end()) rows_.emplace(key, row);
  ++rows_[key].count;
}

std::vector<PolicyTrial::Row> PolicyTrial::rows() const {
  std::vector<Row> out;
  for (const auto& [key, row] : rows_) out.push_back(row);
  return out;
}

}  // namespace weft::agent
