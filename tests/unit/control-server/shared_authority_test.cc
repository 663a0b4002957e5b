// The authority that replicas share through a Secret, and the roots that agents find in a ConfigMap.
#include "control-plane/serve/shared_authority.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <utility>

#include "absl/strings/escaping.h"
#include "base/strings.h"
#include "control-plane/identity/certificate_authority.h"
#include "control-plane/identity/key_file.h"
#include "tests/unit/base/scratch_folder.h"
#include "tests/unit/identity/pki.h"
#include "tests/unit/kubernetes/fake_api_server.h"

namespace weft::control_plane::test {
namespace {

using testing::HasSubstr;
using testing::Not;
using Request = FakeApiServer::Request;
using Reply = FakeApiServer::Reply;

constexpr char kSecret[] = "/api/v1/namespaces/weft-system/secrets/weft-control-authority";
constexpr char kRootsMap[] = "/api/v1/namespaces/weft-system/configmaps/weft-control-roots";

// GET and merge patches of two objects, whose versions count.
class SharedAuthorityTest : public testing::Test {
 protected:
  void SetUp() override {
    api_server_.set_script(
        [this](const Request& request) -> std::optional<Reply> { return answer(request); });
  }
  void TearDown() override { api_server_.stop(); }

  Reply answer(const Request& request) {
    const std::lock_guard lock(mutex_);
    const auto found = objects_.find(request.path);
    if (found == objects_.end()) return {.status = 404, .body = R"({"kind":"Status","message":"not found"})"};
    Json& object = found->second;
    if (request.method == "PATCH") {
      ++patches_;
      if (before_patch_) std::exchange(before_patch_, {})(object);
      const Json change = Json::parse(request.body);
      const Json metadata = change.value("metadata", Json::object());
      if (metadata.contains("resourceVersion") &&
          metadata["resourceVersion"] != object["metadata"]["resourceVersion"])
        return {.status = 409, .body = R"({"kind":"Status","message":"conflict"})"};
      object.merge_patch(change);
      object["metadata"]["resourceVersion"] = str_cat("v", patches_);
    }
    return {.body = object.dump()};
  }
  Json object(const char* path) {
    const std::lock_guard lock(mutex_);
    return objects_.at(path);
  }
  // Under the lock of the server's threads.
  void edit(const std::function<void(std::map<std::string, Json>&)>& change) {
    const std::lock_guard lock(mutex_);
    change(objects_);
  }
  absl::Status fetch(const std::string& replica) {
    return fetch_authority(api_, {"weft-system", "weft-control-authority"}, folder_.file(replica),
                           absl::Now());
  }
  std::string roots_of(const std::string& replica) {
    const auto authority = CertificateAuthority::open({.folder = folder_.file(replica)}, absl::Now());
    EXPECT_TRUE(authority.ok()) << authority.status();
    return authority.ok() ? (*authority)->bundle() : "";
  }

