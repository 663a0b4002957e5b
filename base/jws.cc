// See jws.h.
#include "base/jws.h"

#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/rsa.h>

#include <array>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "base/json_text.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace weft {
namespace {

using DigestPtr = std::unique_ptr<EVP_MD_CTX, FreeWith<EVP_MD_CTX_free>>;
using EcSignaturePtr = std::unique_ptr<ECDSA_SIG, FreeWith<ECDSA_SIG_free>>;

// Tried for a token that names no key. More would make a bad token expensive.
constexpr int kMaxTries = 8;
constexpr JsonLimits kHeaderLimits = {.bytes = 4 * 1024, .depth = 4, .values = 256};
// They change what is signed or how it is read, and nothing here knows them.
constexpr std::array<const char*, 3> kExtensions = {"crit", "b64", "zip"};

absl::Status wrong(std::string_view what) { return absl::InvalidArgumentError(to_absl(what)); }

absl::Status read_header(std::string_view encoded, Jws* out) {
  const auto text = read_base64url(encoded);
  if (!text) return wrong("the header is no base64url");
  const auto header = read_json(*text, kHeaderLimits);
  if (!header.ok()) return annotate("the header", header.status());
  if (!header->is_object()) return wrong("the header is no object");
  for (const char* name : kExtensions) {
    if (header->contains(name)) return wrong("the header has an extension that is not known");
  }
  const auto algorithm = header->find("alg");
  if (algorithm == header->end() || !algorithm->is_string()) return wrong("the header names no algorithm");
  const auto known = parse_jws_algorithm(algorithm->get_ref<const std::string&>());
  if (!known) return wrong("the algorithm is none that proves who signed");
  out->algorithm = *known;
  const auto id = header->find("kid");
  if (id == header->end()) return absl::OkStatus();
  if (!id->is_string() || id->get_ref<const std::string&>().empty()) return wrong("kid is no text");
  out->key_id = id->get_ref<const std::string&>();
  return absl::OkStatus();
}

const EVP_MD* digest_of(JwsAlgorithm algorithm) {
  switch (algorithm) {
    case JwsAlgorithm::kRs256:
    case JwsAlgorithm::kPs256:
    case JwsAlgorithm::kEs256:
      return EVP_sha256();
    case JwsAlgorithm::kRs384:
    case JwsAlgorithm::kPs384:
    case JwsAlgorithm::kEs384:
      return EVP_sha384();
    case JwsAlgorithm::kRs512:
    case JwsAlgorithm::kPs512:
    case JwsAlgorithm::kEs512:
      return EVP_sha512();
  }
  return EVP_sha256();
}

bool is_pss(JwsAlgorithm algorithm) {
  return algorithm == JwsAlgorithm::kPs256 || algorithm == JwsAlgorithm::kPs384 ||
         algorithm == JwsAlgorithm::kPs512;
}

// Of one number of an EC signature (RFC 7518 §3.4).
size_t coordinate_size(Jwk::Kind kind) {
  switch (kind) {
    case Jwk::Kind::kRsa:
      return 0;
    case Jwk::Kind::kP256:
      return 32;
    case Jwk::Kind::kP384:
      return 48;
    case Jwk::Kind::kP521:
      return 66;
  }
  return 0;
}

// Both numbers in the form that OpenSSL takes; nullopt: it is none.
std::optional<std::string> to_der(const std::string& raw, size_t size) {
  if (raw.size() != 2 * size) return std::nullopt;
  const auto* bytes = reinterpret_cast<const unsigned char*>(raw.data());
  const EcSignaturePtr signature(ECDSA_SIG_new());
  BIGNUM* r = BN_bin2bn(bytes, static_cast<int>(size), nullptr);
  BIGNUM* s = BN_bin2bn(bytes + size, static_cast<int>(size), nullptr);
  if (signature == nullptr || r == nullptr || s == nullptr || ECDSA_SIG_set0(signature.get(), r, s) != 1) {
    BN_free(r);
    BN_free(s);
    return std::nullopt;
  }
  unsigned char* der = nullptr;
  const int length = i2d_ECDSA_SIG(signature.get(), &der);
  if (length <= 0) return std::nullopt;
  std::string out(reinterpret_cast<const char*>(der), static_cast<size_t>(length));
  OPENSSL_free(der);
  return out;
}

bool made_by(const Jws& token, EVP_PKEY* key, const std::string& signature) {
  const DigestPtr context(EVP_MD_CTX_new());
  EVP_PKEY_CTX* options = nullptr;  // of the context
  const EVP_MD* digest = digest_of(token.algorithm);
  bool ready = context != nullptr && EVP_DigestVerifyInit(context.get(), &options, digest, nullptr, key) == 1;
  if (ready && is_pss(token.algorithm)) {
    // RFC 7518 §3.5: MGF1 with the same digest, and a salt of its size.
    ready = EVP_PKEY_CTX_set_rsa_padding(options, RSA_PKCS1_PSS_PADDING) == 1 &&
            EVP_PKEY_CTX_set_rsa_mgf1_md(options, digest) == 1 &&
            EVP_PKEY_CTX_set_rsa_pss_saltlen(options, RSA_PSS_SALTLEN_DIGEST) == 1;
  }
  const bool proved =
      ready &&
      EVP_DigestVerify(context.get(), reinterpret_cast<const unsigned char*>(signature.data()),
                       signature.size(), reinterpret_cast<const unsigned char*>(token.signed_text.data()),
                       token.signed_text.size()) == 1;
  ERR_clear_error();
  return proved;
}

// The key says what it is for, the token what it claims; only where both agree a signature is looked at.
bool is_for(const Jwk& key, const Jws& token) {
  if (key.kind != key_kind(token.algorithm)) return false;
  if (key.algorithm && *key.algorithm != token.algorithm) return false;
  return token.key_id.empty() || key.id.empty() || key.id == token.key_id;
}

}  // namespace

absl::StatusOr<Jws> read_jws(std::string_view token) {
  if (token.size() > Jws::kMaxBytes) return wrong("the token is too long");
  const size_t first = token.find('.');
  const size_t second = first == std::string_view::npos ? first : token.find('.', first + 1);
  if (second == std::string_view::npos || token.find('.', second + 1) != std::string_view::npos)
    return wrong("the token has no three parts");
  Jws out;
  RETURN_IF_ERROR(read_header(token.substr(0, first), &out));
  out.signed_text = token.substr(0, second);
  out.encoded_payload = token.substr(first + 1, second - first - 1);
  auto payload = read_base64url(out.encoded_payload);
  auto signature = read_base64url(token.substr(second + 1));
  if (!payload) return wrong("the payload is no base64url");
  if (!signature || signature->empty()) return wrong("the signature is no base64url");
  out.payload = *std::move(payload);
  out.signature = *std::move(signature);
  return out;
}

JwsProof prove(const Jws& token, const JwkSet& keys) {
  const size_t size = coordinate_size(key_kind(token.algorithm));
  const std::optional<std::string> der =
      size == 0 ? std::optional(token.signature) : to_der(token.signature, size);
  int tries = 0;
  for (const Jwk& key : keys.keys()) {
    if (!is_for(key, token)) continue;
    if (!der || ++tries > kMaxTries) return JwsProof::kNotProved;
    if (made_by(token, key.key.get(), *der)) return JwsProof::kProved;
  }
  return tries == 0 ? JwsProof::kNoKey : JwsProof::kNotProved;
}

}  // namespace weft
