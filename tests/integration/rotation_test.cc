// Certificates and roots of two nodes are replaced while their pods talk: no request fails.
#include <gmock/gmock.h>

#include <chrono>
#include <cstdlib>
#include <list>
#include <nlohmann/json.hpp>

#include "base/strings.h"
#include "tests/integration/two_nodes.h"

namespace weft::harness {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// Roots follow one another and certificates are replaced, at both nodes at a time, while pods talk.
class RotationTest : public HboneTest {
 protected:
  static constexpr uint32_t kDefaultRotations = 5;

  void SetUp() override {
    HboneTest::SetUp();
    if (HasFatalFailure()) return;
    for (Mesh* node : nodes()) {
      ASSERT_EQ(node->stop_proxy(), 0);
      node->log_requests(false);
      ASSERT_TRUE(node->start_proxy().ok());
    }
    node1_->manifests().write("direct.yaml",
                              service_yaml({.name = "direct",
                                            .ip4 = "10.96.0.11",
                                            .ip6 = "",
                                            .ports = {{.name = "tcp-web", .port = 80, .target_port = 8080}},
                                            .selector = {{"app", "product"}}}));
    for (const char* address : {"10.96.0.10:80", "10.96.0.11:80"})
      ASSERT_TRUE(answers(client_, address)) << logs();
  }

  std::vector<Mesh*> nodes() const { return {node1_.get(), node2_.get()}; }

  static uint64_t issued(const Mesh& node) {
    const CommandResult list = node.cli({"-o", "json", "cert", "list"});
    const auto parsed = nlohmann::json::parse(list.output, nullptr, false);
    EXPECT_FALSE(parsed.is_discarded()) << list.output << list.errors;
    uint64_t least = UINT64_MAX;
    for (const auto& row : parsed.value("issued", nlohmann::json::array()))
      least = std::min(least, row.value("issued", uint64_t{0}));
    return least;
  }

  // At both nodes, until each identity has a new certificate.
  void rotate(const char* what) {
    std::vector<uint64_t> before;
    for (Mesh* node : nodes()) {
      before.push_back(issued(*node));
      const CommandResult done = node->cli({"cert", "rotate", what});
      ASSERT_EQ(done.exit_code, 0) << done.errors;
      EXPECT_THAT(done.output, HasSubstr(kDefaultId));
    }
    for (size_t i = 0; i < before.size(); ++i) {
      ASSERT_TRUE(wait_until(milliseconds(30'000), [&] { return issued(*nodes()[i]) > before[i]; }))
          << logs();
    }
  }
  // A proxy that asks for the second has put the first to use.
  void rotate_twice(const char* what) {
    ASSERT_NO_FATAL_FAILURE(rotate(what));
    ASSERT_NO_FATAL_FAILURE(rotate("--all"));
  }
  void trust(const std::string& roots) const {
    for (Mesh* node : nodes()) write(node->run_dir() + "/ca/roots.crt", roots);
  }

  // Trusted everywhere, then it signs, then the one before is gone.
  void change_root() {
    const test::Authority& next =
        held_.emplace_back(test::make_authority(str_cat("root ", held_.size() + 2).c_str()));
    const std::string now = to_pem(signs_->certificate.get()), then = to_pem(next.certificate.get());
    trust(now + then);
    ASSERT_NO_FATAL_FAILURE(rotate_twice("--root"));
    for (Mesh* node : nodes()) {
      const test::Authority own = test::make_authority("node", &next);
      write(node->run_dir() + "/ca/ca.crt", to_pem(own.certificate.get()));
      write(node->run_dir() + "/ca/ca.key", test::key_pem(own.key.get()));
    }
    ASSERT_NO_FATAL_FAILURE(rotate_twice("--root"));
    trust(then);
    ASSERT_NO_FATAL_FAILURE(rotate("--root"));
    signs_ = &next;
  }

  void generate(std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), {"-c", "4", "-d", "7200", "--timeout", "20"});
    auto process = Process::start(load_spawn(client_, std::move(arguments)));
    ASSERT_TRUE(process.ok()) << process.status();
    generators_.push_back(*std::move(process));
  }

  const test::Authority* signs_ = &root_;
  std::list<test::Authority> held_;
  std::vector<std::unique_ptr<Process>> generators_;
};

// One after the other: a rotation takes about two seconds, a change of root five times that.
// WEFT_ROTATIONS=70 is the acceptance run of five minutes.
TEST_F(RotationTest, CertificatesAndRootsAreReplacedAndNoClientNotices) {
  const char* wanted = std::getenv("WEFT_ROTATIONS");
  const uint32_t rotations =
      wanted == nullptr ? kDefaultRotations : parse_integer<uint32_t>(wanted).value_or(kDefaultRotations);
  // Pooled connections, new ones of clients, and new tunnels.
  ASSERT_NO_FATAL_FAILURE(generate({"10.96.0.10:80", "--rate", "200"}));
  ASSERT_NO_FATAL_FAILURE(generate({"10.96.0.10:80", "--rate", "50", "--new-connections"}));
  ASSERT_NO_FATAL_FAILURE(generate({"10.96.0.11:80", "--rate", "50", "--new-connections"}));
  const auto begin = std::chrono::steady_clock::now();
  for (uint32_t i = 0; i < rotations; ++i) {
    // A change of root is three rotations.
    if (i % 3 == 0) {
      ASSERT_NO_FATAL_FAILURE(change_root());
    } else {
      ASSERT_NO_FATAL_FAILURE(rotate("--all"));
    }
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  for (const auto& generator : generators_) {
    generator->signal(SIGINT);
    EXPECT_TRUE(generator->wait(milliseconds(30'000)).has_value());
    const LoadResult result = parse_load(generator->output());
    std::printf("%u rotations in %.0f s: %lu requests, %lu failed, %lu retries\n", rotations, took.count(),
                static_cast<unsigned long>(result.requests), static_cast<unsigned long>(result.failed),
                static_cast<unsigned long>(result.retries));
    EXPECT_GT(result.requests, 100u) << result.text;
    EXPECT_EQ(result.failed, 0u) << result.text << logs();
    EXPECT_EQ(result.retries, 0u) << result.text;
  }
  // The root of the beginning is one of nobody now.
  EXPECT_THAT(node1_->cli({"cert", "list"}).output, Not(HasSubstr(serial_number(root_.certificate.get()))));
}

}  // namespace
}  // namespace weft::harness
