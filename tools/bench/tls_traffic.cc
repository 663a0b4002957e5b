// See tls_traffic.h.
#include "tools/bench/tls_traffic.h"

#include <dirent.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <set>
#include <utility>

#include "base/strings.h"
#include "tools/bench/loopback.h"
#include "userspace-proxy/config/resources.h"
#include "userspace-proxy/config/snapshot_builder.h"

namespace weft::bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kAnswerBytes = 1024;
constexpr size_t kBlock = 256 * 1024;
constexpr char kTunnels[] = "127.0.1.1:15008";
// Where clients dial; services of their own.
constexpr char kPlainRequests[] = "127.0.2.1", kTunnelRequests[] = "127.0.2.2", kPlainBytes[] = "127.0.2.3",
               kTunnelBytes[] = "127.0.2.4";
// The receiving worker's, for bytes in plain.
constexpr char kRelay[] = "127.0.2.5";

[[noreturn]] void fail(const char* what) {
  std::fprintf(stderr, "weft-bench-tls: %s\n", what);
  std::exit(1);
}

std::set<int> threads() {
  std::set<int> out;
  DIR* folder = ::opendir("/proc/self/task");
  if (folder == nullptr) fail("cannot read /proc/self/task");
  while (const dirent* entry = ::readdir(folder)) {
    if (const auto id = parse_integer<int>(entry->d_name)) out.insert(*id);
  }
  ::closedir(folder);
  return out;
}

// clock_getres(2): of a thread, by its id.
clockid_t clock_of(int thread) { return static_cast<clockid_t>((~static_cast<unsigned>(thread) << 3) | 6u); }

std::shared_ptr<const proxy::ServiceSpec> service(const std::string& name, const char* ip, uint16_t port,
                                                  proxy::Protocol protocol) {
  auto out = std::make_shared<proxy::ServiceSpec>();
  out->name = name;
  out->ns = "default";
  out->host = str_cat(name, ".default.svc.cluster.local");
  out->key = str_cat("default/", out->host);
  out->addresses.push_back(*IpAddress::parse(ip));
  out->ports.push_back({.number = port, .target = port, .protocol = protocol});
  return out;
}

std::shared_ptr<const proxy::WorkloadSpec> workload(
    const std::string& uid, const char* ip, const SpiffeId& id, bool hbone,
    const std::vector<std::pair<std::string, proxy::WorkloadSpec::Ports>>& services) {
  auto out = std::make_shared<proxy::WorkloadSpec>();
  out->uid = uid;
  out->name = uid;
  out->ns = "default";
  out->v4 = *IpAddress::parse(ip);
  out->identity = id;
  out->hbone = hbone;
  for (const auto& [name, ports] : services)
    out->services[str_cat("default/", name, ".default.svc.cluster.local")] = ports;
  return out;
}

}  // namespace

MeasuredWorker::MeasuredWorker() {
  const std::set<int> before = threads();
  proxy::Worker::Options options;
  options.sink = &sink_;
  auto worker = proxy::Worker::start(options);
  if (!worker.ok()) fail("a worker does not start");
  worker_ = *std::move(worker);
  for (const int thread : threads()) {
    if (!before.contains(thread)) clock_ = clock_of(thread);
  }
}

