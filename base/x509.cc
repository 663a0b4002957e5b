// The readings of x509.h.
#include "base/x509.h"

#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>

#include <algorithm>
#include <array>
#include <climits>

#include "base/strings.h"

namespace weft {
namespace {

BioPtr reading(std::string_view text) {
  return BioPtr(BIO_new_mem_buf(text.data(), static_cast<int>(std::min<size_t>(text.size(), INT_MAX))));
}

// The PEM readers end with "no start line" when nothing more follows; anything else is a fault in the text.
bool at_end() {
  const unsigned long error = ERR_peek_last_error();
  const bool end = ERR_GET_LIB(error) == ERR_LIB_PEM && ERR_GET_REASON(error) == PEM_R_NO_START_LINE;
  if (end) ERR_clear_error();
  return end;
}

absl::Time to_time(const ASN1_TIME* time) {
  tm parts{};
  if (time == nullptr || ASN1_TIME_to_tm(time, &parts) != 1) return absl::InfinitePast();
  return absl::FromTM(parts, absl::UTCTimeZone());
}

constexpr std::array<std::string_view, 4> kKeys = {"RSA", "RSA-PSS", "EC", "ED25519"};
// As security level 2 of the library wants it: RSA of 2048 bits, curves of 224.
constexpr int kSecurityBits = 112;
constexpr std::array<int, 4> kDigests = {NID_sha224, NID_sha256, NID_sha384, NID_sha512};

std::string subject_of(X509* certificate) {
  char text[256] = "";
  X509_NAME_oneline(X509_get_subject_name(certificate), text, sizeof(text));
  // Of a workload's certificate the subject is empty.
  return text[0] == '\0' ? "the leaf" : str_cat("\"", text, "\"");
}

// Of Ed25519 there is no digest to choose.
bool has_known_signature(X509* certificate) {
  int digest = NID_undef, key = NID_undef;
  X509_get_signature_info(certificate, &digest, &key, nullptr, nullptr);
  return key == NID_ED25519 || std::find(kDigests.begin(), kDigests.end(), digest) != kDigests.end();
}

std::string_view text_of(const ASN1_STRING* string) {
  return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(string)),
          static_cast<size_t>(std::max(0, ASN1_STRING_length(string)))};
}

}  // namespace

absl::Status openssl_status(std::string_view what) {
  const unsigned long error = ERR_peek_last_error();
  const char* reason = ERR_reason_error_string(error);
  ERR_clear_error();
  return absl::InvalidArgumentError(
      str_cat(what, ": ", reason == nullptr ? "OpenSSL gives no reason" : reason));
}

X509Ptr share(X509* certificate) {
  if (certificate != nullptr) X509_up_ref(certificate);
  return X509Ptr(certificate);
}

KeyPtr share(EVP_PKEY* key) {
  if (key != nullptr) EVP_PKEY_up_ref(key);
  return KeyPtr(key);
}

absl::StatusOr<std::vector<X509Ptr>> read_certificates(std::string_view pem) {
  const BioPtr bio = reading(pem);
  std::vector<X509Ptr> out;
  while (X509* one = PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr)) out.emplace_back(one);
  if (!at_end()) return openssl_status("a certificate in PEM");
  if (out.empty()) return absl::InvalidArgumentError("no certificate in PEM");
  return out;
}

absl::StatusOr<KeyPtr> read_private_key(std::string_view pem) {
  const BioPtr bio = reading(pem);
  // Instead of the library's own, which asks at the terminal.
  const auto no_password = [](char*, int, int, void*) { return -1; };
  KeyPtr out(PEM_read_bio_PrivateKey(bio.get(), nullptr, no_password, nullptr));
  if (out == nullptr) return openssl_status("a private key in PEM");
  return out;
}

absl::StatusOr<std::vector<X509CrlPtr>> read_crls(std::string_view pem) {
  const BioPtr bio = reading(pem);
  std::vector<X509CrlPtr> out;
  while (X509_CRL* one = PEM_read_bio_X509_CRL(bio.get(), nullptr, nullptr, nullptr)) out.emplace_back(one);
  if (!at_end()) return openssl_status("a revocation list in PEM");
  if (out.empty() && !pem.empty())
    return absl::InvalidArgumentError("no revocation list in PEM (\"BEGIN X509 CRL\")");
  return out;
}

