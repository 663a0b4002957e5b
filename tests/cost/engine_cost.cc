// weft-engine-cost: recorded requests and responses through a real Worker, one exchange at a time, for
// callgrind to count. tests/cost/gate.py runs it under valgrind with --separate-threads: the main thread
// plays client and upstream and is not counted. Without valgrind it only checks that every case flows.
#include <fcntl.h>
#include <sys/socket.h>
#include <valgrind/callgrind.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "proto/istio/security.pb.h"
#include "proto/weft/mesh/v1/http_terms.pb.h"
#include "tests/cost/recorded.h"
#include "tests/unit/proxy-engine/http2_wire.h"
#include "tests/unit/proxy-engine/rig.h"
#include "userspace-proxy/policy/request_policy.h"
#include "userspace-proxy/telemetry/worker_telemetry.h"

namespace weft::proxy {
namespace {

// Enough to fill every pool and table, also those of the version that gets 5 % of the requests.
constexpr int kWarmUp = 300;
constexpr int kCounted = 200;

[[noreturn]] void fail(std::string_view name, const char* what) {
  std::fprintf(stderr, "weft-engine-cost: case %s: %s\n", std::string(name).c_str(), what);
  std::exit(1);
}

// A canary as the agent compiles it: a header match first, then weights, found by host.
SnapshotPtr canary_snapshot(const SocketAddress& dialled, const SocketAddress& endpoint,
                            ClusterProtocol protocol) {
  auto snapshot = std::make_shared<Snapshot>();
  snapshot->generation = 1;
  snapshot->sources.push_back(Source{.uid = "Kubernetes//Pod/shop/client", .name = "client", .ns = "shop"});
  snapshot->source_by_uid["Kubernetes//Pod/shop/client"] = 0;
  for (const char* subset : {"v1", "v2"}) {
    const std::string name = str_cat("cart.shop.svc.cluster.local|80|", subset);
    snapshot->cluster_by_name[name] = static_cast<uint32_t>(snapshot->clusters.size());
    snapshot->clusters.push_back(
        Cluster{.name = name, .service = "cart", .ns = "shop", .subset = subset, .protocol = protocol});
    snapshot->clusters.back().endpoints.push_back(
        Endpoint{.address = endpoint, .workload = str_cat("cart-", subset), .ns = "shop"});
  }
  NamedMatcher tester{.name = "x-canary", .value = {.kind = StringMatcher::Kind::kExact, .text = "always"}};
  Route testers{.name = "testers", .clusters = {{.cluster = 1, .label = "v2"}}, .total_weight = 1};
  const auto matches = std::make_shared<const std::vector<HttpMatcher>>(
      std::vector<HttpMatcher>{HttpMatcher{.headers = {std::move(tester)}}});
  testers.matches = *matches;
  Route weighted{.name = "canary", .total_weight = 100};
  weighted.clusters = {{.cluster = 0, .weight = 95, .label = "v1"},
                       {.cluster = 1, .weight = 5, .label = "v2"}};
  snapshot->virtual_hosts.push_back(std::make_shared<const VirtualHost>(
      VirtualHost{.name = "cart", .routes = {std::move(testers), std::move(weighted)}, .owner = matches}));
  for (const char* host : {"cart", "cart.shop", "cart.shop.svc.cluster.local"})
    snapshot->virtual_host_by_host[Snapshot::HostKey{.ns = "shop", .port = dialled.port, .host = host}] = 0;
  snapshot->service_ports.push_back(
      ServicePort{.service = "cart", .ns = "shop", .protocol = Protocol::kHttp, .tcp_cluster = 0});
  snapshot->service_port_by_address[dialled] = 0;
  return snapshot;
}

// The same under a DestinationRule that asks everything of each request: a hash of its source, failures that
// count, limits of each kind. All of it goes to v1: subsets under limits do not share connections.
SnapshotPtr under_policy(const SnapshotPtr& canary) {
  auto snapshot = std::make_shared<Snapshot>(*canary);
  auto policy = std::make_shared<ClusterPolicy>();
  policy->balancing.table_size = 1024;
  policy->balancing.hash.kind = HashKey::Kind::kSourceIp;
  policy->outlier = OutlierSettings();
  policy->connections = std::make_shared<const ConnectionSettings>(
      ConnectionSettings{.max_connections = 10, .max_pending = 10, .max_requests = 10});
  snapshot->clusters[0].policy = policy;
  snapshot->clusters[0].load_balancer = LoadBalancer::kRingHash;
  const auto host = std::make_shared<VirtualHost>(*snapshot->virtual_hosts[0]);
  host->routes[1].clusters = {{.cluster = 0, .weight = 100, .label = "v1"}};
  snapshot->virtual_hosts[0] = host;
  return snapshot;
}

// The same at a port of the node, for clients outside the mesh. `judged`: under a policy that asks about
// their address and the path.
SnapshotPtr at_gateway(const SnapshotPtr& canary, uint16_t port, bool judged) {
  auto snapshot = std::make_shared<Snapshot>(*canary);
  snapshot->gateway_ports[port] = {.kind = GatewayPort::Kind::kHttp};
  snapshot->gateway_host_by_host[Snapshot::HostKey{.ns = "", .port = port, .host = ""}] = 0;
  if (!judged) return snapshot;
  auto policy = std::make_shared<istio::security::Authorization>();
  policy->set_name("edge");
  policy->set_namespace_("shop");
  policy->set_action(istio::security::DENY);
  mesh::v1::HttpTerms terms;
  terms.add_paths()->set_prefix("/admin");
  auto& match = *policy->add_rules()->add_clauses()->add_matches();
  match.mutable_source_ips()->Add()->set_address(IpAddress::parse("127.0.0.1")->packed());
  match.mutable_source_ips(0)->set_length(32);
  auto& extension = *match.add_extensions();
  extension.set_name("weft.mesh.v1.HttpTerms");
  extension.mutable_config()->PackFrom(terms);
  auto rules = std::make_shared<GatewayRules>();
  rules->policies = std::make_shared<const PolicySet>(std::vector<AuthorizationPtr>{std::move(policy)});
  snapshot->gateway_rules.emplace(snapshot->virtual_hosts[0].get(), std::move(rules));
  return snapshot;
}

// Callgrind's requests act on the thread that makes them, and record() is where our code runs on the
// worker's: there counting starts and ends, at the same point of an exchange.
class CountingSink final : public ExchangeSink {
 public:
  void record(const ExchangeRecord& record, const Snapshot& snapshot) override {
    telemetry_.record(record, snapshot);
    const int count = recorded_.load(std::memory_order_relaxed) + 1;
    if (count == kWarmUp) CALLGRIND_ZERO_STATS;
    if (count == kWarmUp + kCounted) CALLGRIND_DUMP_STATS_AT(case_.c_str());
    recorded_.store(count, std::memory_order_release);
  }
  // Between two cases: the worker is idle and records nothing.
  void begin(const std::string& name) {
    case_ = name;
    recorded_ = 0;
  }
  bool done() const { return recorded_.load(std::memory_order_acquire) == kWarmUp + kCounted; }