double MeasuredWorker::cpu_seconds() const {
  timespec now{};
  if (::clock_gettime(clock_, &now) != 0) fail("the time of a worker cannot be read");
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

EndlessServer::EndlessServer() : listener_(listen_at("0.0.0.0:0", &address_)) {
  thread_ = std::thread([this] { run(); });
}

EndlessServer::~EndlessServer() {
  ::shutdown(listener_.get(), SHUT_RDWR);
  thread_.join();
}

// One client at a time: the benchmark has no more.
void EndlessServer::run() {
  const std::string block(kBlock, 'x');
  for (pollfd ready{listener_.get(), POLLIN, 0}; ::poll(&ready, 1, -1) == 1;) {
    const UniqueFd client(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!client.valid()) return;
    while (::send(client.get(), block.data(), block.size(), MSG_NOSIGNAL) > 0) {
    }
  }
}

TlsTraffic::TlsTraffic(const TlsPair& pair) : answers_("0.0.0.0:0", kAnswerBytes) {
  SocketAddress capture, relay, tunnels;
  proxy::CaptureListener of_client{.netns_cookie = 1, .workload_uid = TlsPair::kClientUid};
  of_client.listener = listen_at("0.0.0.0:0", &capture);
  proxy::CaptureListener of_relay{.netns_cookie = 2, .workload_uid = "Kubernetes//Pod/default/relay"};
  of_relay.listener = listen_at("0.0.0.0:0", &relay);
  proxy::CaptureListener of_server{.netns_cookie = 3, .workload_uid = TlsPair::kServerUid};
  of_server.listener = listen_at(kTunnels, &tunnels);
  capture_ = capture.port;
  const proxy::SnapshotPtr known = snapshot(pair, capture.port, relay.port);
  for (MeasuredWorker* worker : {&sender_, &receiver_}) {
    (*worker)->set_credentials(pair.credentials());
    (*worker)->set_snapshot(known);
  }
  sender_->add_listener(std::move(of_client));
  receiver_->add_listener(std::move(of_relay));
  receiver_->add_listener(std::move(of_server));
  for (const Way way : {Way::kPlain, Way::kTunnel}) {
    LoadOptions load;
    load.target = {*IpAddress::parse(way == Way::kPlain ? kPlainRequests : kTunnelRequests), capture_};
    load.request = "GET / HTTP/1.1\r\nhost: shop\r\n\r\n";
    load.connections = 16;
    load.interval = 0;
    loads_[static_cast<size_t>(way)] = Load::create(std::move(load)).value();
  }
}

TlsTraffic::~TlsTraffic() = default;

proxy::SnapshotPtr TlsTraffic::snapshot(const TlsPair& pair, uint16_t capture, uint16_t relay) const {
  proxy::Resources out;
  const auto add_service = [&](const char* name, const char* ip, uint16_t port, proxy::Protocol protocol) {
    auto made = service(name, ip, port, protocol);
    out.services[made->key] = std::move(made);
  };
  add_service("plain-requests", kPlainRequests, capture, proxy::Protocol::kHttp);
  add_service("tunnel-requests", kTunnelRequests, capture, proxy::Protocol::kHttp);
  add_service("plain-bytes", kPlainBytes, capture, proxy::Protocol::kTcp);
  add_service("tunnel-bytes", kTunnelBytes, capture, proxy::Protocol::kTcp);
  add_service("relay", kRelay, relay, proxy::Protocol::kTcp);
  const auto add_workload = [&](auto made) { out.workloads[made->uid] = std::move(made); };
  const uint16_t answers = answers_.address().port;
  add_workload(workload("Kubernetes//Pod/default/plain", "127.0.0.1", pair.server_id(), false,
                        {{"plain-requests", {{capture, answers}}}, {"relay", {{relay, bytes_.port()}}}}));
  add_workload(
      workload(TlsPair::kServerUid, "127.0.1.1", pair.server_id(), true,
               {{"tunnel-requests", {{capture, answers}}}, {"tunnel-bytes", {{capture, bytes_.port()}}}}));
  // The receiving worker.
  add_workload(workload("Kubernetes//Pod/default/relay", kRelay, pair.server_id(), false,
                        {{"plain-bytes", {{capture, relay}}}}));
  return proxy::build_snapshot(out, 1);
}

double TlsTraffic::request_cpu_us(Way way, double seconds, double rate) {
  Load& load = *loads_[static_cast<size_t>(way)];
  load.set_pace(seconds, rate);
  const double begin = sender_.cpu_seconds();
  const absl::Status status = load.run(nullptr);
  const double spent = sender_.cpu_seconds() - begin;
  const Counters& totals = load.totals();
  if (!status.ok() || totals.failed() > 0 || totals.requests == 0) fail("a request failed");
  return 1e6 * spent / static_cast<double>(totals.requests);
}

double TlsTraffic::bulk_rate(Way way, double seconds) const {
  const UniqueFd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_storage to;
  const SocketAddress target{*IpAddress::parse(way == Way::kPlain ? kPlainBytes : kTunnelBytes), capture_};
  const socklen_t size = target.to_sockaddr(&to);
  if (::connect(client.get(), reinterpret_cast<const sockaddr*>(&to), size) != 0) fail("cannot connect");
  const timeval patience{10, 0};
  ::setsockopt(client.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  std::string block(kBlock, '\0');
  uint64_t bytes = 0;
  const auto read_for = [&](double span) {
    const Clock::time_point begin = Clock::now();
    for (;;) {
      const std::chrono::duration<double> took = Clock::now() - begin;
      if (took.count() >= span) return took.count();
      const ssize_t got = ::recv(client.get(), block.data(), block.size(), 0);
      if (got <= 0) fail("a connection that moves bytes ended");
      bytes += static_cast<uint64_t>(got);
    }
  };
  // Until windows and buffers have grown.
  read_for(0.2 * seconds);
  bytes = 0;
  const double took = read_for(seconds);
  return static_cast<double>(bytes) / took;
}

}  // namespace weft::bench
