// The plugin in and out of a runtime's configuration: others' plugins stay, no reader sees half a file, and
// what somebody rewrites is put right.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "agent/cni/conflist.h"
#include "agent/cni/installer.h"
#include "tests/unit/base/scratch_folder.h"

namespace weft::agent {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kConflist[] = R"({"cniVersion": "1.0.0", "name": "podnet", "plugins": [
  {"type": "bridge", "ipam": {"type": "host-local"}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]})";

CniPluginConfig config() {
  return {.socket = "/run/weft/cni.sock",
          .namespaces_file = "/run/weft/cni-namespaces",
          .exempt = {"kube-system"}};
}

TEST(ConflistTest, OurEntryIsLastAndTheOthersStayAsTheyAre) {
  const auto with = with_plugin(kConflist, config());
  ASSERT_TRUE(with.ok()) << with.status();
  EXPECT_LT(with->find("\"bridge\""), with->find("\"portmap\""));
  EXPECT_LT(with->find("\"portmap\""), with->find("\"weft-cni\""));
  EXPECT_THAT(*with, HasSubstr("\"host-local\""));
  EXPECT_EQ(*with_plugin(*with, config()), *with) << "once";
  const auto without = without_plugin(*with);
  ASSERT_TRUE(without.ok());
  EXPECT_THAT(*without, Not(HasSubstr("weft")));
  EXPECT_THAT(*without, HasSubstr("\"portMappings\""));
  EXPECT_EQ(*without_plugin(kConflist), kConflist) << "untouched";
}

TEST(ConflistTest, AnEntryThatIsOldOrNotLastIsReplaced) {
  CniPluginConfig old = config();
  old.socket = "/old";
  EXPECT_EQ(*with_plugin(*with_plugin(kConflist, old), config()), *with_plugin(kConflist, config()));
}

TEST(ConflistTest, WhatIsNoListIsRefused) {
  for (const char* text :
       {"", "{", "[]", "{}", R"({"type": "bridge"})", R"({"plugins": []})", R"({"plugins": [1]})"}) {
    EXPECT_EQ(with_plugin(text, config()).status().code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_FALSE(without_plugin(text).ok()) << text;
  }
}

TEST(ConflistTest, TheRuntimesChoiceIsTheFirstByName) {
  EXPECT_EQ(used_config({"20-b.conflist", "10-a.conf", "00-readme", ".00-x.conflist.new", "30.json"}),
            "10-a.conf");
  EXPECT_EQ(used_config({"README"}), std::nullopt);
}

class CniInstallerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const char* name : {"net.d", "bin"}) std::filesystem::create_directory(folder_.file(name));
    write("program", "#!the plugin");
  }
  void write(const std::string& name, const std::string& text) const {
    // As other installers do it: whole.
    std::ofstream(folder_.file("beside")) << text;
    std::filesystem::rename(folder_.file("beside"), folder_.file(name));
  }
  std::string read(const std::string& name) const {
    std::ifstream file(folder_.file(name));
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
  }
  void start() {
    CniPluginConfig with_file = config();
    with_file.namespaces_file = folder_.file("namespaces");
    auto started = CniInstaller::open({.conf_dir = folder_.file("net.d"),
                                       .bin_dir = folder_.file("bin"),
                                       .program = folder_.file("program"),
                                       .config = with_file});
    ASSERT_TRUE(started.ok()) << started.status();
    installer_ = std::move(*started);
    installer_->begin();
  }
  // Waits for changes of the folder until the list has our entry.
  bool installed() const {
    const UniqueFd events(::inotify_init1(IN_CLOEXEC));
    ::inotify_add_watch(events.get(), folder_.file("net.d").c_str(), IN_MOVED_TO);
    for (int change = 0; change < 20; ++change) {
      if (read("net.d/10-podnet.conflist").find("weft-cni") != std::string::npos) return true;
      char buffer[4096];
      if (::read(events.get(), buffer, sizeof(buffer)) <= 0) return false;
    }
    return false;
  }

  const test::ScratchFolder folder_;
  std::unique_ptr<CniInstaller> installer_;
};

TEST_F(CniInstallerTest, ProgramAndEntryAreInstalledAndTakenOut) {
  write("net.d/10-podnet.conflist", kConflist);
  ::chmod(folder_.file("net.d/10-podnet.conflist").c_str(), 0640);
  start();
  EXPECT_EQ(installer_->problem(), "");
  EXPECT_EQ(read("bin/weft-cni"), "#!the plugin");
  struct stat info{};
  ::stat(folder_.file("bin/weft-cni").c_str(), &info);
  EXPECT_EQ(info.st_mode & 0777, 0755u);
  ::stat(folder_.file("net.d/10-podnet.conflist").c_str(), &info);
  EXPECT_EQ(info.st_mode & 0777, 0640u) << "who may read it stays";
  EXPECT_TRUE(installed());
  installer_.reset();
  EXPECT_TRUE(installed()) << "pods wait for the next agent";
  const auto removed = CniInstaller::remove(folder_.file("net.d"), folder_.file("bin"));
  ASSERT_TRUE(removed.ok()) << removed.status();
  EXPECT_EQ(removed->size(), 2u);
  EXPECT_THAT(read("net.d/10-podnet.conflist"), Not(HasSubstr("weft")));
  EXPECT_FALSE(std::filesystem::exists(folder_.file("bin/weft-cni")));
  EXPECT_THAT(*CniInstaller::remove(folder_.file("net.d"), folder_.file("bin")), ElementsAre());
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder_.file("net.d")))
    names.push_back(entry.path().filename());
  EXPECT_THAT(names, ElementsAre("10-podnet.conflist")) << "nothing is left beside it";
}

