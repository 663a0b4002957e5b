// The Kubernetes source over TLS and HTTP/2, against a server of others (tls_server.py): one connection for
// all, both sides checked.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <condition_variable>
#include <filesystem>
#include <mutex>

#include "base/fd.h"
#include "base/strings.h"
#include "control-plane/kubernetes/kubernetes_source.h"
#include "tests/unit/base/scratch_folder.h"

namespace weft::control_plane {
namespace {

using testing::HasSubstr;
namespace fs = std::filesystem;

constexpr std::chrono::seconds kLimit(20);

class TlsTest : public testing::Test {
 protected:
  void SetUp() override {
    ::signal(SIGPIPE, SIG_IGN);
    spawn();
    const std::string port = read_line();
    ASSERT_TRUE(port.starts_with("port ")) << "python3-h2 and openssl are in tools/packages.txt: " << port;
    access_.server = "https://127.0.0.1:" + port.substr(5);
    access_.authority.file = folder_ + "/ca.pem";
    access_.certificate.file = folder_ + "/client.pem";
    access_.key.file = folder_ + "/client.key";
    access_.token = "t";
  }
  void TearDown() override {
    source_.reset();
    input_.reset();
    if (child_ > 0) ::waitpid(child_, nullptr, 0);
  }

  void spawn() {
    int in[2], out[2];
    ASSERT_EQ(::pipe2(in, O_CLOEXEC), 0);
    ASSERT_EQ(::pipe2(out, O_CLOEXEC), 0);
    input_.reset(in[1]);
    output_.reset(out[0]);
    const UniqueFd child_in(in[0]), child_out(out[1]);
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, in[0], 0);
    ::posix_spawn_file_actions_adddup2(&actions, out[1], 1);
    std::string python = "/usr/bin/python3", script = "tests/unit/kubernetes/tls_server.py";
    char* const arguments[] = {python.data(), script.data(), folder_.data(), nullptr};
    const int spawned = ::posix_spawn(&child_, python.c_str(), &actions, nullptr, arguments, environ);
    ::posix_spawn_file_actions_destroy(&actions);
    ASSERT_EQ(spawned, 0);
  }
  // Without its end; "" when the server has ended.
  std::string read_line() {
    std::string line;
    char c = 0;
    while (::read(output_.get(), &c, 1) == 1 && c != '\n') line.push_back(c);
    return line;
  }
  // Kinds that the server does not know are asked for all the time.
  std::string next_request_for_services() {
    std::string line = read_line();
    while (!line.empty() && line.find(" /api/v1/services?") == std::string::npos) line = read_line();
    return line;
  }
  void new_port(int port) { tell_server(str_cat(port, "\n")); }
  void tell_server(const std::string& line) {
    ASSERT_EQ(::write(input_.get(), line.data(), line.size()), static_cast<ssize_t>(line.size()));
  }

  void start() {
    KubernetesSource::Options options;
    options.timing.first_look = std::chrono::milliseconds(20);
    auto source = KubernetesSource::start(access_, options, [this](Store::Changes changes) {
      const std::lock_guard lock(mutex_);
      const auto web = changes.find("Service shop/web");
      if (web != changes.end() && web->second && !web->second->objects.empty())
        port_ = std::get<Service>(web->second->objects.front()).ports.front().number;
      changed_.notify_all();
    });
    ASSERT_TRUE(source.ok()) << source.status();
    source_ = *std::move(source);
  }
  bool has_port(int port) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kLimit, [&] { return port_ == port; });
  }
  // What keeps the source from its first change.
  std::string problem() {
    start();
    while (source_->report().problems.empty()) {
      if (source_->wait_for_first(std::chrono::milliseconds(20), {})) return "none";
    }
    return source_->report().problems.front();
  }

  const ::weft::test::ScratchFolder scratch_;
  std::string folder_ = scratch_.path();
  pid_t child_ = 0;
  UniqueFd input_, output_;
  ApiAccess access_;
  std::mutex mutex_;
  std::condition_variable changed_;
  int port_ = 0;
  std::unique_ptr<KubernetesSource> source_;
};

TEST_F(TlsTest, AllKindsShareOneConnectionAndBothSidesAreChecked) {
  start();
  ASSERT_TRUE(source_->wait_for_first(kLimit, {})) << testing::PrintToString(source_->report().problems);
  EXPECT_TRUE(has_port(80));
  new_port(81);
  EXPECT_TRUE(has_port(81));
  for (size_t i = 0; i < kubernetes_kinds().size(); ++i) {
    const std::string line = read_line();
    EXPECT_TRUE(line.starts_with("request 1 /api")) << line;
    EXPECT_TRUE(line.ends_with(" token test-client")) << line;
  }
}

TEST_F(TlsTest, AServerWhoseAuthorityIsNotOursIsNotAsked) {
  access_.authority = {};
  EXPECT_THAT(problem(), HasSubstr("certificate"));
}

TEST_F(TlsTest, AnAuthorityThatIsGivenIsTheOnlyOne) {
  access_.authority.file = folder_ + "/other.pem";
  EXPECT_THAT(problem(), HasSubstr("certificate"));
}

TEST_F(TlsTest, ARotatedCertificateIsShownFromTheNextRequestOn) {
  start();
  ASSERT_TRUE(source_->wait_for_first(kLimit, {})) << testing::PrintToString(source_->report().problems);
  fs::rename(folder_ + "/rotated.pem", folder_ + "/client.pem");
  fs::rename(folder_ + "/rotated.key", folder_ + "/client.key");
  tell_server("end\n");
  // The first is the watch that ended.
  static_cast<void>(next_request_for_services());
  const std::string line = next_request_for_services();
  EXPECT_TRUE(line.starts_with("request 2 /api")) << line;
  EXPECT_TRUE(line.ends_with(" token test-rotated")) << line;
}

TEST_F(TlsTest, ACertificateThatCannotBeReadIsAProblemThatNamesTheFile) {
  fs::remove(folder_ + "/client.key");
  EXPECT_THAT(problem(), HasSubstr("client.key: "));
}

TEST_F(TlsTest, AServerThatDoesNotKnowUsIsAProblemThatIsTold) {
  access_.certificate = {};
  access_.key = {};
  EXPECT_THAT(problem(), HasSubstr("nothing is in force before it answers"));
}

}  // namespace
}  // namespace weft::control_plane
