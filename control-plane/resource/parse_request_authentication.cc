// RequestAuthentication of Istio's security API: which tokens (JWT) requests may carry, and whose keys prove
// them.
#include <algorithm>
#include <array>

#include "absl/strings/ascii.h"
#include "base/jwk_set.h"
#include "base/strings.h"
#include "control-plane/resource/gateway_api.h"
#include "control-plane/resource/key_source.h"
#include "control-plane/resource/parse_object.h"
#include "control-plane/resource/policy_terms.h"

namespace weft::control_plane {
namespace {

namespace pb = weft::mesh::v1;
using Names = std::string_view;

constexpr std::array<Names, 4> kSpecRead = {"selector", "jwtRules", "targetRef", "targetRefs"};
constexpr std::array<Names, 1> kSelectorRead = {"matchLabels"};
constexpr std::array<Names, 4> kTargetRead = {"group", "kind", "name", "namespace"};
// As in Istio.
constexpr size_t kMaxTargets = 16;
constexpr std::array<Names, 13> kRuleRead = {"issuer",
                                             "audiences",
                                             "jwks",
                                             "jwksUri",
                                             "jwks_uri",
                                             "fromHeaders",
                                             "fromParams",
                                             "fromCookies",
                                             "outputPayloadToHeader",
                                             "outputClaimToHeaders",
                                             "forwardOriginalToken",
                                             "spaceDelimitedClaims",
                                             "timeout"};
constexpr std::array<Names, 2> kHeaderRead = {"name", "prefix"};
constexpr std::array<Names, 2> kClaimRead = {"header", "claim"};
// Of one object, as in Istio's own schema.
constexpr size_t kMaxRules = 4096;
constexpr size_t kMaxWordClaims = 64;

bool is_header_name(Names name) {
  static constexpr Names kMarks = "!#$%&'*+-.^_`|~";
  return !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || kMarks.find(c) != Names::npos;
  });
}

// Headers that frame or route the message, or are of one connection: nobody reads a token there.
bool is_reserved(Names name) {
  constexpr std::array<Names, 9> kReserved = {
      "host",    "content-length", "connection",      "keep-alive", "te", "transfer-encoding",
      "upgrade", "trailer",        "proxy-connection"};
  return std::find(kReserved.begin(), kReserved.end(), name) != kReserved.end();
}

// Lower case; "" when it was reported or is absent.
std::string header_name(const FieldReader& map, Names field) {
  const auto text = map.text(field);
  if (!text) return "";
  std::string name = absl::AsciiStrToLower(*text);
  if (is_header_name(name) && !is_reserved(name)) return name;
  map.error_at(field, kValueRejected,
               str_cat("\"", text->substr(0, 64), "\" is no header that could be used here"),
               "name a header of its own, such as x-jwt");
  return "";
}

std::vector<std::string> filled_texts(const FieldReader& rule, Names name) {
  std::vector<std::string> out = rule.texts(name);
  const auto list = rule.child(name);
  const bool empty = list && (out.empty() || std::find(out.begin(), out.end(), "") != out.end());
  if (empty && list->node().kind == YamlNode::Kind::kSequence)
    list->error(kFieldMissing, "the list has an empty value or none", "give values, or remove the field");
  return out;
}

void parse_selector(const FieldReader& spec, RequestAuthentication& out) {
  const auto selector = spec.child("selector");
  if (!selector || !expect_full_map(*selector, {.read = kSelectorRead, .known = {}})) return;
  const auto labels = selector->text_map("matchLabels");
  if (labels.empty())
    selector->error(kFieldMissing, "the selector has no labels",
                    "give matchLabels, or remove the selector to reach every pod of the namespace");
  for (const auto& [key, value] : labels) (*out.message.mutable_selector())[key] = value;
}

