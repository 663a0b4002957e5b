// weft-bench-load: a small HTTP/1.1 load generator. tools/demo, tests/integration and the benchmarks start it
// inside a pod's namespace and read its JSON lines. It prints nothing but JSON on standard output and never
// retries a lost request.
#include <sys/syscall.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "base/clock.h"
#include "base/strings.h"
#include "tools/bench/load.h"

namespace weft::bench {
namespace {

Load* g_load = nullptr;

void on_signal(int) {
  if (g_load != nullptr) g_load->stop();
}

struct Arguments {
  std::string target;
  std::string path = "/";
  std::string method = "GET";
  std::string host;
  std::vector<std::string> headers;
  uint64_t body_bytes = 0;
  bool slices = false;
};

void add_flags(CLI::App& app, Arguments& arguments, LoadOptions& options) {
  app.add_option("target", arguments.target, "IP:PORT or [IPv6]:PORT")->required();
  app.add_option("--path", arguments.path, "Request target");
  app.add_option("--method", arguments.method, "Request method");
  app.add_option("--host", arguments.host, "Host header; default the target");
  app.add_option("-H,--header", arguments.headers, "Request header, 'Name: value'; may be repeated");
  app.add_option("--body-bytes", arguments.body_bytes, "Send a body of this size")
      ->check(CLI::Range(0, 1 << 24));
  app.add_option("-c,--connections", options.connections, "Connections at the same time")
      ->check(CLI::Range(1, 20000));
  app.add_option("--rate", options.rate, "Requests per second in all; 0: as fast as answers come");
  app.add_option("-n,--requests", options.requests, "Stop after this many requests");
  app.add_option("-d,--duration", options.duration, "Stop after this many seconds");
  app.add_option("--timeout", options.timeout, "Seconds for one request");
  app.add_option("--interval", options.interval, "Seconds between live JSON lines; 0: only the final one");
  app.add_option("--version-header", options.version_header,
                 "Count answers per value of this response header");
  app.add_flag("--version-body", options.version_from_body, "Count answers per first line of the body");
  app.add_flag("--new-connections", options.new_connections, "A new connection for every request");
  app.add_flag("--slices", arguments.slices,
               "Lines 'SECONDS RATE' on standard input each run a slice on the same connections");
  app.add_flag("--mapped", options.mapped_v4, "Dial an IPv4 target as ::ffff:a.b.c.d");
}

std::string request_bytes(const Arguments& arguments, bool close) {
  std::string out =
      str_cat(arguments.method, " ", arguments.path,
              " HTTP/1.1\r\nHost: ", arguments.host.empty() ? arguments.target : arguments.host, "\r\n");
  for (const std::string& header : arguments.headers) str_append(&out, header, "\r\n");
  if (close) out += "Connection: close\r\n";
  if (arguments.body_bytes > 0) str_append(&out, "Content-Length: ", arguments.body_bytes, "\r\n");
  out += "\r\n";
  out.append(arguments.body_bytes, 'x');
  return out;
}

// What this machine takes for a system call that does nothing: the yardstick of every figure that counts
// them.
double empty_syscall_ns() {
  constexpr int kCalls = 20000;
  const SystemClock clock;
  const MonotonicNs start = clock.now();
  for (int i = 0; i < kCalls; ++i) ::syscall(SYS_getppid);
  return static_cast<double>(clock.now() - start) / kCalls;
}

void print_line(const std::string& line) {
  std::printf("%s\n", line.c_str());
  std::fflush(stdout);
}

int run_load(LoadOptions options) {
  auto load = Load::create(std::move(options));
  if (!load.ok()) {
    std::fprintf(stderr, "weft-bench-load: %s\n", load.status().ToString().c_str());
    return 1;
  }
  g_load = load->get();
  std::signal(SIGINT, on_signal);
  std::signal(SIGTERM, on_signal);
  const absl::Status status = (*load)->run([](const Counters& interval, double at, double span) {
    print_line(to_json(interval, at, span, false));
  });
  const double elapsed = (*load)->elapsed_seconds();
  print_line(to_json((*load)->totals(), elapsed, elapsed, true));
  g_load = nullptr;
  if (!status.ok()) std::fprintf(stderr, "weft-bench-load: %s\n", status.ToString().c_str());
  return status.ok() ? 0 : 1;
}

// Slices of load on the same connections, for benchmarks that measure several arms in turns: each line of the
// standard input, "SECONDS RATE", runs one and prints its JSON line.
int run_slices(LoadOptions options) {
  options.interval = 0;
  auto load = Load::create(std::move(options));
  if (!load.ok()) {
    std::fprintf(stderr, "weft-bench-load: %s\n", load.status().ToString().c_str());
    return 1;
  }
  print_line(str_cat("{\"ready\": true, \"empty_syscall_ns\": ", static_cast<int>(empty_syscall_ns()), "}"));
  double seconds = 0, rate = 0;
  while (std::scanf("%lf %lf", &seconds, &rate) == 2 && seconds > 0) {
    (*load)->set_pace(seconds, rate);
    const absl::Status status = (*load)->run(nullptr);
    if (!status.ok()) {
      std::fprintf(stderr, "weft-bench-load: %s\n", status.ToString().c_str());
      return 1;
    }
    const double elapsed = (*load)->elapsed_seconds();
    print_line(to_json((*load)->totals(), elapsed, elapsed, true));
  }
  return 0;
}

int main_of(int argc, char** argv) {
  CLI::App app("HTTP/1.1 load generator. Exit 0: the run was complete; failed requests are in the JSON.");
  Arguments arguments;
  LoadOptions options;
  add_flags(app, arguments, options);
  CLI11_PARSE(app, argc, argv);
  const auto target = SocketAddress::parse(arguments.target);
  if (!target || target->port == 0) {
    std::fprintf(stderr, "weft-bench-load: '%s' is not IP:PORT; names are not resolved, give the address\n",
                 arguments.target.c_str());
    return 64;
  }
  if (!arguments.slices && options.requests == 0 && options.duration == 0) {
    std::fprintf(stderr, "weft-bench-load: say when to stop: --requests N or --duration SECONDS\n");
    return 64;
  }
  options.target = *target;
  for (char& c : options.version_header) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  options.request = request_bytes(arguments, options.new_connections);
  return arguments.slices ? run_slices(std::move(options)) : run_load(std::move(options));
}

}  // namespace
}  // namespace weft::bench

int main(int argc, char** argv) { return weft::bench::main_of(argc, argv); }
