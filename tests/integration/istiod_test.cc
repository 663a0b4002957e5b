// Two nodes whose pods get their certificates from an istiod: whole agents and proxies, and a stand-in for
// istiod in another language (tests/harness/istiod.py). What it signs is what peers trust, also those that it
// signs for itself; without it what is valid goes on.
#include <gmock/gmock.h>
#include <signal.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/strings.h"
#include "tests/harness/topology.h"
#include "tests/integration/two_nodes.h"

namespace weft::harness {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using Json = nlohmann::json;

constexpr char kToken[] = "header.claims.signature";
constexpr milliseconds kLimit{30'000};

class IstiodTest : public HboneTest {
 protected:
  void TearDown() override {
    HboneTest::TearDown();
    if (istiod_ != nullptr) istiod_->stop(milliseconds(2'000));
  }

  void authorize(Mesh& node) override {
    if (istiod_ == nullptr) {
      ASSERT_EQ(::mkdir(file("").c_str(), 0700), 0);
      write(file("token"), kToken);
      write(file("accepts"), kToken);
      ASSERT_NO_FATAL_FAILURE(start_istiod());
    }
    ask_istiod(node, file("root.crt"));
  }
  void ask_istiod(Mesh& node, const std::string& root) const {
    node.configure_by({"--config-dir", node.manifests().path(), "--ca-address",
                       str_cat("127.0.0.1:", port_.number()), "--ca-root", root, "--ca-token",
                       file("token")});
  }
  void start_istiod() {
    Spawn spawn;
    spawn.argv = {kPython, "-B", "tests/harness/istiod.py", file(""), str_cat(port_.number())};
    auto started = Process::start(spawn);
    ASSERT_TRUE(started.ok()) << started.status();
    istiod_ = *std::move(started);
    ASSERT_TRUE(wait_until(kLimit, [this] {
      return istiod_->output().find("listening") != std::string::npos || !istiod_->running();
    }));
    ASSERT_TRUE(istiod_->running()) << "python3-grpcio and python3-cryptography are in tools/packages.txt: "
                                    << istiod_->output();
  }
  std::string file(const std::string& name) const { return sandbox_->directory() + "/istiod/" + name; }
  static std::string read(const std::string& path) {
    std::ostringstream text;
    text << std::ifstream(path).rdbuf();
    return text.str();
  }
  // What istiod was asked.
  std::vector<Json> questions() const {
    std::vector<Json> out;
    std::istringstream lines(istiod_->output());
    for (std::string line; std::getline(lines, line);) {
      if (line.starts_with("{")) out.push_back(Json::parse(line, nullptr, false));
    }
    return out;
  }
  static uint64_t counter(const Mesh& node, const std::string& name) {
    std::istringstream lines(node.metrics());
    for (std::string line; std::getline(lines, line);) {
      if (line.starts_with(name + " ")) return std::strtoull(line.c_str() + name.size() + 1, nullptr, 10);
    }
    return 0;
  }
  static uint64_t issued(const Mesh& node) { return counter(node, "weft_certificates_issued_total"); }
  static uint64_t refused(const Mesh& node) { return counter(node, "weft_certificates_refused_total"); }
  static void rotate(const Mesh& node) {
    const CommandResult done = node.cli({"cert", "rotate", "--all"});
    EXPECT_EQ(done.exit_code, 0) << done.errors;
  }
  bool status_says(const Mesh& node, const std::string& text) const {
    return wait_until(kLimit, [&] { return node.cli({"status"}).output.find(text) != std::string::npos; });
  }
  // More than so many certificates were given, and nobody complains any more.
  bool is_signed_again(const Mesh& node, uint64_t before) const {
    return wait_until(kLimit, [&] { return issued(node) > before; }) && wait_until(kLimit, [&] {
             return node.cli({"status"}).output.find("istiod") == std::string::npos;
           });
  }
  void expect_traffic(const char* while_what) {
    EXPECT_THAT(curl(client_, {"--fail", "--max-time", "5", "http://10.96.0.10/"}).output, HasSubstr(kAnswer))
        << while_what << logs();
  }

  const ReservedPort port_;
  std::unique_ptr<Process> istiod_;
};

TEST_F(IstiodTest, SignsForThePodsOfANodeAndTheyTrustWhomItSignsFor) {
  const auto root = read_certificates(read(file("root.crt")));
  ASSERT_TRUE(root.ok());
  for (const Mesh* node : {node1_.get(), node2_.get()}) {
    EXPECT_THAT(node->cli({"cert", "list"}).output,
                AllOf(HasSubstr(kDefaultId), HasSubstr(serial_number(root->front().get()))));
    EXPECT_EQ(node->cli({"cert", "rotate", "--root"}).exit_code, 1) << "the root is istiod's";
  }
  const std::vector<Json> asked = questions();
  EXPECT_GE(asked.size(), 2u) << "once for each node";
  for (const Json& each : asked) {
    EXPECT_EQ(each["metadata"], Json({{"ImpersonatedIdentity", kDefaultId}})) << each;
    EXPECT_EQ(each["uris"], Json({kDefaultId}));
    EXPECT_EQ(each["authorization"], str_cat("Bearer ", kToken));
  }
  // A pod behind somebody else, with a certificate of the same istiod; and one without.
  const std::string request = "GET / HTTP/1.0\\r\\n\\r\\n";
  const CommandResult served =
      tunnel({file("peer.crt"), file("peer.key"), file("root.crt")}, server_.v4(8080).to_string(), request);
  EXPECT_THAT(served.output, AllOf(HasSubstr("status 200"), HasSubstr(kAnswer))) << served.errors << logs();
  std::vector<std::string> foreign = credentials("foreign", kDefaultId);
  foreign.back() = file("root.crt");
  EXPECT_THAT(tunnel(foreign, server_.v4(8080).to_string(), request).output, Not(HasSubstr("status")));
}

TEST_F(IstiodTest, SignsAgainInTimeAndNoClientNotices) {
  write(file("mode"), "sign 10");
  auto load = Process::start(
      load_spawn(client_, {"10.96.0.10:80", "--rate", "50", "-c", "4", "-d", "7200", "--timeout", "20"}));
  ASSERT_TRUE(load.ok()) << load.status();
  for (const Mesh* node : {node1_.get(), node2_.get()}) rotate(*node);
  for (const Mesh* node : {node1_.get(), node2_.get()}) {
    // The first that was asked for, of ten seconds; and two in time for its end and the next one's.
    const uint64_t before = issued(*node);
    EXPECT_TRUE(wait_until(milliseconds(60'000), [&] { return issued(*node) >= before + 3; })) << logs();
  }
  (*load)->signal(SIGINT);
  EXPECT_TRUE((*load)->wait(kLimit).has_value());
  const LoadResult result = parse_load((*load)->output());
  EXPECT_GT(result.requests, 100u) << result.text;
  EXPECT_EQ(result.failed, 0u) << result.text << logs();
  for (const Mesh* node : {node1_.get(), node2_.get()}) EXPECT_EQ(refused(*node), 0u) << logs();
}

TEST_F(IstiodTest, MayBeAwayAndIsAskedLessAndLess) {
  const auto begin = std::chrono::steady_clock::now();
  istiod_->signal(SIGKILL);
  ASSERT_TRUE(istiod_->wait(kLimit).has_value());
  rotate(*node2_);
  // A second after the first failure, two after the second, a fifth more or less.
  EXPECT_TRUE(wait_until(kLimit, [&] { return refused(*node2_) >= 3; })) << logs();
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  EXPECT_GE(took.count(), 2.4);
  EXPECT_TRUE(status_says(*node2_, "see that istiod runs")) << node2_->cli({"status"}).output;
  EXPECT_THAT(node2_->cli({"cert", "show", "default/sa/default"}).output, HasSubstr("state: valid"));
  expect_traffic("istiod is away");
  const uint64_t before = issued(*node2_);
  ASSERT_NO_FATAL_FAILURE(start_istiod());
  EXPECT_TRUE(is_signed_again(*node2_, before)) << node2_->cli({"status"}).output << logs();
  expect_traffic("istiod is back");
}

TEST_F(IstiodTest, WhoIsNoIstiodGetsNoTokenAndWhoIsRefusedSaysWhy) {
  // Its certificate is of another root than the file has.
  ASSERT_EQ(node2_->stop_proxy(), 0);
  ASSERT_EQ(node2_->stop_agent(), 0);
  write(file("wrong.crt"), to_pem(root_.certificate.get()));
  ask_istiod(*node2_, file("wrong.crt"));
  const size_t asked = questions().size();
  ASSERT_TRUE(node2_->start_agent().ok()) << logs();
  ASSERT_TRUE(node2_->start_proxy().ok());
  EXPECT_TRUE(status_says(*node2_, "--ca-root signed its certificate")) << node2_->cli({"status"}).output;
  EXPECT_NE(curl(client_, {"--fail", "--max-time", "3", "http://10.96.0.10/"}).exit_code, 0)
      << "nothing goes in plain instead";
  EXPECT_EQ(questions().size(), asked) << "and nobody was told the token";
  write(file("wrong.crt"), read(file("root.crt")));
  EXPECT_TRUE(is_signed_again(*node2_, 0)) << logs();
  ASSERT_TRUE(answers(client_, "10.96.0.10:80")) << logs();

  // A token that is not for istiod.
  write(file("token"), "another.token.altogether");
  const uint64_t signed_before = issued(*node2_), refused_before = refused(*node2_);
  rotate(*node2_);
  EXPECT_TRUE(wait_until(kLimit, [&] { return refused(*node2_) > refused_before; })) << logs();
  EXPECT_TRUE(status_says(*node2_, "CA_TRUSTED_NODE_ACCOUNTS")) << node2_->cli({"status"}).output;
  expect_traffic("the last good certificate is valid");
  EXPECT_THAT(logs(), Not(HasSubstr("another.token")));
  write(file("token"), kToken);
  EXPECT_TRUE(is_signed_again(*node2_, signed_before)) << logs();
}

}  // namespace
}  // namespace weft::harness
