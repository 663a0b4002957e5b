// The agent is stopped, killed, upgraded, downgraded and reconfigured under traffic, the proxy is replaced,
// and no client notices: for a service with L7 and for one without, a generator that makes a new connection
// every 20 ms and one that keeps eight connections busy; and one connection that lives through all of it.
// WEFT_ROUNDS=100 is the acceptance run; without it a few rounds.
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <string>

#include "base/strings.h"
#include "tests/harness/mesh_test.h"

namespace weft::harness {
namespace {

constexpr char kEchoIp4[] = "10.96.0.40";
// HTTP, but declared TCP: straight to the backend, no proxy.
constexpr char kDirectIp4[] = "10.96.0.41";
constexpr char kDirectV4[] = "10.96.0.41:80";
constexpr uint32_t kDefaultRounds = 3;
constexpr double kNewConnectionsPerSecond = 50;

uint32_t rounds() {
  const char* text = std::getenv("WEFT_ROUNDS");
  return text == nullptr ? kDefaultRounds : parse_integer<uint32_t>(text).value_or(kDefaultRounds);
}

size_t count(const std::string& text, const std::string& part) {
  size_t found = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + part.size())) ++found;
  return found;
}

// One connection of the client pod to the echo service, made once.
class Conversation {
 public:
  Conversation(const std::string& directory, const Pod& pod) {
    const std::string fifo = directory + "/conversation";
    EXPECT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
    // For both directions: opening one end of a pipe waits for the other.
    lines_.reset(::open(fifo.c_str(), O_RDWR | O_CLOEXEC));
    Spawn spawn = in_pod(pod, {binary("weft-test-peer"), "converse", str_cat(kEchoIp4, ":7000")});
    spawn.input = fifo;
    auto process = Process::start(spawn);
    EXPECT_TRUE(process.ok()) << process.status();
    if (process.ok()) process_ = *std::move(process);
  }

