// Every exchange leaves one access log line with an outcome of the closed list, and an answer that the proxy
// itself gives says why in x-weft-reason.
#include <gmock/gmock.h>

#include <fstream>
#include <iterator>
#include <string>

#include "base/strings.h"
#include "tests/harness/mesh_test.h"

namespace weft::harness {
namespace {

using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;

class LogsTest : public MeshTest {
 protected:
  // The access log line that contains `mark`, as soon as it is written.
  std::string line_with(const std::string& mark) {
    std::string line;
    wait_until(milliseconds(10'000), [&] {
      const std::string text = mesh_->proxy().output();
      const size_t at = text.find(mark);
      if (at == std::string::npos) return false;
      const size_t start = text.rfind('\n', at) + 1;
      const size_t end = text.find('\n', at);
      if (end == std::string::npos) return false;
      line = text.substr(start, end - start);
      return true;
    });
    return line;
  }

  CommandResult get(const std::string& path) {
    return curl(client_, {"-i", std::string("http://") + kProductV4 + path});
  }
};

// Both hold keys.
TEST_F(LogsTest, NeitherAgentNorProxyLeavesACoreDump) {
  for (Process* process : {&mesh_->agent(), &mesh_->proxy()}) {
    std::ifstream file(str_cat("/proc/", process->pid(), "/limits"));
    const std::string limits((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    EXPECT_THAT(limits, ContainsRegex("Max core file size +0 +0 ")) << process->pid();
  }
}

TEST_F(LogsTest, ExchangeLeavesOneLineWithItsOutcome) {
  ASSERT_EQ(get("/logged-once").exit_code, 0);
  const std::string line = line_with("/logged-once");
  EXPECT_THAT(line, AllOf(HasSubstr("200"), HasSubstr("ok"), HasSubstr("GET"))) << mesh_->log();
  const std::string text = mesh_->proxy().output();
  EXPECT_EQ(text.find("/logged-once"), text.rfind("/logged-once")) << text;
}

TEST_F(LogsTest, RequestWithoutRouteIs404WithTheReason) {
  std::string only_api = canary_yaml(95, 5);
  const std::string route = "  - route:";
  only_api.replace(only_api.find(route), route.size(),
                   "  - match:\n    - uri:\n        prefix: /api\n    route:");
  mesh_->manifests().write("canary.yaml", only_api);
  ASSERT_TRUE(cli_shows({"get", "routes"}, "/api"));
  CommandResult answer;
  EXPECT_TRUE(wait_until(milliseconds(10'000), [&] {
    answer = get("/elsewhere");
    return answer.output.find(" 404 ") != std::string::npos;
  })) << answer.output;
  EXPECT_THAT(answer.output, HasSubstr("x-weft-reason: no_route"));
  EXPECT_THAT(line_with("no_route"), HasSubstr("/elsewhere"));
  EXPECT_THAT(get("/api/x").output, HasSubstr(" 200 "));
}

TEST_F(LogsTest, DeadEndpointIs503WithTheReason) {
  servers_.clear();
  const CommandResult answer = get("/nobody-home");
  EXPECT_THAT(answer.output, AllOf(HasSubstr(" 503 "), HasSubstr("x-weft-reason: connect_refused")))
      << mesh_->log();
  EXPECT_THAT(line_with("/nobody-home"), HasSubstr("connect_refused"));
}

TEST_F(LogsTest, ServiceWithoutEndpointsIs503WithTheReason) {
  const ServiceSpec empty{.name = "empty",
                          .ip4 = "10.96.0.40",
                          .ip6 = "",
                          .ports = {{.name = "http", .port = 80, .target_port = 8080}}};
  mesh_->manifests().write("empty.yaml", service_yaml(empty));
  ASSERT_TRUE(cli_shows({"get", "services"}, "10.96.0.40"));
  CommandResult answer;
  EXPECT_TRUE(wait_until(milliseconds(10'000),
                         [&] {
                           answer = curl(client_, {"--max-time", "3", "-i", "http://10.96.0.40/"});
                           return answer.output.find("x-weft-reason: no_endpoint") != std::string::npos;
                         }))
      << answer.output << answer.errors;
  EXPECT_THAT(answer.output, HasSubstr(" 503 "));
}

}  // namespace
}  // namespace weft::harness
