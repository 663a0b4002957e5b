// See parse_policy_rule.h.
#include "control-plane/resource/parse_policy_rule.h"

#include <algorithm>
#include <array>

#include "absl/strings/ascii.h"
#include "base/strings.h"
#include "base/suggest.h"
#include "control-plane/resource/policy_terms.h"
#include "proto/weft/mesh/v1/http_terms.pb.h"

namespace weft::control_plane {
namespace {

namespace pb = istio::security;
using ConnectionTerms = weft::mesh::v1::ConnectionTerms;
using HttpTerms = weft::mesh::v1::HttpTerms;
using TokenTerms = weft::mesh::v1::TokenTerms;
using Names = std::string_view;

constexpr std::array<Names, 3> kRuleRead = {"from", "to", "when"};
constexpr std::array<Names, 1> kFromRead = {"source"};
constexpr std::array<Names, 1> kToRead = {"operation"};
constexpr std::array<Names, 14> kSourceRead = {
    "principals",     "notPrincipals",     "namespaces",           "notNamespaces",  "serviceAccounts",
    "ipBlocks",       "notIpBlocks",       "requestPrincipals",    "trustDomains",   "notServiceAccounts",
    "remoteIpBlocks", "notRemoteIpBlocks", "notRequestPrincipals", "notTrustDomains"};
constexpr std::array<Names, 4> kPeerFields = {"principals", "notPrincipals", "namespaces", "notNamespaces"};
constexpr std::array<Names, 2> kAccountFields = {"serviceAccounts", "notServiceAccounts"};
constexpr std::array<Names, 8> kOperationRead = {"ports",   "notPorts",   "hosts", "notHosts",
                                                 "methods", "notMethods", "paths", "notPaths"};
constexpr std::array<Names, 3> kConditionRead = {"key", "values", "notValues"};
constexpr std::array<Names, 2> kConditionValues = {"values", "notValues"};
constexpr Names kTokenKeys = "request.auth.";
// Each is followed by a name in brackets.
constexpr std::array<Names, 3> kKeyMaps = {"request.headers", "request.auth.claims",
                                           "experimental.envoy.filters."};
constexpr std::array<Names, 12> kPlainKeys = {
    "source.ip",          "source.namespace",       "source.principal",       "source.serviceAccount",
    "source.trustDomain", "destination.ip",         "destination.port",       "remote.ip",
    "connection.sni",     "request.auth.principal", "request.auth.audiences", "request.auth.presenter"};

bool is_empty(const pb::Match& match) { return match.ByteSizeLong() == 0; }

// Under the name of the message.
template <typename Terms>
void attach(const Terms& terms, pb::Match& match) {
  if (terms.ByteSizeLong() == 0) return;
  auto& extension = *match.add_extensions();
  extension.set_name(std::string(Terms::descriptor()->full_name()));
  extension.mutable_config()->PackFrom(terms);
}

// "request.headers[x-user]": what stands in the brackets; empty for another key.
std::string_view name_in(std::string_view map, std::string_view key) {
  if (!key.starts_with(map)) return {};
  key.remove_prefix(map.size());
  return key.size() > 2 && key.front() == '[' && key.back() == ']' ? key.substr(1, key.size() - 2)
                                                                   : std::string_view();
}

class RuleParser {
 public:
  explicit RuleParser(const std::string& ns) : ns_(ns) {}

  PolicyRule run(const FieldReader& rule) {
    if (!expect_full_map(rule, {.read = kRuleRead, .known = {}})) return std::move(out_);
    parse_entries(rule, "to", "operation", {.read = kToRead, .known = {}}, &RuleParser::parse_operation);
    parse_entries(rule, "from", "source", {.read = kFromRead, .known = {}}, &RuleParser::parse_source);
    for (const FieldReader& condition : items(rule, "when")) {
      parse_condition(condition, *out_.rule.add_clauses()->add_matches());
    }
    weigh_unchecked();
    return std::move(out_);
  }

 private:
  using ParseEntry = void (RuleParser::*)(const FieldReader&, pb::Match&);

  static std::vector<FieldReader> items(const FieldReader& rule, std::string_view name) {
    std::vector<FieldReader> out = rule.items(name);
    const auto list = rule.child(name);
    if (out.empty() && list && list->node().kind == YamlNode::Kind::kSequence) {
      list->error(kFieldMissing, "the list is empty: it would match everything",
                  "give at least one entry, or remove the field");
    }
    return out;
  }

  // from[] and to[]: alternatives, each with its terms one level down.
  void parse_entries(const FieldReader& rule, std::string_view list, std::string_view inner,
                     const FieldTable& table, ParseEntry parse) {
    const std::vector<FieldReader> entries = items(rule, list);
    if (entries.empty()) return;
    pb::Clause& clause = *out_.rule.add_clauses();
    for (const FieldReader& entry : entries) {
      pb::Match& match = *clause.add_matches();
      if (!expect_full_map(entry, table)) continue;
      const auto terms = entry.child(inner);
      if (!terms || terms->node().fields.empty()) {
        entry.error_at(inner, kFieldMissing, "the entry has no terms",
                       str_cat("give ", inner, " at least one field, or remove the entry"));
        continue;
      }
      (this->*parse)(*terms, match);
    }
  }

