// pki.h by OpenSSL; a failure of the library itself ends the test.
#include "tests/unit/identity/pki.h"

#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>

#include <cstdio>
#include <cstdlib>

namespace weft::test {
namespace {

void must(bool done) {
  if (done) return;
  std::fprintf(stderr, "a certificate of the test could not be made\n");
  std::abort();
}

std::string text_of(const BioPtr& bio) {
  char* text = nullptr;
  const long length = BIO_get_mem_data(bio.get(), &text);
  return std::string(text, static_cast<size_t>(length));
}

NamesPtr general_names(const Names& names) {
  NamesPtr out(sk_GENERAL_NAME_new_null());
  for (const auto& [type, text] : names) {
    GENERAL_NAME* name = GENERAL_NAME_new();
    ASN1_IA5STRING* value = ASN1_IA5STRING_new();
    must(ASN1_STRING_set(value, text.data(), static_cast<int>(text.size())) == 1);
    GENERAL_NAME_set0_value(name, type, value);
    sk_GENERAL_NAME_push(out.get(), name);
  }
  return out;
}

void add(X509* certificate, X509* issuer, int nid, const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value);
  must(extension != nullptr && X509_add_ext(certificate, extension, -1) == 1);
  X509_EXTENSION_free(extension);
}

X509Ptr blank(EVP_PKEY* key, long from, long to) {
  X509Ptr out(X509_new());
  must(X509_set_version(out.get(), X509_VERSION_3) == 1);
  uint64_t serial = 0;
  must(RAND_bytes(reinterpret_cast<unsigned char*>(&serial), sizeof(serial)) == 1);
  ASN1_INTEGER_set_uint64(X509_get_serialNumber(out.get()), serial >> 1);
  X509_gmtime_adj(X509_getm_notBefore(out.get()), from);
  X509_gmtime_adj(X509_getm_notAfter(out.get()), to);
  must(X509_set_pubkey(out.get(), key) == 1);
  return out;
}

// Keys of Edwards curves hash by themselves.
void sign(X509* certificate, EVP_PKEY* key, const EVP_MD* digest) {
  const bool chooses = EVP_PKEY_is_a(key, "ED25519") == 0 && EVP_PKEY_is_a(key, "ED448") == 0;
  must(X509_sign(certificate, key, chooses ? digest : nullptr) > 0);
}

}  // namespace

KeyPtr p256_key() { return KeyPtr(EVP_EC_gen("P-256")); }
KeyPtr p384_key() { return KeyPtr(EVP_EC_gen("P-384")); }
KeyPtr rsa_key() { return KeyPtr(EVP_RSA_gen(2048)); }
KeyPtr key_of(const char* kind) { return KeyPtr(EVP_PKEY_Q_keygen(nullptr, nullptr, kind)); }

std::string key_pem(EVP_PKEY* key) {
  const BioPtr bio(BIO_new(BIO_s_mem()));
  must(PEM_write_bio_PKCS8PrivateKey(bio.get(), key, nullptr, nullptr, 0, nullptr, nullptr) == 1);
  return text_of(bio);
}

std::string request_pem(EVP_PKEY* key, const RequestShape& shape) {
  const X509RequestPtr request(X509_REQ_new());
  must(X509_REQ_set_pubkey(request.get(), key) == 1);
  if (!shape.subject.empty()) {
    const auto* text = reinterpret_cast<const unsigned char*>(shape.subject.data());
    must(X509_NAME_add_entry_by_txt(X509_REQ_get_subject_name(request.get()), "CN", MBSTRING_UTF8, text,
                                    static_cast<int>(shape.subject.size()), -1, 0) == 1);
  }
  STACK_OF(X509_EXTENSION)* extensions = sk_X509_EXTENSION_new_null();
  if (!shape.names.empty())
    must(X509V3_add1_i2d(&extensions, NID_subject_alt_name, general_names(shape.names).get(), 1, 0) == 1);
  for (const auto& [nid, value] : shape.more)
    sk_X509_EXTENSION_push(extensions, X509V3_EXT_conf_nid(nullptr, nullptr, nid, value));
  if (sk_X509_EXTENSION_num(extensions) > 0) must(X509_REQ_add_extensions(request.get(), extensions) == 1);
  sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
  must(X509_REQ_sign(request.get(), shape.signed_by == nullptr ? key : shape.signed_by, shape.digest) > 0);
  const BioPtr bio(BIO_new(BIO_s_mem()));
  must(PEM_write_bio_X509_REQ(bio.get(), request.get()) == 1);
  return text_of(bio);
}

