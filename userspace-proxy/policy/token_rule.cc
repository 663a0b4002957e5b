// See token_rule.h.
#include "userspace-proxy/policy/token_rule.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "base/json_text.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "proto/weft/mesh/v1/request_authentication.pb.h"
#include "userspace-proxy/http/field_rules.h"

namespace weft::proxy {
namespace {

using Json = nlohmann::json;

// Claims that list words in one text in every token (RFC 8693 §4.2).
constexpr std::array<std::string_view, 2> kWordLists = {"scope", "permission"};
// Times beyond it are no times, and would overflow.
constexpr double kLastSecond = 1e15;

absl::Status wrong(std::string_view what) { return absl::InvalidArgumentError(to_absl(what)); }

std::string_view text_of(const Json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_string() ? std::string_view(found->get_ref<const std::string&>())
                                                     : std::string_view();
}

// A NumericDate (RFC 7519 §2). False: it is there and is none.
bool read_time(const Json& claims, const char* name, std::optional<int64_t>* out) {
  const auto found = claims.find(name);
  if (found == claims.end()) return true;
  if (!found->is_number()) return false;
  const double seconds = found->get<double>();
  if (!(seconds >= 0 && seconds <= kLastSecond)) return false;
  *out = static_cast<int64_t>(std::floor(seconds));
  return true;
}

bool is_for_any(const Json& claims, const std::vector<std::string>& audiences) {
  if (audiences.empty()) return true;
  const auto found = claims.find("aud");
  if (found == claims.end()) return false;
  const auto wanted = [&audiences](const Json& one) {
    return one.is_string() && std::find(audiences.begin(), audiences.end(),
                                        one.get_ref<const std::string&>()) != audiences.end();
  };
  return found->is_array() ? std::any_of(found->begin(), found->end(), wanted) : wanted(*found);
}

// Of one object: the claims, or what is within one of them.
class ClaimReader {
 public:
  // `words`: names of claims whose texts are lists of words.
  ClaimReader(const std::vector<std::string>& words, VerifiedToken* out) : words_(words), out_(out) {}

  // False: a name that would be taken for a path, or too much.
  bool read(const Json& object, const std::string& before = "") {
    for (const auto& [name, value] : object.items()) {
      if (name.find('\0') != std::string::npos) return false;
      const std::string key = before.empty() ? name : str_cat(before, std::string_view("\0", 1), name);
      if (value.is_object()) {
        if (!read(value, key)) return false;
      } else if (value.is_string()) {
        const auto& text = value.get_ref<const std::string&>();
        if (before.empty() && is_word_list(name) ? !add_words(key, text) : !add_text(key, text)) return false;
      } else if (value.is_array()) {
        for (const Json& one : value) {
          if (one.is_string() && !add_text(key, one.get_ref<const std::string&>())) return false;
        }
      }
    }
    return true;
  }

 private:
  bool is_word_list(const std::string& name) const {
    return std::find(kWordLists.begin(), kWordLists.end(), name) != kWordLists.end() ||
           std::find(words_.begin(), words_.end(), name) != words_.end();
  }

  // False: it is more than a token may say.
  bool add_text(const std::string& key, std::string_view text) {
    // About what a node of the map costs, and a short text in a list.
    constexpr size_t kNode = 160, kText = 64;
    const auto [claim, is_new] = out_->claims.try_emplace(key);
    if (is_new) out_->claim_bytes += kNode + key.size();
    claim->second.emplace_back(text);
    out_->claim_bytes += kText + text.size();
    return out_->claim_bytes <= TokenRule::kMaxClaimBytes;
  }

  bool add_words(const std::string& key, std::string_view text) {
    while (!text.empty()) {
      const size_t space = std::min(text.find(' '), text.size());
      if (space > 0 && !add_text(key, text.substr(0, space))) return false;
      text.remove_prefix(std::min(space + 1, text.size()));
    }
    return true;
  }

  const std::vector<std::string>& words_;
  VerifiedToken* out_;
};

// Empty without a subject.
std::string principal_of(const std::string& issuer, const Json& claims) {
  const std::string_view subject = text_of(claims, "sub");
  return subject.empty() ? std::string() : str_cat(issuer, "/", subject);
}

// Nothing that ends a field or makes a server read it in two ways.
bool is_field_value(std::string_view text) {
  return std::none_of(text.begin(), text.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte < 0x20 || byte == 0x7f;
  });
}

// nullopt: the token has none that a header can carry.
std::optional<std::string> header_value(const Json& claims, const std::vector<std::string>& path) {
  const Json* at = &claims;
  for (const std::string& name : path) {
    if (!at->is_object()) return std::nullopt;
    const auto found = at->find(name);
    if (found == at->end()) return std::nullopt;
    at = &*found;
  }
  if (at->is_boolean() || at->is_number_integer()) return at->dump();
  if (!at->is_string() || !is_field_value(at->get_ref<const std::string&>())) return std::nullopt;
  return at->get<std::string>();
}

bool is_header_name(std::string_view name) {
  const auto upper = [](char c) { return c >= 'A' && c <= 'Z'; };
  return is_token(name) && std::none_of(name.begin(), name.end(), upper) && !is_connection_field(name) &&
         name != "host" && name != "content-length";
}

}  // namespace