  void parse_source(const FieldReader& source, pb::Match& match) {
    if (!expect_full_map(source, {.read = kSourceRead, .known = {}})) return;
    add_principals(source, "principals", match.mutable_principals());
    add_principals(source, "notPrincipals", match.mutable_not_principals());
    add_trust_domains(source, "trustDomains", match.mutable_principals());
    add_trust_domains(source, "notTrustDomains", match.mutable_not_principals());
    add_namespaces(source, "namespaces", match.mutable_namespaces());
    add_namespaces(source, "notNamespaces", match.mutable_not_namespaces());
    add_accounts(source, "serviceAccounts", ns_, match.mutable_service_accounts());
    add_accounts(source, "notServiceAccounts", ns_, match.mutable_not_service_accounts());
    add_ranges(source, "ipBlocks", match.mutable_source_ips());
    add_ranges(source, "notIpBlocks", match.mutable_not_source_ips());
    const auto given = [&source](std::string_view name) { return source.has(name); };
    if (std::any_of(kPeerFields.begin(), kPeerFields.end(), given)) {
      for (std::string_view name : kAccountFields) {
        if (!source.has(name)) continue;
        source.error_at(name, kValueRejected, str_cat(name, " stands beside principals or namespaces"),
                        "use one of the two, or two entries of from");
      }
    }
    // On the wire a trust domain is how a principal begins, and of those any counts.
    if (source.has("trustDomains") && source.has("principals"))
      source.error_at("trustDomains", kValueRejected, "trustDomains stands beside principals",
                      "write the trust domain into each principal: cluster.local/ns/shop/sa/web");
    HttpTerms terms;
    add_ranges(source, "remoteIpBlocks", terms.mutable_remote_ips());
    add_ranges(source, "notRemoteIpBlocks", terms.mutable_not_remote_ips());
    attach(terms, match);
    TokenTerms token;
    add_texts(source, "requestPrincipals", token.mutable_request_principals());
    add_texts(source, "notRequestPrincipals", token.mutable_not_request_principals());
    attach(token, match);
  }

  void parse_operation(const FieldReader& operation, pb::Match& match) {
    if (!expect_full_map(operation, {.read = kOperationRead, .known = {}})) return;
    add_ports(operation, "ports", match.mutable_destination_ports());
    add_ports(operation, "notPorts", match.mutable_not_destination_ports());
    HttpTerms terms;
    add_texts(operation, "methods", terms.mutable_methods());
    add_texts(operation, "notMethods", terms.mutable_not_methods());
    add_texts(operation, "hosts", terms.mutable_hosts());
    add_texts(operation, "notHosts", terms.mutable_not_hosts());
    add_paths(operation, "paths", terms.mutable_paths(), terms.mutable_path_templates());
    add_paths(operation, "notPaths", terms.mutable_not_paths(), terms.mutable_not_path_templates());
    attach(terms, match);
  }

  void parse_condition(const FieldReader& condition, pb::Match& match) {
    if (!expect_full_map(condition, {.read = kConditionRead, .known = {}})) return;
    const std::string key = condition.required_text("key", "the attribute to compare, such as source.ip");
    if (key.empty()) return;
    if (!condition.has("values") && !condition.has("notValues")) {
      condition.error(kFieldMissing, "the condition has no values", "give values or notValues");
    }
    if (key == "source.ip") {
      add_ranges(condition, "values", match.mutable_source_ips());
      add_ranges(condition, "notValues", match.mutable_not_source_ips());
    } else if (key == "source.namespace") {
      add_namespaces(condition, "values", match.mutable_namespaces());
      add_namespaces(condition, "notValues", match.mutable_not_namespaces());
    } else if (key == "source.principal") {
      add_principals(condition, "values", match.mutable_principals());
      add_principals(condition, "notValues", match.mutable_not_principals());
    } else if (key == "source.trustDomain") {
      add_trust_domains(condition, "values", match.mutable_principals());
      add_trust_domains(condition, "notValues", match.mutable_not_principals());
    } else if (key == "source.serviceAccount") {
      add_accounts(condition, "values", ns_, match.mutable_service_accounts());
      add_accounts(condition, "notValues", ns_, match.mutable_not_service_accounts());
    } else if (key == "destination.ip") {
      add_ranges(condition, "values", match.mutable_destination_ips());
      add_ranges(condition, "notValues", match.mutable_not_destination_ips());
    } else if (key == "destination.port") {
      add_ports(condition, "values", match.mutable_destination_ports());
      add_ports(condition, "notValues", match.mutable_not_destination_ports());
    } else {
      parse_other_condition(condition, key, match);
    }
  }

