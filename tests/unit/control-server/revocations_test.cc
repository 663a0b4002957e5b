// What is revoked of the authority's own list and of a file with more.
#include "control-plane/serve/revocations.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "base/x509.h"
#include "tests/unit/base/scratch_folder.h"
#include "tests/unit/identity/pki.h"

namespace weft::control_plane {
namespace {

using testing::HasSubstr;

class RevocationsTest : public testing::Test {
 protected:
  void SetUp() override {
    auto opened = CertificateAuthority::open({.folder = folder_.file("ca")}, absl::Now());
    ASSERT_TRUE(opened.ok()) << opened.status();
    authority_ = *std::move(opened);
  }
  void write(const std::string& name, const std::string& text) { std::ofstream(folder_.file(name)) << text; }
  absl::StatusOr<std::string> all() { return all_revocations(*authority_, folder_.file("more.pem")); }

  const weft::test::ScratchFolder folder_;
  const std::string list_ = weft::test::crl_pem(weft::test::make_authority("root"), {});
  std::unique_ptr<CertificateAuthority> authority_;
};

TEST_F(RevocationsTest, AFileThatIsMissingHasNone) {
  EXPECT_EQ(*all(), "");
  EXPECT_EQ(*all_revocations(*authority_, ""), "");
  write("ca/crl.pem", list_);
  EXPECT_EQ(*all(), list_);
}

TEST_F(RevocationsTest, BothCountThoughTheFirstEndsWithoutALine) {
  write("ca/crl.pem", list_.substr(0, list_.size() - 1));
  write("more.pem", list_);
  const auto lists = all();
  ASSERT_TRUE(lists.ok()) << lists.status();
  const auto read = read_crls(*lists);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->size(), 2U);
}

TEST_F(RevocationsTest, AFileWithoutAListIsAnErrorThatNamesIt) {
  write("more.pem", "nothing is revoked\n");
  EXPECT_THAT(std::string(all().status().message()), HasSubstr("more.pem: no revocation list in PEM"));
}

}  // namespace
}  // namespace weft::control_plane
