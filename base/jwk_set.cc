// See jwk_set.h.
#include "base/jwk_set.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/param_build.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/json_text.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace weft {
namespace {

using Json = nlohmann::json;
using BnPtr = std::unique_ptr<BIGNUM, FreeWith<BN_free>>;
using BuilderPtr = std::unique_ptr<OSSL_PARAM_BLD, FreeWith<OSSL_PARAM_BLD_free>>;
using ParamsPtr = std::unique_ptr<OSSL_PARAM, FreeWith<OSSL_PARAM_free>>;
using ContextPtr = std::unique_ptr<EVP_PKEY_CTX, FreeWith<EVP_PKEY_CTX_free>>;

constexpr int kMinRsaBits = 2048;
constexpr int kMaxRsaBits = 8192;
// Larger exponents make a verification expensive; nobody uses them.
constexpr int kMaxExponentBits = 33;

constexpr std::array<std::pair<std::string_view, JwsAlgorithm>, 9> kAlgorithms = {
    {{"RS256", JwsAlgorithm::kRs256},
     {"RS384", JwsAlgorithm::kRs384},
     {"RS512", JwsAlgorithm::kRs512},
     {"PS256", JwsAlgorithm::kPs256},
     {"PS384", JwsAlgorithm::kPs384},
     {"PS512", JwsAlgorithm::kPs512},
     {"ES256", JwsAlgorithm::kEs256},
     {"ES384", JwsAlgorithm::kEs384},
     {"ES512", JwsAlgorithm::kEs512}}};

struct Curve {
  std::string_view name;  // "crv"
  const char* group;      // OpenSSL's
  size_t size;            // of a coordinate, bytes
  Jwk::Kind kind;
};
constexpr std::array<Curve, 3> kCurves = {{{"P-256", "P-256", 32, Jwk::Kind::kP256},
                                           {"P-384", "P-384", 48, Jwk::Kind::kP384},
                                           {"P-521", "P-521", 66, Jwk::Kind::kP521}}};

// Members of private keys and shared secrets: who publishes them has a problem that must be told.
constexpr std::array<const char*, 8> kSecretMembers = {"d", "p", "q", "dp", "dq", "qi", "oth", "k"};

absl::Status wrong(std::string_view what) { return absl::InvalidArgumentError(to_absl(what)); }

// Empty when it is not there, or no text.
std::string_view text_of(const Json& object, const char* name) {
  const auto found = object.find(name);
  if (found == object.end() || !found->is_string()) return {};
  return found->get_ref<const std::string&>();
}

std::optional<std::string> bytes_of(const Json& object, const char* name) {
  const std::string_view text = text_of(object, name);
  return text.empty() ? std::nullopt : read_base64url(text);
}

BnPtr number(const std::string& bytes) {
  return BnPtr(BN_bin2bn(reinterpret_cast<const unsigned char*>(bytes.data()), static_cast<int>(bytes.size()),
                         nullptr));
}

absl::StatusOr<KeyPtr> make_public(const char* type, OSSL_PARAM_BLD* builder) {
  const ParamsPtr params(OSSL_PARAM_BLD_to_param(builder));
  const ContextPtr context(EVP_PKEY_CTX_new_from_name(nullptr, type, nullptr));
  EVP_PKEY* key = nullptr;
  const bool made = params != nullptr && context != nullptr && EVP_PKEY_fromdata_init(context.get()) == 1 &&
                    EVP_PKEY_fromdata(context.get(), &key, EVP_PKEY_PUBLIC_KEY, params.get()) == 1;
  KeyPtr owned(key);
  ERR_clear_error();
  if (!made) return wrong("its numbers are no public key");
  return owned;
}

absl::StatusOr<KeyPtr> rsa_key(const Json& object) {
  const auto modulus = bytes_of(object, "n");
  const auto exponent = bytes_of(object, "e");
  if (!modulus || !exponent) return wrong("n and e must be base64url");
  const BnPtr n = number(*modulus), e = number(*exponent);
  if (n == nullptr || e == nullptr) return wrong("n and e must be numbers");
  if (BN_num_bits(n.get()) < kMinRsaBits || BN_num_bits(n.get()) > kMaxRsaBits)
    return wrong("an RSA key must have 2048 to 8192 bits");
  const bool usable = BN_is_odd(n.get()) && BN_is_odd(e.get()) && BN_num_bits(e.get()) > 1 &&
                      BN_num_bits(e.get()) <= kMaxExponentBits;
  if (!usable) return wrong("n or e is no number of an RSA key");
  const BuilderPtr builder(OSSL_PARAM_BLD_new());
  if (builder == nullptr || OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_N, n.get()) != 1 ||
      OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_E, e.get()) != 1)
    return openssl_status("RSA key");
  return make_public("RSA", builder.get());
}

absl::StatusOr<KeyPtr> curve_key(const Json& object, const Curve& curve) {
  const auto x = bytes_of(object, "x"), y = bytes_of(object, "y");
  if (!x || !y || x->size() != curve.size || y->size() != curve.size)
    return wrong("x and y must be base64url of the curve's size");
  // Uncompressed (SEC 1 §2.3.3); OpenSSL refuses a point that is not on the curve.
  const std::string point = str_cat("\x04", *x, *y);
  const BuilderPtr builder(OSSL_PARAM_BLD_new());
  if (builder == nullptr ||
      OSSL_PARAM_BLD_push_utf8_string(builder.get(), OSSL_PKEY_PARAM_GROUP_NAME, curve.group, 0) != 1 ||
      OSSL_PARAM_BLD_push_octet_string(builder.get(), OSSL_PKEY_PARAM_PUB_KEY, point.data(), point.size()) !=
          1)
    return openssl_status("EC key");
  return make_public("EC", builder.get());
}

