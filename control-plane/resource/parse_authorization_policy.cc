// AuthorizationPolicy of Istio's security API: scope, action and rules. For terms that nothing checks yet an
// ALLOW rule is left out, and a DENY rule goes on without them. Both are reported.
#include <algorithm>
#include <array>

#include "base/strings.h"
#include "control-plane/resource/gateway_api.h"
#include "control-plane/resource/parse_object.h"
#include "control-plane/resource/parse_policy_rule.h"
#include "control-plane/resource/policy_terms.h"
#include "proto/weft/mesh/v1/http_terms.pb.h"
#include "proto/weft/mesh/v1/mesh.pb.h"

namespace weft::control_plane {
namespace {

namespace pb = istio::security;
using Names = std::string_view;

constexpr std::array<Names, 6> kSpecRead = {"selector",  "action",     "rules",
                                            "targetRef", "targetRefs", "provider"};
constexpr std::array<Names, 1> kProviderRead = {"name"};
constexpr std::array<Names, 1> kSelectorRead = {"matchLabels"};
constexpr std::array<Names, 4> kTargetRead = {"group", "kind", "name", "namespace"};
// As in Istio.
constexpr size_t kMaxTargets = 16;
constexpr char kAuditExtension[] = "weft.dev/audit";
constexpr char kCustomExtension[] = "weft.dev/custom";
constexpr char kDryRun[] = "istio.io/dry-run";

// The words that Istio's annotations take for a boolean.
constexpr std::array<Names, 6> kTrue = {"1", "t", "T", "true", "TRUE", "True"};
constexpr std::array<Names, 6> kFalse = {"0", "f", "F", "false", "FALSE", "False"};

void parse_dry_run(const FieldReader& root, AuthorizationPolicy& out) {
  const auto meta = root.child("metadata");
  const auto annotations = meta ? meta->child("annotations") : std::nullopt;
  const auto value = annotations ? annotations->child(kDryRun) : std::nullopt;
  if (!value) return;
  const std::string& word = value->node().scalar;
  if (std::find(kTrue.begin(), kTrue.end(), word) != kTrue.end()) {
    out.policy.set_dry_run(true);
  } else if (std::find(kFalse.begin(), kFalse.end(), word) == kFalse.end()) {
    value->error(kValueRejected, str_cat("\"", word.substr(0, 64), "\" is neither true nor false"),
                 "use \"true\" or \"false\"");
  }
}

// What a policy for a Service says holds for the pods behind it, however they are reached: they are where it
// is judged. One for a Gateway holds for its clients.
void parse_target(const FieldReader& target, AuthorizationPolicy& out) {
  if (!expect_full_map(target, {.read = kTargetRead, .known = {}})) return;
  const std::string kind = target.required_text("kind", "Service or Gateway");
  const std::string group = target.text("group").value_or("");
  const std::string name = target.required_text("name", "the name of a Service or Gateway");
  if (kind.empty() || name.empty()) return;
  const bool service = kind == "Service" && (group.empty() || group == "core");
  if (!service && !(kind == "Gateway" && group == kGatewayGroup)) {
    target.error_at(
        "kind", kNotSupportedYet,
        str_cat("policies for a ", kind.substr(0, 64), " of the group \"", group.substr(0, 64),
                "\" are not supported yet"),
        "target a Service, or a Gateway of the group gateway.networking.k8s.io, or use selector.matchLabels");
    return;
  }
  if (target.text("namespace").value_or(out.meta.ns) != out.meta.ns) {
    target.error_at("namespace", kValueRejected, str_cat("a policy is for ", kind, "s of its own namespace"),
                    str_cat("remove the field, or write the policy in the ", kind, "'s namespace"));
    return;
  }
  (service ? out.services : out.gateways).push_back(name);
}

void parse_targets(const FieldReader& spec, AuthorizationPolicy& out) {
  std::vector<FieldReader> targets = spec.items("targetRefs");
  if (const auto one = spec.child("targetRef")) targets.push_back(*one);
  if (targets.empty() && spec.has("targetRefs")) {
    spec.error_at("targetRefs", kFieldMissing, "the list is empty",
                  "name a Service or Gateway, or remove the field to reach every pod of the namespace");
  }
  if (targets.size() > kMaxTargets) {
    spec.error_at("targetRefs", kValueRejected, str_cat("more than ", kMaxTargets, " targets"),
                  "split the policy");
  }
  if (!targets.empty() && spec.has("selector")) {
    spec.error_at("selector", kValueRejected, "a policy has either a selector or targets",
                  "remove one of them");
  }
  if (targets.empty()) return;
  out.policy.set_scope(pb::WORKLOAD_SELECTOR);
  for (const FieldReader& target : targets) parse_target(target, out);
}

void parse_selector(const FieldReader& spec, AuthorizationPolicy& out) {
  out.policy.set_scope(out.meta.ns == kRootNamespace ? pb::GLOBAL : pb::NAMESPACE);
  const auto selector = spec.child("selector");
  if (!selector) return;
  out.policy.set_scope(pb::WORKLOAD_SELECTOR);
  if (!expect_full_map(*selector, {.read = kSelectorRead, .known = {}})) return;
  out.selector = selector->text_map("matchLabels");
  const auto labels = selector->child("matchLabels");
  if (!labels || labels->node().fields.empty()) {
    selector->error(kFieldMissing, "the selector has no labels",
                    "give matchLabels, or remove the selector to reach every pod of the namespace");
    return;
  }
  for (const auto& [key, value] : out.selector) {
    if (key.empty() || key.find('*') != std::string::npos || value.find('*') != std::string::npos) {
      labels->error(kValueRejected, str_cat("\"", key.substr(0, 64), "\" has no plain key and value"),
                    "give labels as pods have them; wildcards are not possible");
    }
  }
}

// See kCustomExtension of agent/policy/l4_policy.h.
void parse_provider(const FieldReader& spec, AuthorizationPolicy& out) {
  const auto provider = spec.child("provider");
  if (!provider) {
    spec.error_at("provider", kFieldMissing, "a policy of action CUSTOM names whom to ask",
                  "give provider.name, one of MeshConfig's extensionProviders");
    return;
  }
  if (!provider->expect_map({.read = kProviderRead, .known = {}})) return;
  out.provider = provider->required_text("name", "one of MeshConfig's extensionProviders");
  if (out.policy.dry_run())
    spec.error_at("action", kValueRejected, "CUSTOM has no dry run: nobody would be asked",
                  "remove the annotation istio.io/dry-run, or let the provider log and allow");
  mesh::v1::CustomAction action;
  action.set_provider(out.provider);
  auto& extension = *out.policy.add_extensions();
  extension.set_name(kCustomExtension);
  extension.mutable_config()->PackFrom(action);
}

void parse_action(const FieldReader& spec, AuthorizationPolicy& out) {
  const std::string action = spec.text("action").value_or("ALLOW");
  if (action != "ALLOW") out.policy.set_action(pb::DENY);
  if (action == "AUDIT") {
    // See kAuditExtension of agent/policy/l4_policy.h.
    out.policy.set_dry_run(true);
    out.policy.add_extensions()->set_name(kAuditExtension);
  } else if (action == "CUSTOM") {
    return parse_provider(spec, out);
  } else if (action != "DENY" && action != "ALLOW") {
    spec.error_at("action", kValueRejected, str_cat("\"", action.substr(0, 32), "\" is no action"),
                  "use ALLOW, DENY, AUDIT or CUSTOM");
  }
  if (spec.has("provider"))
    spec.error_at("provider", kValueRejected, "only a policy of action CUSTOM has a provider",
                  "remove the field, or write action: CUSTOM");
}

void report(const UncheckedTerm& term, const AuthorizationPolicy& policy) {
  const std::string does = policy.provider.empty() ? "denies" : "asks about";
  if (policy.policy.action() == pb::ALLOW) {
    term.where.warning(kHttpTerm,
                       str_cat(term.name, " cannot be checked yet: the rule is left out and allows nothing"),
                       "remove the field, or expect what the other rules do not allow to be denied");
  } else if (term.nothing_left) {
    term.where.warning(
        kDenyWithoutEffect,
        str_cat(term.name, " cannot be checked yet, and nothing else is left: it ", does, " nothing"),
        "say in the same entry which ports or sources it is for");
  } else {
    term.where.warning(
        kHttpTerm,
        str_cat(term.name, " cannot be checked yet: the rule ", does, " whatever the rest of it says"),
        "remove the field, or expect it to hold for more");
  }
}

// The provider is asked before a request's token is looked at.
bool asks_of_tokens(const pb::Rule& rule) {
  const auto of_tokens = [](const auto& extension) { return extension.name() == "weft.mesh.v1.TokenTerms"; };
  return std::any_of(rule.clauses().begin(), rule.clauses().end(), [&](const pb::Clause& clause) {
    return std::any_of(clause.matches().begin(), clause.matches().end(), [&](const pb::Match& match) {
      return std::any_of(match.extensions().begin(), match.extensions().end(), of_tokens);
    });
  });
}

void report_no_rules(const FieldReader& spec, const AuthorizationPolicy& policy) {
  const char* does = policy.policy.extensions().empty() ? "denies" : "reports";
  const char* action = policy.policy.extensions().empty() ? "a DENY" : "an AUDIT";
  if (!policy.provider.empty()) {
    does = "asks about";
    action = "a CUSTOM";
  }
  spec.error_at("rules", kFieldMissing, str_cat(action, " policy without rules ", does, " nothing"),
                str_cat("add rules; \"rules: [{}]\" ", does, " everything"));
}

void parse_rules(const FieldReader& spec, AuthorizationPolicy& out) {
  for (const FieldReader& item : spec.items("rules")) {
    PolicyRule parsed = parse_policy_rule(item, out.meta.ns);
    for (const UncheckedTerm& term : parsed.unchecked) report(term, out);
    if (out.policy.action() == pb::ALLOW && !parsed.unchecked.empty()) continue;
    if (!out.provider.empty() && asks_of_tokens(parsed.rule))
      item.error(kValueRejected, "a CUSTOM rule cannot ask for tokens: the provider is asked before them",
                 "leave out requestPrincipals and request.auth.*; let the provider read the token");
    *out.policy.add_rules() = std::move(parsed.rule);
  }
  if (out.policy.action() == pb::DENY && out.policy.rules().empty()) report_no_rules(spec, out);
}

// See kOriginExtension of agent/policy/l4_policy.h.
void add_origin(AuthorizationPolicy& out) {
  mesh::v1::Origin origin;
  origin.set_file(out.meta.file);
  origin.set_line(out.meta.line);
  auto& extension = *out.policy.add_extensions();
  extension.set_name("weft.dev/origin");
  extension.mutable_config()->PackFrom(origin);
}

}  // namespace

AuthorizationPolicy parse_authorization_policy(const FieldReader& root, ObjectMeta meta) {
  AuthorizationPolicy out{.meta = std::move(meta)};
  out.policy.set_name(out.meta.name);
  out.policy.set_namespace_(out.meta.ns);
  parse_dry_run(root, out);
  const auto spec = root.child("spec");
  if (!spec) {
    root.error_at("spec", kFieldMissing, "the field is required",
                  "give an action and rules; \"spec: {}\" denies everything");
    return out;
  }
  if (!expect_full_map(*spec, {.read = kSpecRead, .known = {}})) return out;
  parse_selector(*spec, out);
  parse_targets(*spec, out);
  parse_action(*spec, out);
  parse_rules(*spec, out);
  add_origin(out);
  return out;
}

}  // namespace weft::control_plane
