// See workloads.h.
#include "tests/harness/workloads.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/status_macros.h"
#include "tests/harness/wait.h"

#ifndef WEFT_BIN_DIR
#error "WEFT_BIN_DIR must name the folder of the binaries under test"
#endif

namespace weft::harness {
namespace {

absl::StatusOr<std::unique_ptr<Process>> start_server(const Pod& pod, std::vector<std::string> argv,
                                                      uint16_t port) {
  ASSIGN_OR_RETURN(auto process, Process::start(in_pod(pod, std::move(argv))));
  RETURN_IF_ERROR(wait_for_port(pod.netns, pod.v4(port), process.get()));
  return process;
}

std::string nginx_config(const std::string& root, uint16_t port, const std::string& version) {
  return str_cat("daemon off;\nmaster_process off;\nuser root;\npid ", root,
                 "/pid;\nerror_log stderr warn;\n", "events { worker_connections 8192; }\n",
                 "http {\n  access_log off;\n  keepalive_requests 100000000;\n",
                 "  client_max_body_size 0;\n  client_body_temp_path ", root, "/body;\n  proxy_temp_path ",
                 root, "/proxy;\n  fastcgi_temp_path ", root, "/fastcgi;\n  uwsgi_temp_path ", root,
                 "/uwsgi;\n  scgi_temp_path ", root, "/scgi;\n  server {\n    listen ", port,
                 " backlog=4096;\n    listen [::]:", port, " backlog=4096;\n    add_header x-version ",
                 version, " always;\n    location / { return 200 \"", version,
                 "\\n\"; }\n    location = /file { root ", root, "; }\n  }\n}\n");
}

}  // namespace

std::string binary(const std::string& name) {
  const char* from_environment = std::getenv("WEFT_BIN_DIR");
  return str_cat(from_environment != nullptr ? from_environment : WEFT_BIN_DIR, "/", name);
}

Spawn in_pod(const Pod& pod, std::vector<std::string> argv) {
  Spawn spawn;
  spawn.argv = std::move(argv);
  spawn.netns = pod.netns;
  spawn.cgroup = pod.cgroup;
  return spawn;
}

absl::StatusOr<std::unique_ptr<Process>> start_nginx(const Sandbox& sandbox, const Pod& pod, uint16_t port,
                                                     const std::string& version, uint64_t file_bytes) {
  const std::string root = str_cat(sandbox.directory(), "/nginx-", pod.name, "-", port);
  if (::mkdir(root.c_str(), 0755) != 0 && errno != EEXIST) return errno_status(str_cat("make ", root), errno);
  if (file_bytes > 0) {
    const UniqueFd file(::open((root + "/file").c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0644));
    if (::ftruncate(file.get(), static_cast<off_t>(file_bytes)) != 0)
      return errno_status("make the served file", errno);
  }
  std::ofstream(root + "/nginx.conf") << nginx_config(root, port, version);
  return start_server(pod, {"nginx", "-e", "stderr", "-p", root, "-c", root + "/nginx.conf"}, port);
}

absl::StatusOr<std::unique_ptr<Process>> start_redis(const Pod& pod, uint16_t port) {
  return start_server(pod,
                      {"redis-server", "--port", str_cat(port), "--bind", "*", "-::*", "--save", "",
                       "--daemonize", "no", "--protected-mode", "no"},
                      port);
}

absl::StatusOr<std::unique_ptr<Process>> start_peer(const Pod& pod, const std::string& mode, uint16_t port) {
  return start_server(pod, {binary("weft-test-peer"), mode, str_cat(port)}, port);
}

CommandResult curl(const Pod& pod, std::vector<std::string> arguments) {
  std::vector<std::string> argv = {"curl", "--silent", "--show-error", "--max-time", "60", "--globoff"};
  argv.insert(argv.end(), arguments.begin(), arguments.end());
  return run(in_pod(pod, std::move(argv)), milliseconds(90'000));
}

CommandResult peer(const Pod& pod, std::vector<std::string> arguments) {
  std::vector<std::string> argv = {binary("weft-test-peer")};
  argv.insert(argv.end(), arguments.begin(), arguments.end());
  return run(in_pod(pod, std::move(argv)), milliseconds(20'000));
}

double LoadResult::share(const std::string& version) const {
  const auto found = versions.find(version);
  if (found == versions.end() || requests == 0) return 0;
  return static_cast<double>(found->second) / static_cast<double>(requests);
}

Spawn load_spawn(const Pod& pod, std::vector<std::string> arguments, const std::string& interval) {
  std::vector<std::string> argv = {binary("weft-bench-load"), "--interval", interval, "--version-header",
                                   "x-version"};
  argv.insert(argv.end(), arguments.begin(), arguments.end());
  return in_pod(pod, std::move(argv));
}

LoadResult parse_load(const std::string& output) {
  LoadResult result;
  result.text = output;
  const size_t start = output.rfind("{\"body_bytes\"");
  if (start == std::string::npos) return result;
  const nlohmann::json final = nlohmann::json::parse(output.substr(start), nullptr, false);
  if (final.is_discarded()) return result;
  result.requests = final.at("requests").get<uint64_t>();
  result.retries = final.at("retries").get<uint64_t>();
  result.failed = final.at("failed").get<uint64_t>();
  result.versions = final.at("versions").get<std::map<std::string, uint64_t>>();
  result.failures = final.at("failures").get<std::map<std::string, uint64_t>>();
  return result;
}

uint64_t requests_so_far(const std::string& output) {
  uint64_t requests = 0;
  std::istringstream lines(output);
  for (std::string line; std::getline(lines, line);) {
    const nlohmann::json live = nlohmann::json::parse(line, nullptr, false);
    if (live.is_object() && !live.value("final", false)) requests += live.value("requests", uint64_t{0});
  }
  return requests;
}

LoadResult load(const Pod& pod, std::vector<std::string> arguments) {
  const CommandResult result = run(load_spawn(pod, std::move(arguments)), milliseconds(120'000));
  LoadResult parsed = parse_load(result.output);
  parsed.text += result.errors;
  return parsed;
}

}  // namespace weft::harness
