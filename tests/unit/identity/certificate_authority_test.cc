// CertificateAuthority: its folder, what it signs, for how long, and what of it is removed.
#include "control-plane/identity/certificate_authority.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/err.h>
#include <sys/stat.h>

#include <filesystem>

#include "control-plane/identity/key_file.h"
#include "tests/unit/base/scratch_folder.h"
#include "tests/unit/identity/pki.h"

namespace weft::control_plane {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::SizeIs;

constexpr char kWeb[] = "spiffe://cluster.local/ns/shop/sa/web";

class CertificateAuthorityTest : public testing::Test {
 protected:
  std::string file(const char* name) const { return folder_.file(name); }
  absl::StatusOr<std::unique_ptr<CertificateAuthority>> open(absl::Time now = absl::Now()) const {
    return CertificateAuthority::open({.folder = folder_.path()}, now);
  }
  static CertificateRequest request(const std::string& id = kWeb) {
    const KeyPtr key = test::p256_key();
    auto parsed = parse_request(test::request_pem(key.get(), {.names = {{GEN_URI, id}}}));
    return *std::move(parsed);
  }
  static X509Ptr first(const std::string& pem) { return std::move((*read_certificates(pem))[0]); }

  const test::ScratchFolder folder_;
};

// Whether OpenSSL, asked as any peer would, accepts the first certificate.
bool accepted(const std::vector<std::string>& chain, const std::string& bundle, absl::Time now) {
  X509_STORE* store = X509_STORE_new();
  const std::vector<X509Ptr> roots = *read_certificates(bundle);
  for (const X509Ptr& root : roots) X509_STORE_add_cert(store, root.get());
  std::vector<X509Ptr> held;
  for (size_t i = 0; i + 1 < chain.size(); ++i) held.push_back(std::move((*read_certificates(chain[i]))[0]));
  STACK_OF(X509)* between = sk_X509_new_null();
  for (size_t i = 1; i < held.size(); ++i) sk_X509_push(between, held[i].get());
  X509_STORE_CTX* context = X509_STORE_CTX_new();
  X509_STORE_CTX_init(context, store, held[0].get(), between);
  X509_STORE_CTX_set_time(context, 0, absl::ToTimeT(now));
  const bool good = X509_verify_cert(context) == 1;
  ERR_clear_error();
  X509_STORE_CTX_free(context);
  sk_X509_free(between);
  X509_STORE_free(store);
  return good;
}

void write(const std::string& path, const std::string& text, mode_t mode) {
  ASSERT_TRUE(write_text_file(path, text).ok());
  ASSERT_EQ(::chmod(path.c_str(), mode), 0);
}

TEST_F(CertificateAuthorityTest, AVolumeOfASecretHasLinksAndFilesThatItsGroupReads) {
  ASSERT_TRUE(open().ok());
  ASSERT_EQ(::mkdir(file("data").c_str(), 0755), 0);
  for (const char* name : {"ca.crt", "ca.key"}) {
    std::filesystem::rename(file(name), file("data/") + name);
    std::filesystem::create_symlink(std::string("data/") + name, file(name));
  }
  ASSERT_EQ(::chmod(file("data/ca.key").c_str(), 0640), 0);
  EXPECT_THAT(open().status().ToString(), HasSubstr("is a link"));
  const auto mounted = [this] {
    return CertificateAuthority::open({.folder = folder_.path(), .mounted = true}, absl::Now()).status();
  };
  EXPECT_TRUE(mounted().ok()) << mounted();
  ASSERT_EQ(::chmod(file("data/ca.key").c_str(), 0644), 0);
  EXPECT_THAT(mounted().ToString(), HasSubstr("can be read by others"));
}

TEST_F(CertificateAuthorityTest, AVolumeWithoutAnAuthorityIsAnErrorAndNothingIsMadeThere) {
  for (const std::string& folder : {folder_.path(), file("missing")}) {
    const absl::Status status =
        CertificateAuthority::open({.folder = folder, .mounted = true}, absl::Now()).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(status.ToString(), HasSubstr(folder + " has no ca.crt and no ca.key"));
    EXPECT_THAT(status.ToString(), HasSubstr("next: "));
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder_.path())) << "nor the folder that is missing";
}

