// tls_algorithms() of tls_algorithms.h: a built-in provider that passes on a part of the default one's
// answers. The code and its state are the default provider's, in a library context of its own that has all of
// it.
#include "userspace-proxy/tls/tls_algorithms.h"

#include <openssl/core.h>
#include <openssl/core_dispatch.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/provider.h>

#include <algorithm>
#include <array>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/strings.h"

namespace weft::proxy {
namespace {

using namespace std::string_view_literals;

// One row for each operation that is asked for, with the names of what is passed on. Keys of certificates, of
// key agreement, and those that the library's own derivations go by; ciphers of TLS 1.3, of session tickets
// and of the generator of random numbers.
struct Passed {
  int operation;
  std::span<const std::string_view> names;
};
constexpr std::array kKeys = {"EC"sv, "RSA"sv, "RSA-PSS"sv, "ED25519"sv, "X25519"sv, "HKDF"sv, "HMAC"sv};
constexpr std::array kDecoders = {"EC"sv, "RSA"sv, "RSA-PSS"sv, "ED25519"sv};
constexpr std::array kSignatures = {"RSA"sv, "ED25519"sv, "ECDSA"sv, "HMAC"sv};
constexpr std::array kAgreements = {"ECDH"sv, "X25519"sv, "HKDF"sv};
constexpr std::array kDigests = {"SHA1"sv, "SHA2-224"sv, "SHA2-256"sv, "SHA2-384"sv, "SHA2-512"sv};
constexpr std::array kCiphers = {"AES-128-GCM"sv, "AES-256-GCM"sv, "AES-256-CBC"sv, "AES-256-CTR"sv};
constexpr std::array kMacs = {"HMAC"sv};
constexpr std::array kDerivations = {"HKDF"sv, "TLS13-KDF"sv};
constexpr std::array kRandom = {"CTR-DRBG"sv, "SEED-SRC"sv};
constexpr std::array<Passed, 9> kPassed = {{{OSSL_OP_KEYMGMT, kKeys},
                                            {OSSL_OP_DECODER, kDecoders},
                                            {OSSL_OP_SIGNATURE, kSignatures},
                                            {OSSL_OP_KEYEXCH, kAgreements},
                                            {OSSL_OP_DIGEST, kDigests},
                                            {OSSL_OP_CIPHER, kCiphers},
                                            {OSSL_OP_MAC, kMacs},
                                            {OSSL_OP_KDF, kDerivations},
                                            {OSSL_OP_RAND, kRandom}}};

// Of "EC:id-ecPublicKey:1.2.840.10045.2.1" the first is the name.
bool is_one_of(const OSSL_ALGORITHM& algorithm, std::span<const std::string_view> wanted) {
  const std::string_view names = algorithm.algorithm_names;
  return std::find(wanted.begin(), wanted.end(), names.substr(0, names.find(':'))) != wanted.end();
}

// Decoders read also private keys, and text.
bool is_of_certificates(const OSSL_ALGORITHM& decoder) {
  const std::string properties = str_cat(",", decoder.property_definition, ",");
  const auto has = [&properties](const char* wanted) { return properties.find(wanted) != std::string::npos; };
  return has(",input=der,") && has(",structure=SubjectPublicKeyInfo,");
}

// What of the default provider is passed on.
class Part {
 public:
  // False: there is no default provider, or it has not all of what is needed.
  bool open(OSSL_PROVIDER* whole) {
    whole_ = whole;
    return whole != nullptr &&
           std::all_of(kPassed.begin(), kPassed.end(), [this](const Passed& passed) { return copy(passed); });
  }
  // Null: nothing.
  const OSSL_ALGORITHM* find(int operation) const {
    for (size_t i = 0; i < kPassed.size(); ++i) {
      if (kPassed[i].operation == operation) return tables_[i].data();
    }
    return nullptr;
  }
  OSSL_PROVIDER* whole() const { return whole_; }

 private:
  bool copy(const Passed& passed) {
    std::vector<OSSL_ALGORITHM>& into = tables_[static_cast<size_t>(&passed - kPassed.data())];
    int no_cache = 0;
    const OSSL_ALGORITHM* each = OSSL_PROVIDER_query_operation(whole_, passed.operation, &no_cache);
    for (; each != nullptr && each->algorithm_names != nullptr; ++each) {
      const bool wanted = passed.operation != OSSL_OP_DECODER || is_of_certificates(*each);
      if (wanted && is_one_of(*each, passed.names)) into.push_back(*each);
    }
    const bool complete = into.size() == passed.names.size();
    // Each table ends with an empty row.
    into.push_back(OSSL_ALGORITHM{});
    return complete;
  }

  OSSL_PROVIDER* whole_ = nullptr;
  std::array<std::vector<OSSL_ALGORITHM>, kPassed.size()> tables_;
};

// The library hands a provider nothing of ours when it starts it: there is one for the process.
Part& part() {
  static Part& made = *new Part;
  return made;
}

const OSSL_ALGORITHM* query(void*, int operation, int* no_cache) {
  *no_cache = 0;
  return part().find(operation);
}

int capabilities(void*, const char* name, OSSL_CALLBACK* each, void* argument) {
  return OSSL_PROVIDER_get_capabilities(part().whole(), name, each, argument);
}

int start(const OSSL_CORE_HANDLE*, const OSSL_DISPATCH*, const OSSL_DISPATCH** functions, void** state) {
  static const OSSL_DISPATCH kFunctions[] = {
      {OSSL_FUNC_PROVIDER_QUERY_OPERATION, reinterpret_cast<void (*)()>(&query)},
      {OSSL_FUNC_PROVIDER_GET_CAPABILITIES, reinterpret_cast<void (*)()>(&capabilities)},
      {0, nullptr}};
  *functions = kFunctions;
  // The implementations are made with it, and go on in the library context of the whole.
  *state = OSSL_PROVIDER_get0_provider_ctx(part().whole());
  return 1;
}

OSSL_LIB_CTX* make() {
  if (EVP_default_properties_is_fips_enabled(nullptr) == 1) return nullptr;
  // Never freed: certificates and keys that outlive every context refer to them.
  OSSL_LIB_CTX* const whole = OSSL_LIB_CTX_new();
  OSSL_LIB_CTX* const out = OSSL_LIB_CTX_new();
  if (whole == nullptr || out == nullptr || !part().open(OSSL_PROVIDER_load(whole, "default")) ||
      OSSL_PROVIDER_add_builtin(out, "weft", &start) != 1 || OSSL_PROVIDER_load(out, "weft") == nullptr) {
    ERR_clear_error();
    return nullptr;
  }
  return out;
}

}  // namespace

OSSL_LIB_CTX* tls_algorithms() {
  static OSSL_LIB_CTX* const made = make();
  return made;
}

}  // namespace weft::proxy