  FakeApiServer api_server_;
  ApiCaller api_{ApiAccess{.server = api_server_.url(), .token = "t"}};
  const ::weft::test::ScratchFolder folder_;
  std::mutex mutex_;
  std::map<std::string, Json> objects_{{kSecret, {{"metadata", {{"resourceVersion", "v0"}}}}},
                                       {kRootsMap, {{"metadata", {{"resourceVersion", "v0"}}}}}};
  int patches_ = 0;
  std::function<void(Json&)> before_patch_;
};

TEST_F(SharedAuthorityTest, TheFirstReplicaMakesARootAndTheNextOneHasTheSame) {
  ASSERT_TRUE(fetch("one").ok());
  ASSERT_TRUE(fetch("two").ok());
  EXPECT_EQ(patches_, 1);
  EXPECT_EQ(roots_of("one"), roots_of("two"));
  struct stat st{};
  ASSERT_EQ(::stat(folder_.file("two/ca.key").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0600U);
  const std::string before = roots_of("one");
  ASSERT_TRUE(fetch("one").ok()) << "a container that starts again finds its folder";
  EXPECT_EQ(roots_of("one"), before);
}

TEST_F(SharedAuthorityTest, AServerThatIsAwayIsAskedUntilItAnswersOrSomebodyGivesUp) {
  int away = 2;
  api_server_.set_script([&](const Request& request) -> std::optional<Reply> {
    {
      const std::lock_guard lock(mutex_);
      if (away != 0) {
        if (away > 0) --away;
        return Reply{.status = 503, .body = R"({"kind":"Status","message":"away"})"};
      }
    }
    return answer(request);
  });
  const ObjectPlace place{"weft-system", "weft-control-authority"};
  const absl::Status fetched = await_authority(api_, place, folder_.file("one"), [] { return false; });
  EXPECT_TRUE(fetched.ok()) << fetched;
  EXPECT_FALSE(roots_of("one").empty());
  {
    const std::lock_guard lock(mutex_);
    away = -1;
  }
  int asked = 0;
  const absl::Status told = await_authority(api_, place, folder_.file("two"), [&] { return ++asked > 2; });
  EXPECT_TRUE(absl::IsCancelled(told)) << told;
  EXPECT_THAT(std::string(told.message()), HasSubstr("weft-control-authority"));
  {
    const std::lock_guard lock(mutex_);
    away = 0;
  }
  const absl::Status missing =
      await_authority(api_, {"weft-system", "none"}, folder_.file("three"), [] { return true; });
  EXPECT_TRUE(absl::IsNotFound(missing)) << "what waiting does not mend is said at once: " << missing;
}

TEST_F(SharedAuthorityTest, WhoIsLaterTakesWhatTheOtherOneWrote) {
  // Between this replica's look and its writing another one writes.
  Json theirs;
  before_patch_ = [&theirs](Json& secret) {
    const auto other = ::weft::test::make_authority("cluster.local");
    theirs = {{"ca.crt", absl::Base64Escape(to_pem(other.certificate.get()))},
              {"ca.key", absl::Base64Escape(::weft::test::key_pem(other.key.get()))}};
    secret["data"] = theirs;
    secret["metadata"]["resourceVersion"] = "theirs";
  };
  const absl::Status fetched = fetch("late");
  ASSERT_TRUE(fetched.ok()) << fetched;
  EXPECT_EQ(object(kSecret)["data"], theirs);
  std::string root;
  ASSERT_TRUE(absl::Base64Unescape(theirs["ca.crt"].get<std::string>(), &root));
  EXPECT_EQ(roots_of("late"), root);
}

TEST_F(SharedAuthorityTest, WhatIsWrongIsToldWithTheSecretAndWithoutTheKey) {
  const auto told = [this] {
    const std::string message = fetch("one").ToString();
    EXPECT_THAT(message, HasSubstr("Secret weft-system/weft-control-authority"));
    EXPECT_THAT(message, HasSubstr("next: "));
    return message;
  };
  const auto put = [this](const char* key, const std::string& text) {
    edit([&](auto& objects) { objects[kSecret]["data"][key] = text; });
  };
  put("ca.key", absl::Base64Escape("very secret"));
  EXPECT_THAT(told(), HasSubstr("it has ca.key without ca.crt"));
  put("ca.crt", absl::Base64Escape("x"));
  EXPECT_THAT(told(), Not(HasSubstr("very secret")));
  put("ca.crt", "!");
  EXPECT_THAT(told(), HasSubstr("its ca.crt is not base64"));
  edit([](auto& objects) { objects.erase(kSecret); });
  EXPECT_THAT(told(), HasSubstr("not found"));
  EXPECT_EQ(patches_, 0) << "nothing is made beside what an operator put there";
}

TEST_F(SharedAuthorityTest, RootsAreWrittenWhenTheyDifferAndOnlyThen) {
  const ObjectPlace place{"weft-system", "weft-control-roots"};
  ASSERT_TRUE(publish_roots(api_, place, "roots").ok());
  ASSERT_TRUE(publish_roots(api_, place, "roots").ok());
  EXPECT_EQ(patches_, 1);
  EXPECT_EQ(object(kRootsMap)["data"]["ca.crt"], "roots");
  edit([](auto& objects) { objects.erase(kRootsMap); });
  EXPECT_THAT(publish_roots(api_, place, "roots").ToString(),
              HasSubstr("ConfigMap weft-system/weft-control-roots"));
}

TEST(PlaceTest, IsTwoNamesAndNoPath) {
  EXPECT_EQ(parse_place("--x", "a/b")->name, "b");
  for (const char* text : {"", "a", "a/", "/b", "a/b/c", "../b", "a/B", "a/b?c", "a/-b"})
    EXPECT_THAT(parse_place("--x", text).status().ToString(), HasSubstr("--x: ")) << text;
}

}  // namespace
}  // namespace weft::control_plane::test