 private:
  WorkerTelemetry telemetry_{0, nullptr, nullptr};
  std::string case_;
  std::atomic<int> recorded_{0};
};

// The worker between a client's connection and an upstream's, both ends held by this thread.
class Bench {
 public:
  // Where the client comes in.
  enum class Place : uint8_t { kPod, kPodUnderPolicy, kGateway, kJudgedGateway };

  explicit Bench(ClusterProtocol protocol, Place place = Place::kPod)
      : upstream_(listen_on_loopback(&endpoint_)) {
    const bool gateway = place == Place::kGateway || place == Place::kJudgedGateway;
    CaptureListener listener{.netns_cookie = 1, .workload_uid = "Kubernetes//Pod/shop/client"};
    if (gateway) listener.workload_uid = "weft.dev/gateway";
    listener.listener = listen_on_loopback(&dialled_);
    fcntl(listener.listener.get(), F_SETFL, O_NONBLOCK);
    Worker::Options options;
    options.sink = &sink_;
    // One backend, whatever this kernel offers: the counts are compared between machines.
    options.io = IoKind::kEpoll;
    worker_ = Worker::start(options).value();
    worker_->add_listener(std::move(listener));
    const SnapshotPtr canary = canary_snapshot(dialled_, endpoint_, protocol);
    worker_->set_snapshot(gateway ? at_gateway(canary, dialled_.port, place == Place::kJudgedGateway)
                          : place == Place::kPodUnderPolicy ? under_policy(canary)
                                                            : canary);
    client_ = std::make_unique<TestConnection>(TestConnection::to(dialled_));
  }
  ~Bench() { worker_.reset(); }

 protected:
  TestConnection& client() { return *client_; }
  // The upstream's end; the worker's dial is waited for the first time.
  TestConnection& server() {
    if (server_ == nullptr)
      server_ = std::make_unique<TestConnection>(
          UniqueFd(accept4(upstream_.get(), nullptr, nullptr, SOCK_CLOEXEC)));
    return *server_;
  }
  // kWarmUp + kCounted exchanges.
  template <typename Exchange>
  void run(const std::string& name, Exchange exchange) {
    sink_.begin(name);
    for (int i = 0; i < kWarmUp + kCounted; ++i) exchange(i);
    // The record follows the last byte.
    while (!sink_.done()) std::this_thread::yield();
  }

 private:
  SocketAddress dialled_, endpoint_;
  CountingSink sink_;
  UniqueFd upstream_;
  std::unique_ptr<Worker> worker_;
  std::unique_ptr<TestConnection> client_, server_;
};

class Http1Bench final : public Bench {
 public:
  explicit Http1Bench(Place place = Place::kPod) : Bench(ClusterProtocol::kAsClient, place) {}

