// See issuer_document.h. Called by fetch_keys.cc.
#include "control-plane/source/issuer_document.h"

#include <nlohmann/json.hpp>

#include "base/json_text.h"
#include "base/jwk_set.h"
#include "base/printable.h"
#include "base/strings.h"
#include "control-plane/resource/key_source.h"

namespace weft::control_plane {
namespace {

constexpr JsonLimits kLimits{.bytes = JwkSet::kMaxBytes, .depth = 8, .values = 16 * 1024};
constexpr size_t kMaxUrlBytes = 2048;
constexpr size_t kShownBytes = 128;
constexpr char kNotHere[] = "see that the issuer publishes its OpenID configuration there, or give jwksUri";
constexpr char kNoUrl[] = "give jwksUri or jwks";

absl::Status wrong(std::string_view what, std::string_view next) {
  return absl::InvalidArgumentError(str_cat(what, "; next: ", next));
}

// Empty when it is not there, or no text.
std::string_view text_of(const nlohmann::json& object, const char* name) {
  const auto found = object.find(name);
  if (found == object.end() || !found->is_string()) return {};
  return found->get_ref<const std::string&>();
}

}  // namespace

absl::StatusOr<std::string> jwks_uri_of(std::string_view document, std::string_view issuer) {
  const auto json = read_json(document, kLimits);
  if (!json.ok()) return wrong(str_cat("it is no JSON (", json.status().message(), ")"), kNotHere);
  if (!json->is_object()) return wrong("it is no JSON object", kNotHere);
  const std::string_view named = text_of(*json, "issuer");
  if (named.empty()) return wrong("it names no issuer", kNotHere);
  if (named != issuer)
    return wrong(str_cat("it is of another issuer, \"", printable(named, kShownBytes), "\""),
                 "write that as the issuer, if the claim \"iss\" of tokens is that, or give jwksUri");
  const std::string_view url = text_of(*json, "jwks_uri");
  if (url.empty()) return wrong("it names no jwks_uri", kNoUrl);
  if (url.size() > kMaxUrlBytes || !is_http_url(url))
    return wrong(str_cat("its jwks_uri \"", printable(url, kShownBytes), "\" is no http or https URL"),
                 kNoUrl);
  if (issuer.starts_with("https://") && !url.starts_with("https://"))
    return wrong("its jwks_uri is not https, as the issuer is", kNoUrl);
  return std::string(url);
}

}  // namespace weft::control_plane