  void parse_other_condition(const FieldReader& condition, const std::string& key, pb::Match& match) {
    if (key == "remote.ip") {
      HttpTerms terms;
      add_ranges(condition, "values", terms.mutable_remote_ips());
      add_ranges(condition, "notValues", terms.mutable_not_remote_ips());
      attach(terms, match);
    } else if (key == "connection.sni") {
      ConnectionTerms terms;
      add_texts(condition, "values", terms.mutable_server_names());
      add_texts(condition, "notValues", terms.mutable_not_server_names());
      attach(terms, match);
    } else if (const std::string_view header = name_in(kKeyMaps[0], key); !header.empty()) {
      parse_header(condition, header, match);
    } else if (key.starts_with(kTokenKeys)) {
      parse_token(condition, key, match);
    } else if (is_unchecked_key(key)) {
      for (std::string_view name : kConditionValues) check_texts(condition, name);
      add_unchecked(*condition.child("key"), key, match);
    } else {
      condition.error_at("key", kValueRejected, str_cat("\"", key.substr(0, 64), "\" is no attribute"),
                         remedy_for(key));
    }
  }

  void parse_header(const FieldReader& condition, std::string_view name, pb::Match& match) {
    // A pseudo-header would be what was sent, before it is normalised.
    if (name.find_first_of(":[] ") != std::string_view::npos) {
      condition.error_at("key", kValueRejected,
                         str_cat("\"", name.substr(0, 64), "\" is no name of a header"),
                         "name a header; for methods, paths and hosts use to[].operation");
      return;
    }
    HttpTerms terms;
    auto& header = *terms.add_headers();
    header.set_name(std::string(name));
    absl::AsciiStrToLower(header.mutable_name());
    add_texts(condition, "values", header.mutable_values());
    add_texts(condition, "notValues", header.mutable_not_values());
    attach(terms, match);
  }

  void parse_token(const FieldReader& condition, const std::string& key, pb::Match& match) {
    TokenTerms terms;
    if (key == "request.auth.principal") {
      add_texts(condition, "values", terms.mutable_request_principals());
      add_texts(condition, "notValues", terms.mutable_not_request_principals());
      return attach(terms, match);
    }
    weft::mesh::v1::ClaimTerm& claim = *terms.add_claims();
    if (key == "request.auth.audiences") {
      claim.add_claim("aud");
    } else if (key == "request.auth.presenter") {
      claim.add_claim("azp");
    } else if (!parse_claim_path(key, claim)) {
      condition.error_at("key", kValueRejected, str_cat("\"", key.substr(0, 64), "\" is no attribute"),
                         remedy_for(key));
      return;
    }
    add_texts(condition, "values", claim.mutable_values());
    add_texts(condition, "notValues", claim.mutable_not_values());
    attach(terms, match);
  }

  // "request.auth.claims[a][b]": b in a.
  static bool parse_claim_path(std::string_view key, weft::mesh::v1::ClaimTerm& out) {
    if (!key.starts_with(kKeyMaps[1])) return false;
    key.remove_prefix(kKeyMaps[1].size());
    while (!key.empty()) {
      const size_t end = key.find(']');
      if (key.front() != '[' || end == std::string_view::npos || end == 1) return false;
      const std::string_view name = key.substr(1, end - 1);
      if (name.find('[') != std::string_view::npos) return false;
      out.add_claim(std::string(name));
      key.remove_prefix(end + 1);
    }
    return !out.claim().empty();
  }

  static std::string remedy_for(const std::string& key) {
    for (std::string_view map : kKeyMaps) {
      if (key.starts_with(map)) return str_cat("write ", map, map.ends_with(".") ? "FILTER" : "", "[NAME]");
    }
    if (const auto guess = nearest(key, kPlainKeys)) return str_cat("did you mean \"", *guess, "\"?");
    return "use source.ip, source.namespace, source.principal, destination.ip or destination.port";
  }

  // A map, and a name in brackets that is not empty.
  static bool is_unchecked_key(const std::string& key) {
    const size_t open = key.find('[');
    if (open == std::string::npos || !key.ends_with("]") || open + 2 >= key.size()) return false;
    const std::string_view map = std::string_view(key).substr(0, open);
    return map.starts_with(kKeyMaps[2]) && map.size() > kKeyMaps[2].size();
  }

  void add_unchecked(const FieldReader& where, std::string name, const pb::Match& match) {
    out_.unchecked.push_back({.where = where, .name = std::move(name)});
    matches_.push_back(&match);
  }

  void weigh_unchecked() {
    const auto& clauses = out_.rule.clauses();
    const bool dead = std::any_of(clauses.begin(), clauses.end(), [](const pb::Clause& clause) {
      return std::all_of(clause.matches().begin(), clause.matches().end(), is_empty);
    });
    for (size_t i = 0; i < matches_.size(); ++i) {
      out_.unchecked[i].nothing_left = dead || is_empty(*matches_[i]);
    }
  }

  const std::string& ns_;
  PolicyRule out_;
  // Beside out_.unchecked: where the term would have gone.
  std::vector<const pb::Match*> matches_;
};

}  // namespace

PolicyRule parse_policy_rule(const FieldReader& rule, const std::string& ns) {
  return RuleParser(ns).run(rule);
}

}  // namespace weft::control_plane