// Only where requests are judged: at pods, which a selector finds, and at gateways.
void parse_target(const FieldReader& target, RequestAuthentication& out) {
  if (!expect_full_map(target, {.read = kTargetRead, .known = {}})) return;
  const std::string kind = target.required_text("kind", "Gateway");
  const std::string group = target.text("group").value_or("");
  const std::string name = target.required_text("name", "the Gateway's name");
  if (kind.empty() || name.empty()) return;
  if (kind != "Gateway" || group != kGatewayGroup) {
    target.error_at("kind", kNotSupportedYet,
                    str_cat("rules for the tokens of a ", kind.substr(0, 64), " of the group \"",
                            group.substr(0, 64), "\" are not supported yet"),
                    "target a Gateway of the group gateway.networking.k8s.io, or use selector.matchLabels");
    return;
  }
  if (target.text("namespace").value_or(out.meta.ns) != out.meta.ns) {
    target.error_at("namespace", kValueRejected, "the object is for Gateways of its own namespace",
                    "remove the field, or write the object in the Gateway's namespace");
    return;
  }
  out.gateways.push_back(name);
}

void parse_targets(const FieldReader& spec, RequestAuthentication& out) {
  std::vector<FieldReader> targets = spec.items("targetRefs");
  if (const auto one = spec.child("targetRef")) targets.push_back(*one);
  if (targets.empty() && spec.has("targetRefs")) {
    spec.error_at("targetRefs", kFieldMissing, "the list is empty",
                  "name a Gateway, or remove the field to reach every pod of the namespace");
  }
  if (targets.size() > kMaxTargets)
    spec.error_at("targetRefs", kValueRejected, str_cat("more than ", kMaxTargets, " targets"),
                  "split the object");
  if (targets.empty()) return;
  if (spec.has("selector"))
    spec.error_at("selector", kValueRejected, "there is either a selector or targets", "remove one of them");
  out.message.set_gateways_only(true);
  for (const FieldReader& target : targets) parse_target(target, out);
}

void parse_headers(const FieldReader& rule, pb::TokenRule& out) {
  for (const FieldReader& item : rule.items("fromHeaders")) {
    if (!expect_full_map(item, {.read = kHeaderRead, .known = {}})) continue;
    pb::TokenHeader& header = *out.add_from_headers();
    if (!item.has("name")) item.error(kFieldMissing, "the header has no name", "give name, such as x-jwt");
    header.set_name(header_name(item, "name"));
    header.set_prefix(item.text("prefix").value_or(""));
  }
}

// "a.b" is b in a, as in Istio.
void add_claim_path(const std::string& text, pb::ClaimHeader& out) {
  size_t begin = 0;
  while (true) {
    const size_t dot = text.find('.', begin);
    out.add_claim(text.substr(begin, dot - begin));
    if (dot == std::string::npos) return;
    begin = dot + 1;
  }
}

void parse_claims(const FieldReader& rule, pb::TokenRule& out) {
  for (const FieldReader& item : rule.items("outputClaimToHeaders")) {
    if (!expect_full_map(item, {.read = kClaimRead, .known = {}})) continue;
    pb::ClaimHeader& claim = *out.add_output_claims();
    if (!item.has("header"))
      item.error(kFieldMissing, "the claim has no header", "give header, such as x-jwt-claim-sub");
    claim.set_header(header_name(item, "header"));
    const std::string path = item.required_text("claim", "the claim to write, such as sub or realm.name");
    add_claim_path(path, claim);
    if (!path.empty() && std::find(claim.claim().begin(), claim.claim().end(), "") != claim.claim().end())
      item.error_at("claim", kValueRejected, str_cat("\"", path.substr(0, 64), "\" names no claim"),
                    "write the names from the outermost object inwards with a dot between them");
  }
}

// Names of claims of the token itself: "a.b" is a name with a dot in it, as in Istio.
void parse_word_claims(const FieldReader& rule, pb::TokenRule& out) {
  for (std::string& name : filled_texts(rule, "spaceDelimitedClaims"))
    out.add_space_delimited_claims(std::move(name));
  if (static_cast<size_t>(out.space_delimited_claims_size()) > kMaxWordClaims)
    rule.error_at("spaceDelimitedClaims", kOverLimit, str_cat("more than ", kMaxWordClaims, " claims"),
                  "name those that rules ask about");
}

