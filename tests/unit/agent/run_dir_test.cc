// Where the certificate authority is when nobody says.
#include "agent/run_dir.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/strings.h"
#include "tests/unit/base/scratch_folder.h"

namespace weft::agent {
namespace {

class DefaultCaDirTest : public testing::Test {
 protected:
  // A folder with an authority.
  static void put(const std::string& folder) {
    std::filesystem::create_directories(folder);
    std::ofstream(folder + "/ca.crt") << "x";
  }

  const test::ScratchFolder folder_;
  const std::string usual_ = folder_.file("run"), lasting_ = folder_.file("lib/ca");
};

TEST_F(DefaultCaDirTest, OfTheUsualRunDirItOutlivesAReboot) {
  EXPECT_EQ(default_ca_dir(usual_, usual_, lasting_), lasting_);
  EXPECT_EQ(default_ca_dir(kDefaultRunDir, usual_, lasting_), str_cat(kDefaultRunDir, "/ca"));
}

TEST_F(DefaultCaDirTest, AnAuthorityThatWasBesideTheRunDirServesOnUntilThereIsAnother) {
  put(usual_ + "/ca");
  EXPECT_EQ(default_ca_dir(usual_, usual_, lasting_), usual_ + "/ca");
  put(lasting_);
  EXPECT_EQ(default_ca_dir(usual_, usual_, lasting_), lasting_);
}

}  // namespace
}  // namespace weft::agent
