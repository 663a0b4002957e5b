// parse_request(): what is signed, and each way in which a request is refused.
#include "control-plane/identity/certificate_request.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/identity/pki.h"

namespace weft::control_plane {
namespace {

using testing::HasSubstr;

constexpr char kWeb[] = "spiffe://cluster.local/ns/shop/sa/web";

test::Names only(const std::string& uri) { return {{GEN_URI, uri}}; }

TEST(CertificateRequestTest, ARequestForOneIdentityIsRead) {
  const KeyPtr key = test::p256_key();
  const auto request = parse_request(test::request_pem(key.get(), {.names = only(kWeb)}));
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->id.to_string(), kWeb);
  EXPECT_EQ(EVP_PKEY_eq(request->key.get(), key.get()), 1);
}

struct Wrong {
  const char* name;
  std::string pem;
  const char* reason;
};

std::vector<Wrong> wrong_requests() {
  const KeyPtr key = test::p256_key();
  const KeyPtr other = test::p256_key();
  const auto shaped = [&key](const test::RequestShape& shape) { return test::request_pem(key.get(), shape); };
  const std::string good = shaped({.names = only(kWeb)});
  return {
      {"NotPem", "hello", "not one CERTIFICATE REQUEST block"},
      {"Empty", "", "not one CERTIFICATE REQUEST block"},
      {"TwoBlocks", good + good, "not one CERTIFICATE REQUEST block"},
      {"TextBefore", "x\n" + good, "not one CERTIFICATE REQUEST block"},
      {"TooLong", good + std::string(16 * 1024, '\n'), "longer than 16 KiB"},
      {"NotBase64", "-----BEGIN CERTIFICATE REQUEST-----\n!!!!\n-----END CERTIFICATE REQUEST-----\n",
       "does not decode"},
      {"RsaKey", test::request_pem(test::rsa_key().get(), {.names = only(kWeb)}), "no ECDSA P-256 key"},
      {"P384Key", test::request_pem(test::p384_key().get(), {.names = only(kWeb)}), "no ECDSA P-256 key"},
      {"OtherDigest", shaped({.names = only(kWeb), .digest = EVP_sha384()}), "not ECDSA with SHA-256"},
      {"SomebodyElsesKey", shaped({.names = only(kWeb), .signed_by = other.get()}), "not made by its key"},
      {"Subject", shaped({.names = only(kWeb), .subject = "web"}), "asks for a subject"},
      {"NoExtension", shaped({}), "one attribute"},
      {"OtherExtension", shaped({.more = {{NID_key_usage, "digitalSignature"}}}), "not subjectAltName"},
      {"AuthorityToo", shaped({.names = only(kWeb), .more = {{NID_basic_constraints, "CA:TRUE"}}}),
       "one extension"},
      {"TwoIdentities",
       shaped({.names = {{GEN_URI, kWeb}, {GEN_URI, "spiffe://cluster.local/ns/shop/sa/db"}}}),
       "more than one name"},
      {"DnsNameToo", shaped({.names = {{GEN_URI, kWeb}, {GEN_DNS, "web.shop.svc"}}}), "more than one name"},
      {"DnsNameOnly", shaped({.names = {{GEN_DNS, "web.shop.svc"}}}), "no SPIFFE id"},
      {"NoSpiffeId", shaped({.names = only("https://web.shop")}), "no SPIFFE id"},
      {"NulInIdentity", shaped({.names = only(std::string(kWeb) + std::string("\0-evil", 6))}),
       "bytes that no URI has"},
  };
}

class WrongRequest : public testing::TestWithParam<Wrong> {};

TEST_P(WrongRequest, IsRefusedForItsReason) {
  const auto request = parse_request(GetParam().pem);
  ASSERT_FALSE(request.ok());
  EXPECT_THAT(std::string(request.status().message()), HasSubstr(GetParam().reason));
}

INSTANTIATE_TEST_SUITE_P(CertificateRequestTest, WrongRequest, testing::ValuesIn(wrong_requests()),
                         [](const auto& wrong) { return wrong.param.name; });

}  // namespace
}  // namespace weft::control_plane