  ::testing::AssertionResult echoes(const std::string& text) {
    const std::string line = text + "\n";
    if (process_ == nullptr) return ::testing::AssertionFailure() << "it was never started";
    if (::write(lines_.get(), line.data(), line.size()) != static_cast<ssize_t>(line.size()))
      return ::testing::AssertionFailure() << "cannot write";
    const bool echoed = wait_until(
        milliseconds(10'000), [&] { return process_->output().ends_with(line) || !process_->running(); });
    if (echoed && process_->running()) return ::testing::AssertionSuccess();
    return ::testing::AssertionFailure() << "'" << text << "' did not come back: " << process_->output();
  }

 private:
  UniqueFd lines_;
  std::unique_ptr<Process> process_;
};

class UpgradeTest : public MeshTest {
 protected:
  void SetUp() override {
    MeshTest::SetUp();
    if (HasFatalFailure()) return;
    ASSERT_EQ(mesh_->stop_proxy(), 0);
    mesh_->log_requests(false);
    ASSERT_TRUE(mesh_->start_proxy().ok());
    serve("echo", kEchoIp4, {.name = "tcp-echo", .port = 7000, .target_port = 7000}, "echo");
    serve("direct", kDirectIp4, {.name = "tcp-direct", .port = 80, .target_port = 8081}, "http");
    ASSERT_TRUE(wait_until(milliseconds(20'000), [&] {
      return peer(client_, {"dial", str_cat(kEchoIp4, ":7000"), "hello"}).output.ends_with("hello");
    })) << mesh_->log();
    ASSERT_TRUE(reachable(kDirectV4));
  }

  void serve(const std::string& name, const char* ip4, PortSpec port, const std::string& mode) {
    auto pod = add_service({.name = name, .ip4 = ip4, .ip6 = "", .ports = {port}});
    ASSERT_TRUE(pod.ok()) << pod.status();
    auto server = start_peer(*pod, mode, port.target_port);
    ASSERT_TRUE(server.ok()) << server.status();
    servers_.push_back(*std::move(server));
  }

  struct Generator {
    std::string name;
    bool paced;
    std::unique_ptr<Process> process;
  };
  // New connections at a pace, and as many requests as eight open connections carry.
  void generate(const std::string& name, const char* address) {
    const std::string pace = str_cat(kNewConnectionsPerSecond);
    add_generator(str_cat(name, " fresh"), true, {address, "-c", "8", "--new-connections", "--rate", pace});
    add_generator(str_cat(name, " busy"), false, {address, "-c", "8"});
  }
  void add_generator(const std::string& name, bool paced, std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), {"-d", "7200", "--timeout", "20"});
    auto process = Process::start(load_spawn(client_, std::move(arguments)));
    ASSERT_TRUE(process.ok()) << process.status();
    generators_.push_back({name, paced, std::move(*process)});
  }
  // Ends them: not one request failed, and none waited for an agent or a proxy longer than the pace allows.
  void expect_nobody_noticed(double seconds) {
    for (const Generator& generator : generators_) {
      generator.process->signal(SIGINT);
      EXPECT_TRUE(generator.process->wait(milliseconds(30'000)).has_value());
      const LoadResult result = parse_load(generator.process->output());
      std::printf("%s: %u rounds in %.0f s, %lu requests, %lu failed, %lu retries\n", generator.name.c_str(),
                  rounds(), seconds, static_cast<unsigned long>(result.requests),
                  static_cast<unsigned long>(result.failed), static_cast<unsigned long>(result.retries));
      EXPECT_EQ(result.failed, 0u) << generator.name << ": " << result.text << mesh_->log();
      EXPECT_EQ(result.retries, 0u) << generator.name << ": " << result.text;
      const double least = generator.paced ? 0.8 * kNewConnectionsPerSecond * seconds : 1000;
      EXPECT_GE(static_cast<double>(result.requests), least) << generator.name;
    }
  }

  void start(const std::string& program) {
    const absl::Status status = mesh_->start_agent(program);
    ASSERT_TRUE(status.ok()) << status;
  }
  void stop_and_start(const std::string& program) {
    ASSERT_EQ(mesh_->stop_agent(), 0) << mesh_->log();
    start(program);
  }
  // Another version takes over: maps of other shapes are carried over, and it says so.
  void change_version(const std::string& program) {
    const size_t before = count(mesh_->log(), " maps_migrated ");
    stop_and_start(program);
    EXPECT_EQ(count(mesh_->log(), " maps_migrated "), before + 1) << mesh_->log();
  }
  // The agent has read it and the proxy uses it.
  void reload(uint32_t weight) {
    mesh_->manifests().write("canary.yaml", canary_yaml(weight, 100 - weight));
    ASSERT_TRUE(cli_shows({"get", "routes"}, str_cat(weight, "%"))) << mesh_->log();
  }

  // The old one drains: it serves what it has, and new connections wait in the listeners for the next one.
  void replace_proxy() {
    ASSERT_TRUE(listeners_shared());
    ASSERT_EQ(mesh_->stop_proxy(), 0) << mesh_->log();
    ASSERT_TRUE(mesh_->start_proxy().ok());
    ASSERT_TRUE(listeners_shared());
  }

  // What the programs counted since the very first agent; 0 when the agent does not answer.
  double captured() const {
    const std::string text = mesh_->metrics();
    const std::string name = "weft_bpf_events_total{event=\"captured\"} ";
    const size_t at = text.find(name);
    return at == std::string::npos ? 0 : std::strtod(text.c_str() + at + name.size(), nullptr);
  }

  // A new connection is served, the old one lives, and no count went back.
  void expect_whole(Conversation& conversation, const std::string& when) {
    const CommandResult answer =
        curl(client_, {"--max-time", "20", "--fail", str_cat("http://", kProductV4, "/")});
    ASSERT_EQ(answer.exit_code, 0) << when << ": " << answer.errors << mesh_->log();
    ASSERT_TRUE(conversation.echoes(when)) << mesh_->log();
    const double now = captured();
    ASSERT_GT(now, captured_) << when;
    captured_ = now;
  }

  double captured_ = 0;
  std::vector<Generator> generators_;
};

TEST_F(UpgradeTest, NoClientNoticesRestartsKillsUpgradesDowngradesAndReloads) {
  ASSERT_NO_FATAL_FAILURE(generate("L7", kProductV4));
  ASSERT_NO_FATAL_FAILURE(generate("L4", kDirectV4));
  Conversation conversation(sandbox_->directory(), client_);
  ASSERT_NO_FATAL_FAILURE(expect_whole(conversation, "begin"));
  const auto begin = std::chrono::steady_clock::now();
  for (uint32_t round = 1; round <= rounds(); ++round) {
    const std::string in_round = str_cat("round ", round, " ");
    ASSERT_NO_FATAL_FAILURE(stop_and_start("weft-agent"));
    ASSERT_NO_FATAL_FAILURE(expect_whole(conversation, in_round + "restarted"));
    mesh_->kill_agent();
    ASSERT_NO_FATAL_FAILURE(start("weft-agent"));
    ASSERT_NO_FATAL_FAILURE(expect_whole(conversation, in_round + "killed"));
    ASSERT_NO_FATAL_FAILURE(change_version("weft-agent-next"));
    ASSERT_NO_FATAL_FAILURE(expect_whole(conversation, in_round + "upgraded"));
    ASSERT_NO_FATAL_FAILURE(reload(round % 2 == 0 ? 95 : 60));
    ASSERT_NO_FATAL_FAILURE(expect_whole(conversation, in_round + "reloaded"));
    ASSERT_NO_FATAL_FAILURE(change_version("weft-agent"));
    ASSERT_NO_FATAL_FAILURE(expect_whole(conversation, in_round + "downgraded"));
    ASSERT_NO_FATAL_FAILURE(replace_proxy());
    ASSERT_NO_FATAL_FAILURE(expect_whole(conversation, in_round + "proxy replaced"));
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  expect_nobody_noticed(took.count());
}

TEST_F(UpgradeTest, DirectTrafficDoesNotNoticeAProxyThatHangsDiesOrIsReplaced) {
  ASSERT_NO_FATAL_FAILURE(generate("L4", kDirectV4));
  Conversation conversation(sandbox_->directory(), client_);
  const auto begin = std::chrono::steady_clock::now();
  for (uint32_t round = 1; round <= rounds(); ++round) {
    mesh_->proxy().signal(SIGSTOP);
    ASSERT_TRUE(conversation.echoes(str_cat("round ", round, " hung"))) << mesh_->log();
    mesh_->kill_proxy();
    ASSERT_TRUE(conversation.echoes(str_cat("round ", round, " killed"))) << mesh_->log();
    ASSERT_TRUE(mesh_->start_proxy().ok());
    ASSERT_NO_FATAL_FAILURE(replace_proxy());
    ASSERT_TRUE(conversation.echoes(str_cat("round ", round, " replaced"))) << mesh_->log();
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  expect_nobody_noticed(took.count());
}

}  // namespace
}  // namespace weft::harness
