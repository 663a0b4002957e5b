// The whole control plane over a real folder with real inotify; tests wait for the subscriber, never for
// time.
#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <mutex>

#include "base/strings.h"
#include "control-plane/control_plane.h"

namespace weft::control_plane {
namespace {

namespace fs = std::filesystem;
constexpr std::chrono::seconds kLimit(20);

std::string service(const std::string& name, const std::string& ip) {
  return "apiVersion: v1\nkind: Service\nmetadata: {name: " + name + "}\nspec: {clusterIP: " + ip +
         ", ports: [{port: 80}]}\n---\n";
}

class FolderTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "weft-control-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override {
    control_plane_.reset();
    fs::remove_all(folder_);
  }

  void start(FetchKeys fetch_keys = {}) {
    auto started = ControlPlane::start({.config_dir = folder_,
                                        .node_name = "node1",
                                        .debounce = std::chrono::milliseconds(5),
                                        .fetch_keys = std::move(fetch_keys)},
                                       [this](const Change& change) { on_change(change); });
    ASSERT_TRUE(started.ok()) << started.status().ToString();
    control_plane_ = *std::move(started);
  }

  // In place, as editors without atomic renames do.
  void write(const std::string& name, const std::string& text) {
    std::ofstream(folder_ + "/" + name) << text;
  }
  void write_atomically(const std::string& name, const std::string& text) {
    write(name + ".tmp", text);
    fs::rename(folder_ + "/" + name + ".tmp", folder_ + "/" + name);
  }

  void on_change(const Change& change) {
    const std::lock_guard lock(mutex_);
    EXPECT_EQ(change.generation, generation_ + 1);
    generation_ = change.generation;
    for (const Resource& resource : change.upserted)
      versions_[std::string(resource.name())] = resource.version();
    for (const auto& [type, name] : change.removed) versions_.erase(name);
    findings_ = change.findings;
    changed_.notify_all();
  }

  template <typename Condition>
  bool wait_until(Condition condition) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kLimit, condition);
  }
  static std::string key(const std::string& name) { return "default/" + name + ".default.svc.cluster.local"; }
  bool holds(const std::string& name) {
    return wait_until([&] { return versions_.contains(key(name)); });
  }
  bool lost(const std::string& name) {
    return wait_until([&] { return !versions_.contains(key(name)); });
  }

  std::string folder_;
  std::mutex mutex_;
  std::condition_variable changed_;
  uint64_t generation_ = 0;
  std::map<std::string, std::string> versions_;
  std::vector<Finding> findings_;
  std::unique_ptr<ControlPlane> control_plane_;
};

TEST_F(FolderTest, StartDeliversEverythingBeforeItReturns) {
  write("a.yaml", service("one", "10.0.0.1"));
  write("b.json",
        "{\"apiVersion\": \"v1\", \"kind\": \"Service\", \"metadata\": {\"name\": \"two\"}, \"spec\": {}}");
  write("notes.txt", service("three", "10.0.0.3"));
  start();
  EXPECT_EQ(generation_, 1U);
  EXPECT_EQ(versions_.size(), 2U);
}

// So that an agent which begins anew, or at another weft-control, does not lose for a while what it had.
TEST_F(FolderTest, TheFirstChangeHasTheKeysThatCanBeHad) {
  // More than are fetched at once, and the first answers long before the last is asked for.
  constexpr int kIssuers = 40;
  for (int i = 0; i < kIssuers; ++i) {
    write(str_cat("issuer", i, ".yaml"),
          str_cat("apiVersion: security.istio.io/v1\nkind: RequestAuthentication\nmetadata: {name: r", i,
                  "}\nspec: {jwtRules: [{issuer: i", i, ", jwksUri: 'https://keys/", i, "'}]}\n"));
  }
  start([](const std::string& url) -> absl::StatusOr<std::vector<std::string>> {
    if (url.ends_with("/7")) return absl::UnavailableError("down");
    return std::vector<std::string>{R"({"keys": []})"};
  });
  EXPECT_EQ(generation_, 1U);
  ASSERT_EQ(findings_.size(), 1U) << "keys of one could not be had, and are not waited for";
  EXPECT_EQ(findings_[0].code, "WF0060");
  EXPECT_EQ(findings_[0].object, "RequestAuthentication default/r7");
}

