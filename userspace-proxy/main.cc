// weft-proxy: flags, limits, privileges, then Proxy. Started by an operator or the node's service supervisor;
// reads no configuration files, everything it knows comes from the agent's sockets.
#include <malloc.h>
#include <signal.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <thread>

#include "base/file_limit.h"
#include "base/log.h"
#include "userspace-proxy/privileges.h"
#include "userspace-proxy/proxy.h"
#include "userspace-proxy/system_call_filter.h"

namespace {

weft::proxy::IoChoice io_choice(const std::string& name) {
  if (name == "uring") return weft::proxy::IoChoice::kUring;
  return name == "epoll" ? weft::proxy::IoChoice::kEpoll : weft::proxy::IoChoice::kAuto;
}

// Before the first thread: every thread inherits the mask.
void prepare_signals() {
  ::signal(SIGPIPE, SIG_IGN);
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&set, signal);
  ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
}

int fail(const absl::Status& status) {
  weft::log::error("proxy failed", {{"error", std::string(status.message())}, {"next", "see `weft check`"}});
  return 1;
}

// Buffers of bulk streams go back to the system when they are freed (mallopt(3)); by default the threshold
// rises to the size of the first of them. What one large head takes does not: each time it would come back by
// dozens of page faults, which cost more than the head.
void prepare_memory() {
  ::mallopt(M_MMAP_THRESHOLD, 192 * 1024);
  ::mallopt(M_TRIM_THRESHOLD, 256 * 1024);
}

// The leak checker of a sanitizer traces its own process.
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define WEFT_UNCONFINED 1
#endif
#endif
#ifdef WEFT_UNCONFINED
constexpr bool kConfines = false;
#else
constexpr bool kConfines = true;
#endif

int serve(const weft::proxy::Proxy::Options& options, const std::string& user, bool confined) {
  prepare_signals();
  prepare_memory();
  weft::raise_file_limit();
  if (const absl::Status status = weft::proxy::drop_privileges(user); !status.ok()) return fail(status);
  auto proxy = weft::proxy::Proxy::start(options);
  if (!proxy.ok()) return fail(proxy.status());
  if (confined) {
    if (const absl::Status status = weft::proxy::confine_system_calls(); !status.ok()) return fail(status);
  } else {
    weft::log::warn("system_calls_not_confined", {{"next", "drop --seccomp off outside of tests"}});
  }
  const absl::Status status = (*proxy)->run();
  return status.ok() ? 0 : fail(status);
}

// docs/limits.md has the table.
void add_limits(CLI::App& app, weft::proxy::Proxy::Options& options) {
  app.add_option("--max-connections", options.max_connections,
                 "Client connections of the process; 0: half of the open file limit; more for idle clients");
  app.add_option("--max-buffered-bytes", options.max_buffered_bytes,
                 "Bytes in buffers (64MiB and the like); 0: a quarter of the memory limit")
      ->transform(CLI::AsSizeValue(false));
  app.add_option("--pod-max-connections", options.pod_max_connections,
                 "Client connections of one pod; 0: half of all");
  app.add_option("--pod-max-requests", options.pod_max_exchanges,
                 "Requests and TCP connections of one pod under way; 0: half of all connections");
  app.add_option("--pod-max-buffered-bytes", options.pod_max_buffered_bytes,
                 "Bytes in buffers of one pod; 0: half of all")
      ->transform(CLI::AsSizeValue(false));
  app.add_option("--pod-max-waiting", options.pod_max_waiting,
                 "Requests of one pod that wait for a connection to their endpoint; 0: 1024");
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"weft-proxy: the node's proxy; configured by weft-agent over the sockets in --run-dir"};
  weft::proxy::Proxy::Options options;
  options.workers = std::max(1u, std::thread::hardware_concurrency());
  std::string io = "auto";
  std::string user;
  std::string log_level = "info";
  std::string seccomp = "on";
  std::string path_normalisation = "base";
  int64_t drain_seconds = options.drain_timeout.count();
  app.set_version_flag("--version", weft::proxy::kVersion);
  app.add_option("--run-dir", options.run_dir, "Folder of the agent's sockets")->capture_default_str();
  app.add_option("--workers", options.workers, "Data-path threads")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  app.add_option("--io", io, "auto (io_uring where it works, else epoll), uring or epoll")
      ->check(CLI::IsMember({"auto", "uring", "epoll"}))
      ->capture_default_str();
  app.add_option("--user", user, "Run as this user; as root the default is nobody");
  app.add_option("--access-log", options.access_log, "File, \"-\" for standard output, or \"off\"")
      ->capture_default_str();
  app.add_option("--drain-timeout", drain_seconds, "Seconds that connections may take to end after SIGTERM")
      ->check(CLI::Range(0, 86400))
      ->capture_default_str();
  app.add_option("--path-normalization", path_normalisation,
                 "How request paths are spelt before they are matched and forwarded")
      ->check(CLI::IsMember({"none", "base", "merge-slashes", "decode-and-merge-slashes"}))
      ->capture_default_str();
  app.add_option("--seccomp", seccomp, "on: only the system calls that a proxy needs; off: for debugging")
      ->check(CLI::IsMember({"on", "off"}))
      ->capture_default_str();
  add_limits(app, options);
  app.add_option("--log-level", log_level, "error, warn, info or debug")
      ->check(CLI::IsMember({"error", "warn", "info", "debug"}))
      ->capture_default_str();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    constexpr int kUsage = 64;
    if (error.get_exit_code() == 0) return app.exit(error);
    std::fprintf(stderr, "error: %s\nnext: weft-proxy --help\n", error.what());
    return kUsage;
  }
  weft::log::set_level(std::string_view(log_level));
  options.io = io_choice(io);
  options.path_normalisation = *weft::proxy::parse_path_normalisation(path_normalisation);
  options.drain_timeout = std::chrono::seconds(drain_seconds);
  return serve(options, user, kConfines && seccomp == "on");
}
