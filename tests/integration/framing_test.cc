// Differential framing with nginx between the proxy's worker and the strict recorder: what nginx makes of
// what we forward, seen from behind it. Loopback only.
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

class Folder {
 public:
  Folder() {
    std::string path = testing::TempDir() + "weft-framing-XXXXXX";
    if (::mkdtemp(path.data()) != nullptr) path_ = path;
  }
  ~Folder() {
    if (!path_.empty()) harness::run(harness::Spawn{.argv = {"rm", "-r", path_}});
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

TEST(FramingIntegrationTest, NginxBehindTheProxySeesWhatTheClientFramed) {
  FramingRecorder recorder;
  const Folder folder;
  ASSERT_FALSE(folder.path().empty());
  const SocketAddress address{*IpAddress::parse("127.0.0.1"), harness::free_port()};
  const std::string config = folder.path() + "/nginx.conf";
  std::ofstream(config) << nginx_config(folder.path(), address.port, recorder.address());
  auto nginx = harness::Process::start(
      harness::Spawn{.argv = {"nginx", "-e", "stderr", "-p", folder.path(), "-c", config}});
  ASSERT_TRUE(nginx.ok()) << nginx.status();
  const absl::Status up = harness::wait_for_port("", address, nginx->get());
  ASSERT_TRUE(up.ok()) << up << "\n" << (*nginx)->output();

  Rig rig(Rig::Setup{.clusters = {{.name = "nginx", .endpoints = {address}}}});
  FramingCheck check(rig.address(), recorder);
  int problems = 0;
  for (const std::string& variant : framing_variants()) {
    const std::string problem = check.run(variant);
    if (problem.empty()) continue;
    ADD_FAILURE() << problem;
    ASSERT_LT(++problems, 10) << "and so on\n" << (*nginx)->output();
  }
  EXPECT_EQ(recorder.malformed(), std::vector<std::string>());
  RecordProperty("variants", static_cast<int>(check.totals().variants));
  RecordProperty("forwarded", static_cast<int>(check.totals().forwarded));
  EXPECT_GE(check.totals().variants, 2000u);
  EXPECT_GE(check.totals().forwarded, 300u);
}

}  // namespace
}  // namespace weft::proxy