TEST_F(FolderTest, FilesThatAppearChangeAndVanishAreFollowed) {
  start();
  write("a.yaml", service("one", "10.0.0.1"));
  ASSERT_TRUE(holds("one"));
  write_atomically("b.yaml", service("two", "10.0.0.2"));
  ASSERT_TRUE(holds("two"));
  std::string before;
  {
    const std::lock_guard lock(mutex_);
    before = versions_[key("one")];
  }
  write("a.yaml", service("one", "10.0.0.11"));
  ASSERT_TRUE(wait_until([&] { return versions_[key("one")] != before; }));
  fs::remove(folder_ + "/a.yaml");
  EXPECT_TRUE(lost("one"));
  fs::rename(folder_ + "/b.yaml", folder_ + "/b.off");
  EXPECT_TRUE(lost("two"));
}

TEST_F(FolderTest, AMistakeKeepsTheLastGoodStateAndIsReported) {
  write("a.yaml", service("one", "10.0.0.1"));
  start();
  const std::string before = versions_[key("one")];
  write_atomically("a.yaml", service("one", "nonsense"));
  ASSERT_TRUE(wait_until([&] { return findings_.size() == 1; }));
  {
    const std::lock_guard lock(mutex_);
    EXPECT_EQ(versions_[key("one")], before);
    EXPECT_EQ(findings_[0].code, "WF0002");
    EXPECT_EQ(findings_[0].line, 4U);
  }
  write_atomically("a.yaml", service("one", "10.0.0.2"));
  EXPECT_TRUE(wait_until([&] { return findings_.empty() && versions_[key("one")] != before; }));
}

TEST_F(FolderTest, AConfigMapSwapIsSeenAsOneChange) {
  const auto publish = [this](const std::string& data, const std::string& text) {
    fs::create_directory(folder_ + "/" + data);
    std::ofstream(folder_ + "/" + data + "/a.yaml") << text;
    fs::create_directory_symlink(data, folder_ + "/..data_tmp");
    fs::rename(folder_ + "/..data_tmp", folder_ + "/..data");
  };
  publish("..1", service("one", "10.0.0.1"));
  fs::create_symlink("..data/a.yaml", folder_ + "/a.yaml");
  start();
  ASSERT_TRUE(holds("one"));
  publish("..2", service("two", "10.0.0.2"));
  EXPECT_TRUE(wait_until([&] { return versions_.contains(key("two")) && !versions_.contains(key("one")); }));
}

TEST_F(FolderTest, AnUnreadableFileKeepsItsObjects) {
  fs::create_directory(folder_ + "/..1");
  std::ofstream(folder_ + "/..1/a.yaml") << service("one", "10.0.0.1");
  fs::create_symlink("..1/a.yaml", folder_ + "/a.yaml");
  start();
  fs::create_symlink("nowhere", folder_ + "/a.new");
  fs::rename(folder_ + "/a.new", folder_ + "/a.yaml");
  ASSERT_TRUE(wait_until([&] { return findings_.size() == 1 && findings_[0].code == "WF0020"; }));
  const std::lock_guard lock(mutex_);
  EXPECT_TRUE(versions_.contains(key("one")));
}

TEST_F(FolderTest, AFolderThatIsReplacedIsFollowedAgain) {
  write("a.yaml", service("one", "10.0.0.1"));
  start();
  fs::rename(folder_, folder_ + ".old");
  fs::create_directory(folder_);
  write("b.yaml", service("two", "10.0.0.2"));
  EXPECT_TRUE(wait_until([&] { return versions_.contains(key("two")) && !versions_.contains(key("one")); }));
  fs::remove_all(folder_ + ".old");
}

TEST(ControlPlaneStartTest, AMissingFolderIsAnErrorThatSaysWhatToDo) {
  const auto started = ControlPlane::start({.config_dir = "/nonexistent/weft"}, [](const Change&) {});
  ASSERT_FALSE(started.ok());
  EXPECT_EQ(started.status().code(), absl::StatusCode::kNotFound);
  EXPECT_NE(std::string(started.status().message()).find("create the folder"), std::string::npos);
}

TEST(AnalyzeTest, AMissingFileIsAFinding) {
  const auto findings = analyze({"/nonexistent/a.yaml"});
  ASSERT_EQ(findings.size(), 1U);
  EXPECT_EQ(findings[0].code, "WF0020");
}

TEST(AnalyzeTest, FindingsAreOneLineWithFileLineCodeObjectAndField) {
  const Finding finding{.code = "WF0002",
                        .file = "a.yaml",
                        .line = 7,
                        .object = "VirtualService shop/cart",
                        .field = "spec.hosts[0]",
                        .message = "no",
                        .remedy = "do"};
  EXPECT_EQ(to_string(finding), "a.yaml:7: error WF0002 VirtualService shop/cart spec.hosts[0]: no (do)");
}

}  // namespace
}  // namespace weft::control_plane