// For signatures, by "use" and "key_ops" (RFC 7517 §4.2, 4.3).
bool is_for_signatures(const Json& object) {
  const auto use = object.find("use");
  if (use != object.end() && *use != "sig") return false;
  const auto operations = object.find("key_ops");
  if (operations == object.end()) return true;
  return operations->is_array() &&
         std::find(operations->begin(), operations->end(), "verify") != operations->end();
}

// Null: it is of a kind, or for an algorithm, that is not used here.
absl::StatusOr<std::unique_ptr<Jwk>> read_key(const Json& object) {
  if (!object.is_object()) return wrong("no object");
  for (const char* name : kSecretMembers) {
    if (object.contains(name)) return wrong("it has secret members; publish the public key only");
  }
  if (!is_for_signatures(object)) return nullptr;
  auto out = std::make_unique<Jwk>();
  if (object.contains("kid")) {
    out->id = text_of(object, "kid");
    if (out->id.empty()) return wrong("kid must be a text");
  }
  if (object.contains("alg")) {
    out->algorithm = parse_jws_algorithm(text_of(object, "alg"));
    if (!out->algorithm) return nullptr;
  }
  const std::string_view type = text_of(object, "kty");
  if (type == "RSA") {
    ASSIGN_OR_RETURN(out->key, rsa_key(object));
  } else if (type == "EC") {
    const std::string_view name = text_of(object, "crv");
    const auto curve =
        std::find_if(kCurves.begin(), kCurves.end(), [name](const Curve& one) { return one.name == name; });
    if (curve == kCurves.end()) return nullptr;
    out->kind = curve->kind;
    ASSIGN_OR_RETURN(out->key, curve_key(object, *curve));
  } else {
    return nullptr;
  }
  if (out->algorithm && key_kind(*out->algorithm) != out->kind)
    return wrong("alg is not for a key of its kind");
  return out;
}

}  // namespace

std::optional<JwsAlgorithm> parse_jws_algorithm(std::string_view name) {
  for (const auto& [known, algorithm] : kAlgorithms) {
    if (known == name) return algorithm;
  }
  return std::nullopt;
}

Jwk::Kind key_kind(JwsAlgorithm algorithm) {
  switch (algorithm) {
    case JwsAlgorithm::kRs256:
    case JwsAlgorithm::kRs384:
    case JwsAlgorithm::kRs512:
    case JwsAlgorithm::kPs256:
    case JwsAlgorithm::kPs384:
    case JwsAlgorithm::kPs512:
      return Jwk::Kind::kRsa;
    case JwsAlgorithm::kEs256:
      return Jwk::Kind::kP256;
    case JwsAlgorithm::kEs384:
      return Jwk::Kind::kP384;
    case JwsAlgorithm::kEs512:
      return Jwk::Kind::kP521;
  }
  return Jwk::Kind::kRsa;
}

absl::StatusOr<JwkSet> JwkSet::parse(std::string_view json) {
  auto document = read_json(json, {.bytes = kMaxBytes, .depth = 8, .values = 16 * 1024});
  if (!document.ok()) return annotate("key set", document.status());
  const auto keys = document->is_object() ? document->find("keys") : document->end();
  if (!document->is_object() || keys == document->end() || !keys->is_array())
    return wrong("key set: no object with a list \"keys\"");
  if (keys->size() > kMaxKeys) return wrong(str_cat("key set: more than ", kMaxKeys, " keys"));
  JwkSet out;
  for (size_t i = 0; i < keys->size(); ++i) {
    auto key = read_key((*keys)[i]);
    if (!key.ok()) return annotate(str_cat("keys[", i, "]"), key.status());
    if (*key != nullptr) out.keys_.push_back(std::move(**key));
  }
  if (out.keys_.empty()) return wrong("key set: no RSA or EC key for signatures");
  return out;
}

std::optional<std::string> read_base64url(std::string_view text) {
  static constexpr auto kValues = [] {
    std::array<int8_t, 256> table{};
    table.fill(-1);
    constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    for (size_t i = 0; i < kDigits.size(); ++i)
      table[static_cast<unsigned char>(kDigits[i])] = static_cast<int8_t>(i);
    return table;
  }();
  if (text.size() % 4 == 1) return std::nullopt;
  std::string out;
  out.reserve(text.size() * 3 / 4);
  uint32_t held = 0;
  int bits = 0;
  for (const char c : text) {
    const int8_t value = kValues[static_cast<unsigned char>(c)];
    if (value < 0) return std::nullopt;
    held = (held << 6) | static_cast<uint32_t>(value);
    bits += 6;
    if (bits < 8) continue;
    bits -= 8;
    out.push_back(static_cast<char>((held >> bits) & 0xff));
  }
  if ((held & ((1u << bits) - 1)) != 0) return std::nullopt;
  return out;
}

}  // namespace weft