TEST_F(CertificateAuthorityTest, AServersCertificateHasItsNamesAndLeadsToTheRoot) {
  const auto authority = open();
  ASSERT_TRUE(authority.ok());
  const KeyPtr key = test::p256_key();
  const auto chain = (*authority)->sign_server(key.get(), {"control.example", "127.0.0.1"}, absl::Now());
  ASSERT_TRUE(chain.ok()) << chain.status();
  const X509Ptr leaf = first(*chain);
  EXPECT_EQ(X509_check_host(leaf.get(), "control.example", 0, 0, nullptr), 1);
  EXPECT_EQ(X509_check_ip_asc(leaf.get(), "127.0.0.1", 0), 1);
  EXPECT_NE(X509_check_host(leaf.get(), "other.example", 0, 0, nullptr), 1);
  EXPECT_EQ(X509_verify(leaf.get(), X509_get0_pubkey(first((*authority)->bundle()).get())), 1);
  for (const std::string& bad : {"", "a,DNS:b", "a b"})
    EXPECT_FALSE((*authority)->sign_server(key.get(), {bad}, absl::Now()).ok()) << bad;
  EXPECT_FALSE((*authority)->sign_server(key.get(), {}, absl::Now()).ok());
}

TEST_F(CertificateAuthorityTest, TheFirstStartMakesARootThatTheNextOneFinds) {
  const auto once = open();
  ASSERT_TRUE(once.ok()) << once.status();
  struct stat st{};
  ASSERT_EQ(::stat(file("ca.key").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0600u);
  const auto again = open();
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ((*once)->bundle(), (*again)->bundle());
}

TEST_F(CertificateAuthorityTest, ALeafNamesItsWorkloadAndIsGoodForADay) {
  const absl::Time now = absl::Now();
  const auto authority = open();
  ASSERT_TRUE(authority.ok()) << authority.status();
  const auto chain = (*authority)->sign(request(), absl::ZeroDuration(), now);
  ASSERT_TRUE(chain.ok()) << chain.status();
  ASSERT_THAT(*chain, SizeIs(2));
  EXPECT_TRUE(accepted(*chain, chain->back(), now));
  const X509Ptr leaf = first(chain->front());
  SpiffeId id;
  EXPECT_EQ(read_san(leaf.get(), &id), SanReading::kOk);
  EXPECT_EQ(id.to_string(), kWeb);
  EXPECT_NEAR(absl::ToDoubleHours(not_after(leaf.get()) - now), 24, 0.01);
  EXPECT_EQ(X509_check_ca(leaf.get()), 0);
  EXPECT_EQ(X509_get_extended_key_usage(leaf.get()), uint32_t{XKU_SSL_SERVER | XKU_SSL_CLIENT});
}

TEST_F(CertificateAuthorityTest, AShorterLifeIsGivenAndALongerOneIsNot) {
  const absl::Time now = absl::Now();
  const auto authority = open();
  const auto brief = (*authority)->sign(request(), absl::Minutes(5), now);
  const auto greedy = (*authority)->sign(request(), absl::Hours(1000), now);
  EXPECT_NEAR(absl::ToDoubleMinutes(not_after(first(brief->front()).get()) - now), 5, 0.1);
  EXPECT_NEAR(absl::ToDoubleHours(not_after(first(greedy->front()).get()) - now), 24, 0.01);
}

TEST_F(CertificateAuthorityTest, AnotherTrustDomainIsRefused) {
  const auto authority = open();
  const auto chain =
      (*authority)->sign(request("spiffe://elsewhere/ns/shop/sa/web"), absl::ZeroDuration(), absl::Now());
  EXPECT_TRUE(absl::IsPermissionDenied(chain.status())) << chain.status();
}

TEST_F(CertificateAuthorityTest, AKeyThatOthersCanReadStopsTheStart) {
  ASSERT_TRUE(open().ok());
  ASSERT_EQ(::chmod(file("ca.key").c_str(), 0640), 0);
  const auto authority = open();
  ASSERT_FALSE(authority.ok());
  EXPECT_THAT(std::string(authority.status().message()), HasSubstr("next: chmod 0600"));
}

TEST_F(CertificateAuthorityTest, AKeyOfAnotherCertificateStopsTheStart) {
  ASSERT_TRUE(open().ok());
  write(file("ca.key"), test::key_pem(test::p256_key().get()), 0600);
  const auto authority = open();
  ASSERT_FALSE(authority.ok());
  EXPECT_THAT(std::string(authority.status().message()), HasSubstr("is not the key of"));
}

TEST_F(CertificateAuthorityTest, AnAuthorityThatHasExpiredStartsAndSignsNothing) {
  ASSERT_TRUE(open().ok());
  const absl::Time later = absl::Now() + absl::Hours(11 * 366 * 24);
  const auto authority = open(later);
  ASSERT_TRUE(authority.ok()) << authority.status();
  const auto chain = (*authority)->sign(request(), absl::ZeroDuration(), later);
  EXPECT_TRUE(absl::IsFailedPrecondition(chain.status())) << chain.status();
  EXPECT_THAT(std::string(chain.status().message()), HasSubstr("next: replace"));
}

TEST_F(CertificateAuthorityTest, NearItsEndLeavesEndWithItAndInItsLastMinuteNoneIsMade) {
  const absl::Time begin = absl::Now();
  const auto authority =
      CertificateAuthority::open({.folder = folder_.path(), .root_lifetime = absl::Hours(10)}, begin);
  ASSERT_TRUE(authority.ok()) << authority.status();
  const absl::Time end = (*authority)->roots()[0].to;
  const auto last = (*authority)->sign(request(), absl::ZeroDuration(), end - absl::Minutes(2));
  ASSERT_TRUE(last.ok()) << last.status();
  EXPECT_EQ(not_after(first(last->front()).get()), end);
  const auto late = (*authority)->sign(request(), absl::ZeroDuration(), end - absl::Seconds(59));
  EXPECT_TRUE(absl::IsFailedPrecondition(late.status())) << late.status();
}

TEST_F(CertificateAuthorityTest, OnlyARootThatItMadeIsRemoved) {
  ASSERT_TRUE(open().ok());
  const test::Authority theirs = test::make_authority("theirs");
  const auto own = read_text_file(file("ca.crt"));
  write(file("ca.crt"), to_pem(theirs.certificate.get()), 0644);
  CertificateAuthority::remove_made(folder_.path());
  EXPECT_TRUE(std::filesystem::exists(file("ca.crt")));
  EXPECT_TRUE(std::filesystem::exists(file("ca.key")));
  write(file("ca.crt"), *own, 0644);
  CertificateAuthority::remove_made(folder_.path());
  EXPECT_FALSE(std::filesystem::exists(file("ca.crt")));
  EXPECT_FALSE(std::filesystem::exists(file("ca.key")));
}

TEST_F(CertificateAuthorityTest, AnotherRootFollowsInStepsThatEverybodyCanKeepUpWith) {
  using Step = CertificateAuthority::Step;
  auto authority = *open();
  const absl::Time now = absl::Now();
  const std::string old_bundle = authority->bundle();
  const auto leaf = [&] { return *authority->sign(request(), absl::ZeroDuration(), now); };
  const auto old_leaf = leaf();

  ASSERT_EQ(*authority->rotate(now), Step::kNextTrusted);
  EXPECT_TRUE(accepted(leaf(), old_bundle, now)) << "the old one signs";
  EXPECT_THAT(authority->roots(), SizeIs(2));
  authority = *open();
  EXPECT_THAT(authority->roots(), SizeIs(2)) << "also of the next process";
  const std::string both = authority->bundle();

  ASSERT_EQ(*authority->rotate(now), Step::kNextSigns);
  authority = *open();
  EXPECT_FALSE(accepted(leaf(), old_bundle, now));
  EXPECT_TRUE(accepted(leaf(), both, now));
  EXPECT_TRUE(accepted(old_leaf, authority->bundle(), now)) << "what the old one signed is still good";

  ASSERT_EQ(*authority->rotate(now), Step::kFormerGone);
  EXPECT_THAT(authority->roots(), SizeIs(1));
  EXPECT_FALSE(accepted(old_leaf, authority->bundle(), now));
  EXPECT_TRUE(accepted(leaf(), both, now));
  EXPECT_EQ(*authority->rotate(now), Step::kNextTrusted) << "and again";
  CertificateAuthority::remove_made(folder_.path());
  EXPECT_FALSE(std::filesystem::exists(folder_.path())) << "nothing of it is left";
}

TEST_F(CertificateAuthorityTest, AProcessThatDiesAsTheNextRootTakesOverLosesNothing) {
  ASSERT_EQ(*(*open())->rotate(absl::Now()), CertificateAuthority::Step::kNextTrusted);
  const auto next = read_text_file(file("next.crt")), former = read_text_file(file("ca.crt"));
  ASSERT_TRUE(next.ok() && former.ok());
  // What it has done by then.
  write(file("former.crt"), *former, 0644);
  write(file("made.crt"), *former + *next, 0644);
  std::filesystem::rename(file("next.key"), file("ca.key"));
  auto authority = open();
  ASSERT_TRUE(authority.ok()) << authority.status();
  EXPECT_EQ(*read_text_file(file("ca.crt")), *next);
  EXPECT_THAT((*authority)->roots(), SizeIs(2));
  EXPECT_EQ(*(*authority)->rotate(absl::Now()), CertificateAuthority::Step::kFormerGone);
}

TEST_F(CertificateAuthorityTest, AnOperatorsFilesAreReadAnewAndBadOnesChangeNothing) {
  const test::Authority root = test::make_authority("root"), other = test::make_authority("other");
  const auto install = [&](const test::Authority& above) {
    const test::Authority ours = test::make_authority("ours", &above);
    write(file("ca.crt"), to_pem(ours.certificate.get()), 0644);
    std::filesystem::remove(file("ca.key"));
    write(file("ca.key"), test::key_pem(ours.key.get()), 0600);
  };
  install(root);
  write(file("roots.crt"), to_pem(root.certificate.get()), 0644);
  const auto authority = open();
  ASSERT_TRUE(authority.ok()) << authority.status();
  install(other);
  EXPECT_FALSE((*authority)->rotate(absl::Now()).ok()) << "it does not lead to roots.crt";
  EXPECT_TRUE(accepted(*(*authority)->sign(request(), absl::ZeroDuration(), absl::Now()),
                       to_pem(root.certificate.get()), absl::Now()));
  write(file("roots.crt"), to_pem(root.certificate.get()) + to_pem(other.certificate.get()), 0644);
  EXPECT_EQ(*(*authority)->rotate(absl::Now()), CertificateAuthority::Step::kReread);
  EXPECT_TRUE(accepted(*(*authority)->sign(request(), absl::ZeroDuration(), absl::Now()),
                       to_pem(other.certificate.get()), absl::Now()));
}

TEST_F(CertificateAuthorityTest, AnOperatorsIntermediateSigns) {
  const test::Authority root = test::make_authority("root");
  const test::Authority middle = test::make_authority("middle", &root);
  const test::Authority ours = test::make_authority("ours", &middle);
  write(file("ca.crt"), to_pem(ours.certificate.get()) + to_pem(middle.certificate.get()), 0644);
  write(file("ca.key"), test::key_pem(ours.key.get()), 0600);
  write(file("roots.crt"), to_pem(root.certificate.get()), 0644);
  const auto authority = open();
  ASSERT_TRUE(authority.ok()) << authority.status();
  const auto chain = (*authority)->sign(request(), absl::ZeroDuration(), absl::Now());
  ASSERT_TRUE(chain.ok()) << chain.status();
  EXPECT_THAT(*chain, SizeIs(4));
  EXPECT_EQ(chain->back(), to_pem(root.certificate.get()));
  EXPECT_TRUE(accepted(*chain, chain->back(), absl::Now()));
}

TEST_F(CertificateAuthorityTest, AnIntermediateThatDoesNotReachItsRootStopsTheStart) {
  const test::Authority root = test::make_authority("root");
  const test::Authority other = test::make_authority("other");
  const test::Authority ours = test::make_authority("ours", &root);
  write(file("ca.crt"), to_pem(ours.certificate.get()), 0644);
  write(file("ca.key"), test::key_pem(ours.key.get()), 0600);
  const auto without = open();
  EXPECT_THAT(std::string(without.status().message()), HasSubstr("roots.crt"));
  write(file("roots.crt"), to_pem(other.certificate.get()), 0644);
  const auto authority = open();
  ASSERT_FALSE(authority.ok());
  EXPECT_THAT(std::string(authority.status().message()), HasSubstr("does not chain to roots.crt"));
}

// Handshakes below it would fail, each at its other end.
TEST_F(CertificateAuthorityTest, AnIssuerThatTlsDoesNotTakeStopsTheStart) {
  const test::Authority root = test::make_authority("old root", nullptr, test::key_of("ED448"));
  const test::Authority ours = test::make_authority("ours", &root);
  write(file("ca.crt"), to_pem(ours.certificate.get()), 0644);
  write(file("ca.key"), test::key_pem(ours.key.get()), 0600);
  write(file("roots.crt"), to_pem(root.certificate.get()), 0644);
  EXPECT_THAT(std::string(open().status().message()),
              AllOf(HasSubstr(file("ca.crt")), HasSubstr("the signature of \"/O=ours\" is by ED448"),
                    HasSubstr("next: have it issued by an authority with such keys")));
  // A root that nothing of ours leads to harms nobody.
  const test::Authority good = test::make_authority("good"), next = test::make_authority("next", &good);
  write(file("ca.crt"), to_pem(next.certificate.get()), 0644);
  write(file("ca.key"), test::key_pem(next.key.get()), 0600);
  write(file("roots.crt"), to_pem(good.certificate.get()) + to_pem(root.certificate.get()), 0644);
  const auto opened = open();
  EXPECT_TRUE(opened.ok()) << opened.status();
}

TEST_F(CertificateAuthorityTest, RevocationsAreReadAnewEachTime) {
  const auto authority = open();
  EXPECT_EQ(*(*authority)->revocations(), "");
  const test::Authority root = test::make_authority("root");
  const std::string lists = test::crl_pem(root, {});
  write(file("crl.pem"), lists, 0644);
  EXPECT_EQ(*(*authority)->revocations(), lists);
  write(file("crl.pem"), "-----BEGIN X509 CRL-----\n!!!\n-----END X509 CRL-----\n", 0644);
  EXPECT_FALSE((*authority)->revocations().ok());
  // Whoever puts a wrong file there lifts nothing.
  write(file("crl.pem"), to_pem(root.certificate.get()), 0644);
  const auto wrong = (*authority)->revocations();
  ASSERT_FALSE(wrong.ok());
  EXPECT_THAT(std::string(wrong.status().message()), HasSubstr("crl.pem: no revocation list in PEM"));
}

}  // namespace
}  // namespace weft::control_plane
