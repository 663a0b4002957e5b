// Differential framing with nginx and HAProxy between the proxy's worker and the strict recorder: what they
// make of what we forward, seen from behind them. Loopback only.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

#include "base/strings.h"
#include "tests/harness/process.h"
#include "tests/harness/wait.h"
#include "tests/unit/proxy-engine/framing_check.h"
#include "tests/unit/proxy-engine/framing_variants.h"

namespace weft::proxy {
namespace {

// Passes everything on as it understood it: buffered, so the body that comes out is the body it counted.
std::string nginx_config(const std::string& root, uint16_t port, const SocketAddress& upstream) {
  std::string temporary;
  for (const char* kind : {"client_body", "proxy", "fastcgi", "uwsgi", "scgi"})
    str_append(&temporary, "  ", kind, "_temp_path ", root, "/", kind, ";\n");
  return str_cat(
      "daemon off;\nmaster_process off;\nuser root;\npid ", root, "/pid;\nerror_log stderr crit;\n",
      "events { worker_connections 1024; }\nhttp {\n  access_log off;\n", temporary,
      "  ignore_invalid_headers off;\n  underscores_in_headers on;\n  merge_slashes off;\n",
      "  keepalive_requests 1000000;\n  upstream recorder { server ", upstream.to_string(),
      "; keepalive 4; }\n  server {\n    listen 127.0.0.1:", port,
      ";\n    location / {\n      proxy_pass http://recorder;\n      proxy_http_version 1.1;\n",
      "      proxy_set_header Host $http_host;\n      proxy_set_header Connection \"\";\n    }\n  }\n}\n");
}

using harness::Spawn;

class Folder {
 public:
  Folder() {
    std::string path = testing::TempDir() + "weft-framing-XXXXXX";
    if (::mkdtemp(path.data()) != nullptr) path_ = path;
  }
  ~Folder() {
    if (!path_.empty()) harness::run(Spawn{.argv = {"rm", "-r", path_}});
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// Neither adds nor hides anything, and answers what it refuses with 400.
std::string haproxy_config(uint16_t port, const SocketAddress& upstream) {
  return str_cat(
      "global\n  maxconn 1000\ndefaults\n  mode http\n  timeout connect 10s\n  timeout client 10s\n",
      "  timeout server 10s\nfrontend in\n  bind 127.0.0.1:", port,
      "\n  default_backend recorder\nbackend recorder\n  server recorder ", upstream.to_string(), "\n");
}

// Every variant through the proxy, `server` behind it and the recorder behind that.
void expect_one_framing(const Spawn& server, const SocketAddress& address, FramingRecorder& recorder) {
  auto process = harness::Process::start(server);
  ASSERT_TRUE(process.ok()) << process.status();
  const absl::Status up = harness::wait_for_port("", address, process->get());
  ASSERT_TRUE(up.ok()) << up << "\n" << (*process)->output();

  Rig rig(Rig::Setup{.clusters = {{.name = "server", .endpoints = {address}}}});
  FramingCheck check(rig.address(), recorder);
  int problems = 0;
  for (const std::string& variant : framing_variants()) {
    const std::string problem = check.run(variant);
    if (problem.empty()) continue;
    ADD_FAILURE() << problem;
    ASSERT_LT(++problems, 10) << "and so on\n" << (*process)->output();
  }
  EXPECT_EQ(recorder.malformed(), std::vector<std::string>());
  testing::Test::RecordProperty("variants", static_cast<int>(check.totals().variants));
  testing::Test::RecordProperty("forwarded", static_cast<int>(check.totals().forwarded));
  EXPECT_GE(check.totals().variants, 2000u);
  EXPECT_GE(check.totals().forwarded, 300u);
}

TEST(FramingIntegrationTest, NginxBehindTheProxySeesWhatTheClientFramed) {
  FramingRecorder recorder;
  const Folder folder;
  ASSERT_FALSE(folder.path().empty());
  const harness::ReservedPort port;
  const SocketAddress address{*IpAddress::parse("127.0.0.1"), port.number()};
  const std::string config = folder.path() + "/nginx.conf";
  std::ofstream(config) << nginx_config(folder.path(), address.port, recorder.address());
  expect_one_framing({.argv = {"nginx", "-e", "stderr", "-p", folder.path(), "-c", config}}, address,
                     recorder);
}

TEST(FramingIntegrationTest, HaproxyBehindTheProxySeesWhatTheClientFramed) {
  FramingRecorder recorder;
  const Folder folder;
  ASSERT_FALSE(folder.path().empty());
  const harness::ReservedPort port;
  const SocketAddress address{*IpAddress::parse("127.0.0.1"), port.number()};
  const std::string config = folder.path() + "/haproxy.cfg";
  std::ofstream(config) << haproxy_config(address.port, recorder.address());
  expect_one_framing({.argv = {"haproxy", "-db", "-f", config}}, address, recorder);
}

}  // namespace
}  // namespace weft::proxy
