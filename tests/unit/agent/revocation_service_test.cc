// What the proxy is told of revocation lists: as they are, and that one is too old is said and counted.
#include "agent/feed/revocation_service.h"

#include <gtest/gtest.h>
#include <openssl/pem.h>

#include "control-plane/identity/key_file.h"
#include "tests/unit/base/scratch_folder.h"
#include "tests/unit/identity/pki.h"

namespace weft::agent {
namespace {

// A list whose successor was due so many seconds from now.
std::string list(const test::Authority& authority, long seconds) {
  const auto lists = *read_crls(test::crl_pem(authority, {}));
  X509_CRL* const crl = lists.front().get();
  ASN1_TIME* const then = X509_gmtime_adj(nullptr, seconds);
  X509_CRL_set1_nextUpdate(crl, then);
  ASN1_TIME_free(then);
  X509_CRL_sign(crl, authority.key.get(), EVP_sha256());
  const BioPtr bio(BIO_new(BIO_s_mem()));
  PEM_write_bio_X509_CRL(bio.get(), crl);
  char* text = nullptr;
  const long length = BIO_get_mem_data(bio.get(), &text);
  return {text, static_cast<size_t>(length)};
}

TEST(RevocationServiceTest, AListThatIsTooOldIsStillGivenOutAndCounted) {
  const test::ScratchFolder folder;
  const auto authority =
      *control_plane::CertificateAuthority::open({.folder = folder.file("ca")}, absl::Now());
  const control_plane::CertificateService certificates(
      {.sign = control_plane::CertificateService::signed_by(*authority),
       .runs_on = [](const auto&, const auto&) { return true; },
       .node_of = control_plane::CertificateService::all_of("node")});
  RevocationService service([&authority] { return authority->revocations(); }, certificates);
  const auto ask = [&](const std::string& lists) {
    EXPECT_TRUE(control_plane::write_text_file(folder.file("ca/crl.pem"), lists).ok());
    proxy::v1::RevocationsResponse response;
    EXPECT_TRUE(service.Get(nullptr, nullptr, &response).ok());
    EXPECT_EQ(response.lists(), lists);
    return service.outdated();
  };
  const test::Authority other = test::make_authority("other");
  EXPECT_EQ(ask(""), 0u);
  EXPECT_EQ(ask(list(other, 3600)), 0u);
  EXPECT_EQ(ask(list(other, -3600) + list(other, 3600)), 1u);
  EXPECT_EQ(ask(list(other, 3600)), 0u) << "it was replaced";
}

}  // namespace
}  // namespace weft::agent
