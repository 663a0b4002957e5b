// DestinationRules of the examples, applied as they stand, with servers in captured pods' reach that fail or
// are many.
#include <gmock/gmock.h>

#include <chrono>
#include <fstream>
#include <set>
#include <sstream>

#include "base/strings.h"
#include "tests/harness/mesh_test.h"

namespace weft::harness {
namespace {

using ::testing::HasSubstr;
using Clock = std::chrono::steady_clock;

constexpr char kUrl[] = "http://10.96.0.10/";

class DestinationTest : public MeshTest {
 protected:
  void apply(const std::string& example, const std::string& route) {
    std::ifstream file(str_cat("examples/", example, "/routing.yaml"));
    ASSERT_TRUE(file.is_open()) << "run from the root of the repository";
    std::stringstream text;
    text << file.rdbuf();
    mesh_->manifests().write("canary.yaml", text.str());
    ASSERT_TRUE(cli_shows({"get", "routes"}, str_cat("product-service/", route))) << mesh_->log();
    ASSERT_TRUE(cli_shows({"status"}, "current")) << mesh_->log();
  }
  std::string version_for(const std::string& user) {
    return curl(client_,
                {"-o", "/dev/null", "-w", "%header{x-version}", "-H", str_cat("x-user: ", user), kUrl})
        .output;
  }
  std::string status() {
    return curl(client_, {"-o", "/dev/null", "-w", "%{http_code}", "-m", "5", kUrl}).output;
  }
};

TEST_F(DestinationTest, AUserStaysOnOneServer) {
  ASSERT_NO_FATAL_FAILURE(apply("consistent-hash", "by-user"));
  std::set<std::string> seen;
  for (int user = 0; user < 12; ++user) {
    const std::string first = version_for(str_cat(user));
    for (int i = 0; i < 3; ++i) EXPECT_EQ(version_for(str_cat(user)), first);
    seen.insert(first);
  }
  EXPECT_EQ(seen, (std::set<std::string>{"v1", "v2"}));
}

TEST_F(DestinationTest, ALoadThatIsTooHighIsCutAndTheRestServed) {
  ASSERT_NO_FATAL_FAILURE(apply("circuit-breaker", "limited"));
  EXPECT_EQ(status(), "200");
  const LoadResult result = load(client_, {"10.96.0.10:80", "-n", "2000", "-c", "16"});
  EXPECT_GT(result.failed, 0u) << result.text;
  EXPECT_LT(result.failed, 2000u) << result.text;
  EXPECT_EQ(status(), "200");
}

// The server of v2 goes away: three refused connections, and it rests for two seconds. It is back meanwhile,
// and gets requests again as soon as its rest is over.
TEST_F(DestinationTest, AServerThatIsGoneRestsAndComesBack) {
  ASSERT_NO_FATAL_FAILURE(apply("outlier-detection", "without-the-ill"));
  const auto before = Clock::now();
  servers_.pop_back();
  const LoadResult alone = load(client_, {"10.96.0.10:80", "-n", "200", "-c", "1"});
  const auto after = Clock::now();
  EXPECT_EQ(alone.failed, 0u) << "each goes on to the other server: " << alone.text;
  EXPECT_EQ(alone.share("v1"), 1.0) << alone.text;
  EXPECT_THAT(mesh_->log(), HasSubstr("endpoint_ejected"));
  auto back = start_nginx(*sandbox_, v2_, 8080, "v2");
  ASSERT_TRUE(back.ok()) << back.status();
  servers_.push_back(std::move(*back));
  EXPECT_TRUE(wait_until(milliseconds(10'000), [this] { return version_for("anybody") == "v2"; }));
  const auto returned = Clock::now();
  // Ten per cent of two seconds, after the ejection, which was between the two.
  EXPECT_GE(returned - before, milliseconds(1'800));
  EXPECT_LE(returned - after, milliseconds(2'200));
}

}  // namespace
}  // namespace weft::harness