Authority make_authority(const char* name, const Authority* by, KeyPtr key) {
  Authority out{.certificate = nullptr, .key = key == nullptr ? p256_key() : std::move(key)};
  out.certificate = blank(out.key.get(), -3600, 30L * 24 * 3600);
  X509* certificate = out.certificate.get();
  X509* issuer = by == nullptr ? certificate : by->certificate.get();
  must(X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "O", MBSTRING_UTF8,
                                  reinterpret_cast<const unsigned char*>(name), -1, -1, 0) == 1);
  must(X509_set_issuer_name(certificate, X509_get_subject_name(issuer)) == 1);
  add(certificate, issuer, NID_basic_constraints, "critical,CA:TRUE");
  add(certificate, issuer, NID_key_usage, "critical,keyCertSign,cRLSign");
  add(certificate, issuer, NID_subject_key_identifier, "hash");
  sign(certificate, by == nullptr ? out.key.get() : by->key.get(), by == nullptr ? out.digest : by->digest);
  return out;
}

Leaf make_leaf(const Authority& authority, const LeafShape& shape) {
  Leaf out{.certificate = nullptr, .key = shape.key == nullptr ? p256_key() : share(shape.key)};
  out.certificate = blank(out.key.get(), shape.from_seconds, shape.to_seconds);
  X509* certificate = out.certificate.get();
  must(X509_set_issuer_name(certificate, X509_get_subject_name(authority.certificate.get())) == 1);
  add(certificate, authority.certificate.get(), NID_basic_constraints, "critical,CA:FALSE");
  add(certificate, authority.certificate.get(), NID_ext_key_usage, shape.usage);
  if (!shape.names.empty())
    must(X509_add1_ext_i2d(certificate, NID_subject_alt_name, general_names(shape.names).get(), 1, 0) == 1);
  sign(certificate, authority.key.get(), authority.digest);
  return out;
}

std::string crl_pem(const Authority& authority, const std::vector<X509*>& revoked) {
  const X509CrlPtr crl(X509_CRL_new());
  must(X509_CRL_set_version(crl.get(), X509_CRL_VERSION_2) == 1);
  must(X509_CRL_set_issuer_name(crl.get(), X509_get_subject_name(authority.certificate.get())) == 1);
  ASN1_TIME* time = X509_gmtime_adj(nullptr, -60);
  must(X509_CRL_set1_lastUpdate(crl.get(), time) == 1);
  X509_gmtime_adj(time, 3600);
  must(X509_CRL_set1_nextUpdate(crl.get(), time) == 1);
  X509_gmtime_adj(time, -60);
  for (X509* certificate : revoked) {
    X509_REVOKED* entry = X509_REVOKED_new();
    must(X509_REVOKED_set_serialNumber(entry, X509_get_serialNumber(certificate)) == 1);
    must(X509_REVOKED_set_revocationDate(entry, time) == 1);
    must(X509_CRL_add0_revoked(crl.get(), entry) == 1);
  }
  ASN1_TIME_free(time);
  must(X509_CRL_sign(crl.get(), authority.key.get(), EVP_sha256()) > 0);
  const BioPtr bio(BIO_new(BIO_s_mem()));
  must(PEM_write_bio_X509_CRL(bio.get(), crl.get()) == 1);
  return text_of(bio);
}

}  // namespace weft::test
