// Fuzz target of tokens: JSON, key sets, documents of issuers, headers, payloads and whole requests. Looks
// for a token that is believed though nobody here can sign, a key that no verification should use, JSON that
// does not read back as itself, and a head that the application gets otherwise than a request without tokens
// would have it.
#include <fuzzer/FuzzedDataProvider.h>

#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/escaping.h"
#include "base/json_text.h"
#include "base/strings.h"
#include "control-plane/resource/key_source.h"
#include "control-plane/source/issuer_document.h"
#include "proto/weft/mesh/v1/request_authentication.pb.h"
#include "userspace-proxy/http/path.h"
#include "userspace-proxy/policy/request_authentication.h"

namespace weft::proxy {
namespace {

// Whose private halves were thrown away.
constexpr char kKeys[] =
    R"({"keys":[{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",)"
    R"("y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0","kid":"a"}]})";

void require(bool condition) {
  if (!condition) std::abort();
}

std::string encoded(const std::string& bytes) {
  std::string out;
  absl::WebSafeBase64Escape(bytes, &out);
  while (out.ends_with('=')) out.pop_back();
  return out;
}

const TokenRulePtr& rule() {
  static const TokenRulePtr one = [] {
    mesh::v1::TokenRule rule;
    rule.set_issuer("i");
    rule.set_jwks(kKeys);
    rule.add_from_headers()->set_name("x-jwt");
    rule.mutable_from_headers(0)->set_prefix("p ");
    rule.add_from_params("t");
    rule.add_from_cookies("c");
    rule.set_output_payload_to_header("x-payload");
    rule.add_output_claims()->set_header("x-sub");
    rule.mutable_output_claims(0)->add_claim("sub");
    rule.add_space_delimited_claims("w");
    return *TokenRule::compile(rule);
  }();
  return one;
}

void read_text_as_json(const std::string& text) {
  const JsonLimits limits{.bytes = 4096, .depth = 8, .values = 256};
  const auto json = read_json(text, limits);
  if (!json.ok()) return;
  const auto again = read_json(json->dump(), {.bytes = 1 << 20, .depth = 8, .values = 256});
  require(again.ok() && *again == *json);
}

// Where an issuer's keys are is said by a document of the issuer's alone, and is encrypted as it is.
void read_issuer_document(const std::string& text) {
  const auto url = control_plane::jwks_uri_of(text, "https://i");
  if (url.ok()) require(control_plane::is_http_url(*url) && url->starts_with("https://"));
}

void read_keys(const std::string& text) {
  const auto set = JwkSet::parse(text);
  if (!set.ok()) return;
  require(!set->keys().empty() && set->keys().size() <= JwkSet::kMaxKeys);
  for (const Jwk& key : set->keys()) {
    require(key.key != nullptr);
    require(EVP_PKEY_get_bits(key.key.get()) >= (key.kind == Jwk::Kind::kRsa ? 2048 : 256));
    require(!key.algorithm || key_kind(*key.algorithm) == key.kind);
  }
}

void read_token(const std::string& token) {
  const auto read = UnprovedToken::read(token);
  if (read.ok()) require(!read->issuer().empty() && rule()->verify(*read, 1'000) == nullptr);
  const auto jws = read_jws(token);
  if (jws.ok()) require(encoded(jws->payload) == jws->encoded_payload);
}

void ask(FuzzedDataProvider& data) {
  static const RequestAuthentication rules({rule()});
  const std::string target = "/" + data.ConsumeRandomLengthString(512);
  RequestHead head;
  head.method = data.ConsumeBool() ? "GET" : "OPTIONS";
  head.target = target;
  if (!split_origin_form(head.target, &head) ||
      !normalise_target(PathNormalisation::kBase, &head.rewritten, &head))
    return;
  const std::string path(head.path);
  static constexpr const char* kNames[] = {
      "x-jwt", "X-SUB", "x-payload", "cookie", "origin", "access-control-request-method", "other"};
  std::vector<std::string> values;
  values.reserve(8);
  for (int n = data.ConsumeIntegralInRange(0, 8); n > 0; --n) {
    values.push_back(data.ConsumeRandomLengthString(256));
    head.headers.push_back({kNames[data.ConsumeIntegralInRange(0, 6)], values.back()});
  }
  TokenCache cache;
  VerifiedTokenPtr token;
  const bool passed = rules.authenticate(&head, 1'000, &cache, &token);
  require(token == nullptr && cache.size() == 0);
  require(head.path == path);
  if (!passed) return;
  require(
      head.target ==
      (head.query.data() == nullptr || head.query.empty() ? head.target : str_cat(path, "?", head.query)));
  for (const Header& header : head.headers)
    require(!equals_ignore_case(header.name, "x-sub") && !equals_ignore_case(header.name, "x-payload"));
}

}  // namespace
}  // namespace weft::proxy

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  FuzzedDataProvider data(bytes, size);
  switch (data.ConsumeIntegralInRange(0, 4)) {
    case 0: {
      const std::string text = data.ConsumeRemainingBytesAsString();
      weft::proxy::read_text_as_json(text);
      weft::proxy::read_issuer_document(text);
      break;
    }
    case 1:
      weft::proxy::read_keys(data.ConsumeRemainingBytesAsString());
      break;
    case 2:
      weft::proxy::read_token(data.ConsumeRemainingBytesAsString());
      break;
    case 3: {
      const std::string header = data.ConsumeRandomLengthString(512),
                        signature = data.ConsumeRandomLengthString(200);
      const std::string payload = data.ConsumeRemainingBytesAsString();
      weft::proxy::read_token(weft::str_cat(weft::proxy::encoded(header), ".", weft::proxy::encoded(payload),
                                            ".", weft::proxy::encoded(signature)));
      break;
    }
    default:
      weft::proxy::ask(data);
  }
  return 0;
}