std::string claim_key(const std::vector<std::string>& path) {
  std::string out;
  for (const std::string& name : path) {
    if (!out.empty()) out.push_back('\0');
    out += name;
  }
  return out;
}

struct UnprovedToken::Parts {
  std::string_view text;
  Jws jws;
  Json claims;
  std::string issuer;
};

UnprovedToken::UnprovedToken(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
UnprovedToken::UnprovedToken(UnprovedToken&&) noexcept = default;
UnprovedToken::~UnprovedToken() = default;
const std::string& UnprovedToken::issuer() const { return parts_->issuer; }

absl::StatusOr<UnprovedToken> UnprovedToken::read(std::string_view token) {
  auto parts = std::make_unique<Parts>();
  parts->text = token;
  ASSIGN_OR_RETURN(parts->jws, read_jws(token));
  auto claims = read_json(parts->jws.payload, JsonLimits());
  if (!claims.ok()) return annotate("the payload", claims.status());
  if (!claims->is_object()) return wrong("the payload is no object");
  parts->claims = *std::move(claims);
  parts->issuer = text_of(parts->claims, "iss");
  if (parts->issuer.empty()) return wrong("the payload names no issuer");
  return UnprovedToken(std::move(parts));
}

absl::StatusOr<TokenRulePtr> TokenRule::compile(const mesh::v1::TokenRule& rule) {
  auto out = std::make_shared<TokenRule>();
  if (rule.issuer().empty()) return wrong("a rule without an issuer");
  out->issuer_ = rule.issuer();
  out->audiences_.assign(rule.audiences().begin(), rule.audiences().end());
  if (!rule.jwks().empty()) {
    ASSIGN_OR_RETURN(out->keys_, JwkSet::parse(rule.jwks()));
  }
  for (const auto& header : rule.from_headers()) {
    const bool bearer = header.prefix() == "Bearer ";
    out->headers_.push_back({header.name(), header.prefix(), bearer});
  }
  out->params_.assign(rule.from_params().begin(), rule.from_params().end());
  out->cookies_.assign(rule.from_cookies().begin(), rule.from_cookies().end());
  if (out->headers_.empty() && out->params_.empty() && out->cookies_.empty()) {
    out->headers_.push_back({"authorization", "Bearer ", true});
    out->params_.emplace_back("access_token");
  }
  out->payload_header_ = rule.output_payload_to_header();
  for (const auto& claim : rule.output_claims()) {
    if (claim.claim().empty()) return wrong("a header for a claim that is not named");
    out->claim_headers_.push_back({claim.header(), {claim.claim().begin(), claim.claim().end()}});
  }
  out->forwards_token_ = rule.forward_original_token();
  out->word_claims_.assign(rule.space_delimited_claims().begin(), rule.space_delimited_claims().end());
  std::vector<std::string_view> names;
  for (const Place& place : out->headers_) names.push_back(place.header);
  for (const ClaimHeader& header : out->claim_headers_) names.push_back(header.header);
  if (!out->payload_header_.empty()) names.push_back(out->payload_header_);
  if (!std::all_of(names.begin(), names.end(), is_header_name))
    return wrong("a name that no header here may have");
  return out;
}

VerifiedTokenPtr TokenRule::verify(const UnprovedToken& token, int64_t now) const {
  const UnprovedToken::Parts& parts = *token.parts_;
  const Json& claims = parts.claims;
  std::optional<int64_t> expires, not_before;
  // What is cheap first: who sends many bad tokens pays with little of our time.
  if (parts.issuer != issuer_ || !is_for_any(claims, audiences_)) return nullptr;
  if (!read_time(claims, "exp", &expires) || !read_time(claims, "nbf", &not_before)) return nullptr;
  auto out = std::make_shared<VerifiedToken>();
  if (not_before) out->good_from = *not_before - kSkewSeconds;
  if (expires) out->good_until = *expires + kSkewSeconds;
  if (!out->good_at(now) || prove(parts.jws, keys_) != JwsProof::kProved) return nullptr;
  if (!ClaimReader(word_claims_, out.get()).read(claims)) return nullptr;
  out->text = parts.text;
  out->encoded_payload = std::string_view(out->text).substr(
      static_cast<size_t>(parts.jws.encoded_payload.data() - parts.text.data()),
      parts.jws.encoded_payload.size());
  out->principal = principal_of(issuer_, claims);
  for (const ClaimHeader& header : claim_headers_) {
    if (auto value = header_value(claims, header.claim))
      out->headers.emplace_back(header.header, *std::move(value));
  }
  return out;
}

absl::StatusOr<VerifiedTokenPtr> TokenRule::as_if_proved(std::string_view claims) const {
  const auto object = read_json(claims, JsonLimits());
  if (!object.ok()) return annotate("the claims", object.status());
  if (!object->is_object()) return wrong("the claims are no JSON object");
  if (text_of(*object, "iss") != issuer_ || !is_for_any(*object, audiences_)) return nullptr;
  auto out = std::make_shared<VerifiedToken>();
  if (!ClaimReader(word_claims_, out.get()).read(*object)) return nullptr;
  out->principal = principal_of(issuer_, *object);
  return out;
}

}  // namespace weft::proxy
