// See tokens.h.
#include "tests/unit/identity/tokens.h"

#include <gtest/gtest.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/rsa.h>

#include <vector>

#include "absl/strings/escaping.h"
#include "base/strings.h"

namespace weft::test {
namespace {

using BnPtr = std::unique_ptr<BIGNUM, FreeWith<BN_free>>;

std::string number_of(EVP_PKEY* key, const char* name, int size = 0) {
  BIGNUM* number = nullptr;
  EXPECT_EQ(EVP_PKEY_get_bn_param(key, name, &number), 1);
  const BnPtr owned(number);
  std::string out(static_cast<size_t>(size == 0 ? BN_num_bytes(number) : size), '\0');
  EXPECT_GE(BN_bn2binpad(number, reinterpret_cast<unsigned char*>(out.data()), static_cast<int>(out.size())),
            0);
  return base64url(out);
}

}  // namespace

std::string base64url(std::string_view bytes) {
  std::string out;
  absl::WebSafeBase64Escape(to_absl(bytes), &out);
  while (out.ends_with('=')) out.pop_back();
  return out;
}

std::string signature_of(const std::string& algorithm, EVP_PKEY* key, std::string_view text) {
  const std::string bits = algorithm.substr(2);
  const EVP_MD* digest = bits == "256" ? EVP_sha256() : bits == "384" ? EVP_sha384() : EVP_sha512();
  const std::unique_ptr<EVP_MD_CTX, FreeWith<EVP_MD_CTX_free>> context(EVP_MD_CTX_new());
  EVP_PKEY_CTX* options = nullptr;
  EXPECT_EQ(EVP_DigestSignInit(context.get(), &options, digest, nullptr, key), 1);
  if (algorithm.starts_with("PS")) {
    EVP_PKEY_CTX_set_rsa_padding(options, RSA_PKCS1_PSS_PADDING);
    EVP_PKEY_CTX_set_rsa_pss_saltlen(options, RSA_PSS_SALTLEN_DIGEST);
  }
  size_t size = 0;
  const auto* bytes = reinterpret_cast<const unsigned char*>(text.data());
  EXPECT_EQ(EVP_DigestSign(context.get(), nullptr, &size, bytes, text.size()), 1);
  std::string out(size, '\0');
  EXPECT_EQ(
      EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(out.data()), &size, bytes, text.size()),
      1);
  out.resize(size);
  if (!algorithm.starts_with("ES")) return out;
  const auto* at = reinterpret_cast<const unsigned char*>(out.data());
  const std::unique_ptr<ECDSA_SIG, FreeWith<ECDSA_SIG_free>> pair(
      d2i_ECDSA_SIG(nullptr, &at, static_cast<long>(out.size())));
  const int half = (EVP_PKEY_get_bits(key) + 7) / 8;
  std::string raw(2 * static_cast<size_t>(half), '\0');
  auto* to = reinterpret_cast<unsigned char*>(raw.data());
  BN_bn2binpad(ECDSA_SIG_get0_r(pair.get()), to, half);
  BN_bn2binpad(ECDSA_SIG_get0_s(pair.get()), to + half, half);
  return raw;
}

std::string sign_token(const std::string& algorithm, EVP_PKEY* key, const std::string& header,
                       const std::string& payload) {
  const std::string text = str_cat(base64url(header), ".", base64url(payload));
  return str_cat(text, ".", base64url(signature_of(algorithm, key, text)));
}

std::string make_token(const std::string& algorithm, EVP_PKEY* key, const std::string& payload,
                       std::string_view kid) {
  const std::string id = kid.empty() ? "" : str_cat(R"(,"kid":")", kid, "\"");
  return sign_token(algorithm, key, str_cat(R"({"alg":")", algorithm, "\"", id, "}"), payload);
}

KeyPtr ec_key(const char* curve) { return KeyPtr(EVP_EC_gen(curve)); }

KeyPtr rsa_key_of(unsigned bits) { return KeyPtr(EVP_RSA_gen(bits)); }

std::string jwk(EVP_PKEY* key, const std::string& more) {
  if (EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA) {
    return str_cat(R"({"kty":"RSA","n":")", number_of(key, OSSL_PKEY_PARAM_RSA_N), R"(","e":")",
                   number_of(key, OSSL_PKEY_PARAM_RSA_E), "\"", more, "}");
  }
  const int bits = EVP_PKEY_get_bits(key);
  const int size = (bits + 7) / 8;
  return str_cat(R"({"kty":"EC","crv":"P-)", bits, R"(","x":")",
                 number_of(key, OSSL_PKEY_PARAM_EC_PUB_X, size), R"(","y":")",
                 number_of(key, OSSL_PKEY_PARAM_EC_PUB_Y, size), "\"", more, "}");
}

std::string jwk_set(const std::string& keys) { return str_cat(R"({"keys":[)", keys, "]}"); }

}  // namespace weft::test