std::string to_pem(X509* certificate) {
  const BioPtr bio(BIO_new(BIO_s_mem()));
  if (PEM_write_bio_X509(bio.get(), certificate) != 1) return {};
  char* text = nullptr;
  const long length = BIO_get_mem_data(bio.get(), &text);
  return std::string(text, static_cast<size_t>(length));
}

absl::StatusOr<KeyPtr> make_key() {
  KeyPtr key(EVP_EC_gen("P-256"));
  if (key == nullptr) return openssl_status("make a P-256 key");
  return key;
}

bool is_p256(EVP_PKEY* key) {
  char name[80];
  size_t length = 0;
  return key != nullptr && EVP_PKEY_get_base_id(key) == EVP_PKEY_EC &&
         EVP_PKEY_get_group_name(key, name, sizeof(name), &length) == 1 &&
         OBJ_txt2nid(name) == NID_X9_62_prime256v1;
}

absl::Status check_algorithms(const STACK_OF(X509) * chain) {
  for (int i = 0; i < sk_X509_num(chain); ++i) {
    X509* const each = sk_X509_value(chain, i);
    const EVP_PKEY* const key = X509_get0_pubkey(each);
    const char* const kind = key == nullptr ? nullptr : EVP_PKEY_get0_type_name(key);
    if (kind == nullptr || std::find(kKeys.begin(), kKeys.end(), kind) == kKeys.end()) {
      ERR_clear_error();
      return absl::OutOfRangeError(str_cat("the key of ", subject_of(each), " is ",
                                           kind == nullptr ? "unknown" : kind,
                                           ", and TLS of the mesh takes RSA, ECDSA and Ed25519"));
    }
    if (EVP_PKEY_get_security_bits(key) < kSecurityBits)
      return absl::OutOfRangeError(str_cat("the key of ", subject_of(each), " has ", EVP_PKEY_get_bits(key),
                                           " bits, too few for ", kind));
    // Nobody checks that of the root.
    if (i + 1 < sk_X509_num(chain) && !has_known_signature(each))
      return absl::OutOfRangeError(str_cat("the signature of ", subject_of(each), " is by ",
                                           OBJ_nid2ln(X509_get_signature_nid(each)),
                                           ", and TLS of the mesh takes those over SHA-2, and Ed25519"));
  }
  return absl::OkStatus();
}

absl::Time not_before(X509* certificate) { return to_time(X509_get0_notBefore(certificate)); }
absl::Time not_after(X509* certificate) { return to_time(X509_get0_notAfter(certificate)); }

std::string serial_number(X509* certificate) {
  BIGNUM* number = ASN1_INTEGER_to_BN(X509_get0_serialNumber(certificate), nullptr);
  if (number == nullptr) return {};
  char* text = BN_bn2hex(number);
  std::string out = text == nullptr ? "" : text;
  OPENSSL_free(text);
  BN_free(number);
  return out;
}

SanReading read_san(const GENERAL_NAMES* names, bool others_allowed, SpiffeId* out) {
  const int count = names == nullptr ? 0 : sk_GENERAL_NAME_num(names);
  bool found = false;
  for (int i = 0; i < count; ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names, i);
    if (name->type != GEN_URI) continue;
    const std::string_view uri = text_of(name->d.uniformResourceIdentifier);
    // Whoever cut such a name at its NUL would read another one.
    if (!std::all_of(uri.begin(), uri.end(), [](char c) { return c > 0x20 && c < 0x7f; }))
      return SanReading::kBad;
    const std::optional<SpiffeId> id = found ? std::nullopt : SpiffeId::parse(uri);
    if (!id) continue;
    found = true;
    *out = *id;
  }
  if (!found) return SanReading::kNone;
  return count > 1 && !others_allowed ? SanReading::kOther : SanReading::kOk;
}

SanReading read_san(X509* certificate, SpiffeId* out) {
  int critical = 0;
  // With no index to go on from, an extension that exists twice is an error: critical becomes -2.
  const NamesPtr names(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, &critical, nullptr)));
  if (names == nullptr) {
    ERR_clear_error();
    return critical == -1 ? SanReading::kNone : SanReading::kBad;
  }
  return read_san(names.get(), true, out);
}

}  // namespace weft