  // The first exchange learns how long the forwarded messages are; the others read exactly that.
  void play(const Recorded& recorded) {
    run(recorded.name, [&](int i) { i == 0 ? learn(recorded) : exchange(recorded); });
  }

 private:
  void learn(const Recorded& recorded) {
    if (!client().send(recorded.request)) fail(recorded.name, "the worker does not take the request");
    request_bytes_ = server().read_message().size();
    if (request_bytes_ == 0) fail(recorded.name, "no request reaches the upstream");
    if (!server().send(recorded.response)) fail(recorded.name, "the worker does not take the response");
    const std::string answer = client().read_message();
    response_bytes_ = answer.size();
    if (answer.rfind("HTTP/1.1 200 ", 0) != 0) fail(recorded.name, "the client gets no 200");
  }

  void exchange(const Recorded& recorded) {
    if (!client().send(recorded.request) || server().read(request_bytes_).size() != request_bytes_ ||
        !server().send(recorded.response) || client().read(response_bytes_).size() != response_bytes_)
      fail(recorded.name, "an exchange ended early");
  }

  size_t request_bytes_ = 0, response_bytes_ = 0;
};

Http2Fields fields_of(const RecordedHttp2::Fields& recorded) {
  Http2Fields fields;
  for (const auto& [name, value] : recorded) fields.add(name, value);
  return fields;
}

// A bench for each case: the connections begin anew with their tables.
class Http2Bench final : public Bench {
 public:
  explicit Http2Bench(const RecordedHttp2& recorded)
      : Bench(recorded.http1_response.empty() ? ClusterProtocol::kHttp2 : ClusterProtocol::kHttp1),
        recorded_(recorded),
        client_wire_(Http2Session::Role::kClient, client()) {
    for (const auto& [name, value] : recorded.trailers) trailers_.push_back(Header{name, value});
  }

  void play() {
    run(recorded_.name, [this](int) { exchange(); });
  }

 private:
  void exchange() {
    RecordingStream request;
    client_wire_.mine = &request;
    const iovec body[] = {piece(recorded_.request_body)};
    const bool bare = recorded_.request_body.empty();
    if (!client_wire_.peer.session->send_request(request, fields_of(recorded_.request), bare))
      fail(recorded_.name, "no stream can be opened");
    if (!bare) client_wire_.peer.session->offer(request, body, true, {});
    client_wire_.speak();
    recorded_.http1_response.empty() ? answer() : answer_http1();
    client_wire_.turn_until([&] { return !request.closed.empty(); });
    if (request.closed.empty() || request.closed[0] != Http2StreamEnd::kComplete ||
        request.field(0, ":status") != "200")
      fail(recorded_.name, "the client gets no 200");
    client_wire_.mine = nullptr;
  }

  void answer_http1() {
    if (server().read_message().empty() || !server().send(recorded_.http1_response))
      fail(recorded_.name, "no request reaches the upstream");
  }

  void answer() {
    if (server_wire_ == nullptr)
      server_wire_ = std::make_unique<WirePeer>(Http2Session::Role::kServer, server());
    Peer& peer = server_wire_->peer;
    if (!server_wire_->turn_until([&] { return !peer.streams.empty() && peer.streams.back().ended; }))
      fail(recorded_.name, "no request reaches the upstream");
    const iovec body[] = {piece(recorded_.response_body)};
    peer.session->send_response(peer.streams.back(), fields_of(recorded_.response), false);
    peer.session->offer(peer.streams.back(), body, true, trailers_);
    server_wire_->speak();
    peer.streams.clear();
  }

  const RecordedHttp2& recorded_;
  std::vector<Header> trailers_;
  WirePeer client_wire_;
  std::unique_ptr<WirePeer> server_wire_;
};

void say(const std::string& name) {
  std::printf("{\"case\": \"%s\", \"requests\": %d}\n", name.c_str(), kCounted);
}

void play_all() {
  {
    Http1Bench bench;
    for (const Recorded& recorded : recorded_exchanges()) {
      bench.play(recorded);
      say(recorded.name);
    }
  }
  using Place = Bench::Place;
  for (const auto& [place, suffix] :
       {std::pair(Place::kPodUnderPolicy, "_under_policy"), std::pair(Place::kGateway, "_at_gateway"),
        std::pair(Place::kJudgedGateway, "_at_gateway_under_policy")}) {
    Recorded there = recorded_exchanges().front();
    there.name += suffix;
    Http1Bench(place).play(there);
    say(there.name);
  }
  for (const RecordedHttp2& recorded : recorded_http2_exchanges()) {
    Http2Bench(recorded).play();
    say(recorded.name);
  }
}

}  // namespace
}  // namespace weft::proxy

int main() {
  weft::proxy::play_all();
  return 0;
}