// By which OpenID Connect finds the keys. Empty: it was reported.
std::string issuer_source(const FieldReader& rule, const std::string& issuer) {
  if (issuer.empty()) return "";
  const bool bare = issuer.find_first_of("?#") == std::string::npos;
  if (bare && is_http_url(issuer)) return discovered_by(issuer);
  rule.error_at("issuer", kValueRejected,
                str_cat("\"", issuer.substr(0, 64),
                        bare ? "\" is no http or https URL" : "\" has a query or a fragment",
                        ", so that its keys cannot be found by it, and neither jwks nor jwksUri is given"),
                "give jwksUri or jwks, or an issuer such as https://HOST/PATH");
  return "";
}

void parse_keys(const FieldReader& rule, RequestAuthentication& out, pb::TokenRule& message) {
  const bool other_name = rule.has("jwks_uri");
  const Names uri_field = other_name ? "jwks_uri" : "jwksUri";
  std::string uri = rule.text(uri_field).value_or("");
  const std::string keys = rule.text("jwks").value_or("");
  if (!uri.empty() && !keys.empty()) {
    rule.error_at("jwks", kValueRejected, "jwks and jwksUri are both given", "keep one of them");
  } else if (!keys.empty()) {
    if (const auto set = JwkSet::parse(keys); !set.ok())
      rule.error_at("jwks", kValueRejected, std::string(set.status().message()),
                    "give a JSON Web Key Set with RSA or EC public keys");
    message.set_jwks(keys);
  } else if (uri.empty()) {
    uri = issuer_source(rule, message.issuer());
  } else if (!is_http_url(uri)) {
    rule.error_at(uri_field, kValueRejected, str_cat("\"", uri.substr(0, 64), "\" is no http or https URL"),
                  "write https://HOST/PATH, without a user name");
  }
  out.key_sources.push_back(keys.empty() ? uri : "");
}

void parse_rule(const FieldReader& rule, RequestAuthentication& out) {
  pb::TokenRule& message = *out.message.add_rules();
  if (!expect_full_map(rule, {.read = kRuleRead, .known = {}})) {
    out.key_sources.emplace_back();
    return;
  }
  message.set_issuer(rule.required_text("issuer", "who makes the tokens: their claim \"iss\""));
  for (std::string& audience : filled_texts(rule, "audiences")) message.add_audiences(std::move(audience));
  for (std::string& name : filled_texts(rule, "fromParams")) message.add_from_params(std::move(name));
  for (std::string& name : filled_texts(rule, "fromCookies")) message.add_from_cookies(std::move(name));
  parse_headers(rule, message);
  parse_claims(rule, message);
  parse_word_claims(rule, message);
  message.set_output_payload_to_header(header_name(rule, "outputPayloadToHeader"));
  message.set_forward_original_token(rule.boolean("forwardOriginalToken").value_or(false));
  parse_keys(rule, out, message);
  if (rule.has("timeout"))
    rule.child("timeout")->warning(kWithoutEffect, "the time limit of fetching keys is always five seconds",
                                   "remove the field");
}

}  // namespace

RequestAuthentication parse_request_authentication(const FieldReader& root, ObjectMeta meta) {
  RequestAuthentication out{.meta = std::move(meta), .message = {}, .key_sources = {}, .gateways = {}};
  out.message.set_name(out.meta.name);
  out.message.set_namespace_(out.meta.ns);
  out.message.set_every_namespace(out.meta.ns == kRootNamespace);
  const auto spec = root.child("spec");
  if (!spec || !expect_full_map(*spec, {.read = kSpecRead, .known = {}})) return out;
  parse_selector(*spec, out);
  parse_targets(*spec, out);
  for (const FieldReader& rule : spec->items("jwtRules")) {
    if (out.key_sources.size() == kMaxRules) {
      rule.error(kOverLimit, str_cat("more than ", kMaxRules, " rules"), "split the object");
      break;
    }
    parse_rule(rule, out);
  }
  return out;
}

}  // namespace weft::control_plane