TEST_F(CniInstallerTest, AListThatComesLaterOrIsRewrittenGetsTheEntry) {
  start();
  EXPECT_THAT(installer_->problem(), HasSubstr("no CNI configuration"));
  write("net.d/10-podnet.conflist", kConflist);
  EXPECT_TRUE(installed());
  write("net.d/10-podnet.conflist", kConflist);
  EXPECT_TRUE(installed());
}

TEST_F(CniInstallerTest, AnAgentThatCannotAnswerYetIsNotAsked) {
  write("net.d/10-podnet.conflist", kConflist);
  auto opened = CniInstaller::open({.conf_dir = folder_.file("net.d"),
                                    .bin_dir = folder_.file("bin"),
                                    .program = folder_.file("program"),
                                    .config = config()});
  ASSERT_TRUE(opened.ok()) << opened.status();
  EXPECT_EQ(read("net.d/10-podnet.conflist"), kConflist);
  (*opened)->begin();
  EXPECT_TRUE(installed());
}

TEST_F(CniInstallerTest, AFileThatIsNoListIsLeftAloneAndSaid) {
  write("net.d/10-podnet.conflist", R"({"type": "bridge"})");
  start();
  EXPECT_THAT(installer_->problem(), HasSubstr("no list of plugins; next: "));
  EXPECT_EQ(read("net.d/10-podnet.conflist"), R"({"type": "bridge"})");
}

TEST_F(CniInstallerTest, NoReaderEverSeesHalfAFile) {
  write("net.d/10-podnet.conflist", kConflist);
  std::atomic<bool> done = false;
  std::atomic<int> broken = 0, reads = 0;
  std::thread reader([&] {
    while (!done) {
      const std::string text = read("net.d/10-podnet.conflist");
      ++reads;
      if (!without_plugin(text).ok()) ++broken;
    }
  });
  while (reads == 0) std::this_thread::yield();
  for (int round = 0; round < 20; ++round) {
    start();
    installer_.reset();
    EXPECT_TRUE(CniInstaller::remove(folder_.file("net.d"), folder_.file("bin")).ok());
  }
  done = true;
  reader.join();
  EXPECT_EQ(broken, 0);
}

TEST_F(CniInstallerTest, NamespacesAreWrittenWhole) {
  start();
  ASSERT_TRUE(installer_->set_namespaces({"a", "shop"}).ok());
  EXPECT_EQ(read("namespaces"), "a\nshop\n");
  ASSERT_TRUE(installer_->set_namespaces({}).ok());
  EXPECT_TRUE(std::filesystem::exists(folder_.file("namespaces"))) << "none is another thing than not known";
  EXPECT_EQ(read("namespaces"), "");
}

// A node whose folders are another user's, or come later, must not be without an agent.
TEST_F(CniInstallerTest, WhatCannotBeInstalledIsSaidAndTriedAgain) {
  write("net.d/10-podnet.conflist", kConflist);
  std::filesystem::remove(folder_.file("bin"));
  start();
  EXPECT_THAT(installer_->problem(), HasSubstr("--cni-bin-dir"));
  EXPECT_EQ(read("net.d/10-podnet.conflist"), kConflist) << "no entry without a program";
  std::filesystem::create_directory(folder_.file("bin"));
  // No event tells of that folder.
  EXPECT_TRUE(installed());
  EXPECT_EQ(read("bin/weft-cni"), "#!the plugin");
}

TEST_F(CniInstallerTest, AFolderOfConfigurationsThatIsNotThereIsSaid) {
  std::filesystem::remove(folder_.file("net.d"));
  start();
  EXPECT_THAT(installer_->problem(), HasSubstr("--cni-conf-dir"));
}

TEST_F(CniInstallerTest, TheProgramStaysWhileAnEntryIsThere) {
  write("net.d/10-podnet.conflist", kConflist);
  start();
  installer_.reset();
  // Where the file beside it would be written stands a folder.
  std::filesystem::create_directory(folder_.file("net.d/.10-podnet.conflist.new"));
  EXPECT_FALSE(CniInstaller::remove(folder_.file("net.d"), folder_.file("bin")).ok());
  EXPECT_TRUE(std::filesystem::exists(folder_.file("bin/weft-cni")));
}

}  // namespace
}  // namespace weft::agent
