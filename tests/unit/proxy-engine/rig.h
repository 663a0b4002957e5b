// What the engine's tests share: blocking test servers and clients on 127.0.0.1, and a real Worker with a
// hand-made snapshot. Never used outside tests; every wait is bounded by a socket timeout or a condition
// variable with a deadline. The whole suite runs once for each backend: WEFT_TEST_IO (epoll or uring)
// chooses.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "base/fd.h"
#include "userspace-proxy/worker.h"

namespace weft::proxy {

// The backend that this run of the suite is about.
IoKind io_under_test();

// As recv(2). The kernel interrupts a thread once more after a ring that it used was closed (turned_rig.h has
// one), and a socket with a time limit does not restart by itself (signal(7)).
ssize_t recv_uninterrupted(int fd, char* bytes, size_t size);

// A blocking connected socket whose reads give up after five seconds.
class TestConnection {
 public:
  explicit TestConnection(UniqueFd fd);
  // `from`: an address of this machine; empty: the kernel chooses.
  static TestConnection to(const SocketAddress& address, const std::string& from = "");

  bool send(std::string_view bytes);
  // What arrives until `count` bytes, end of stream or timeout.
  std::string read(size_t count);
  std::string read_until(std::string_view marker);
  // A whole head and its Content-Length body; chunked ones with their framing.
  std::string read_message();
  std::string read_to_end();
  // What came with the bytes that were read.
  std::string take_unread() { return std::exchange(unread_, std::string()); }
  // 0: end of stream, positive: errno of the failed read, -1: bytes came.
  int read_end();
  void finish_sending();
  void reset();
  void close() { fd_.reset(); }
  int fd() const { return fd_.get(); }

 private:
  bool fill();
  UniqueFd fd_;
  std::string unread_;
};

// Serves each connection with `handler` on its own thread; ends with the object.
class TestServer {
 public:
  using Handler = std::function<void(TestConnection&)>;
  explicit TestServer(Handler handler);
  ~TestServer();

  const SocketAddress& address() const { return address_; }
  int connections() const { return connections_.load(); }

 private:
  void run();
  Handler handler_;
  UniqueFd listener_;
  SocketAddress address_;
  std::atomic<int> connections_{0};
  std::atomic<bool> stopping_{false};
  std::mutex mutex_;
  std::vector<int> open_;
  std::vector<std::thread> threads_;
  std::thread acceptor_;
};

// Answers every request of a connection with 200 and `body`.
TestServer::Handler always(std::string body);
std::string ok_response(std::string_view body);
// A listening socket on 127.0.0.1 whose port nobody else has.
UniqueFd listen_on_loopback(SocketAddress* address);
// An address where nothing listens.
SocketAddress refused_address();

struct SeenRecord {
  ExchangeRecord::Protocol protocol;
  Outcome outcome;
  uint16_t status;
  uint64_t received_bytes, sent_bytes;
  SocketAddress upstream;
  std::string method, path;
  std::string identity;
  SocketAddress dialled;
};

class RecordingSink final : public ExchangeSink {
 public:
  void record(const ExchangeRecord& record, const Snapshot& snapshot) override;
  // The first `count` records, waited for at most five seconds.
  std::vector<SeenRecord> wait(size_t count);
  size_t count();
  // Off: counts only, without allocating.
  std::atomic<bool> keep{true};
  std::atomic<uint64_t> total{0}, failed{0};

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<SeenRecord> records_;
};

struct TestCluster {
  std::string name;
  std::vector<SocketAddress> endpoints;
  uint32_t weight = 1;
  LoadBalancer load_balancer = LoadBalancer::kRoundRobin;
  ClusterProtocol protocol = ClusterProtocol::kAsClient;
  std::shared_ptr<const ClusterPolicy> policy;
};

// What is dialled at `dialled` is one service of these clusters, routed by weight.
std::shared_ptr<Snapshot> service_snapshot(const SocketAddress& dialled, Protocol protocol,
                                           const std::vector<TestCluster>& clusters, uint64_t generation);

// One cluster "v1" of one endpoint.
std::vector<TestCluster> one_endpoint(const SocketAddress& address);

// One worker, one listener, one service behind it.
class Rig {
 public:
  struct Setup {
    Protocol protocol = Protocol::kHttp;
    std::vector<TestCluster> clusters;
    Worker::Options options;
    bool with_route = true;
  };
  explicit Rig(Setup setup);
  ~Rig();

  SnapshotPtr make_snapshot(const std::vector<TestCluster>& clusters, uint64_t generation);
  // Posts it and waits until the worker uses it.
  void use(SnapshotPtr snapshot);
  TestConnection connect() const { return TestConnection::to(address_); }
  // One more listener of the pod with this cookie (1 is that of connect()) for the same service; what waits
  // at `listener` already is accepted too.
  void listen(uint64_t netns_cookie, UniqueFd listener);
  SocketAddress listen(uint64_t netns_cookie);
  // What the worker says of the pod; null when it serves none.
  std::shared_ptr<const PodUse> pod(uint64_t netns_cookie = 1) const;
  // One GET on its own connection.
  std::string get(std::string_view path = "/");
  bool wait_for(const std::function<bool()>& condition) const;

  Worker& worker() { return *worker_; }
  RecordingSink& sink() { return sink_; }
  const SocketAddress& address() const { return address_; }
  void stop() { worker_.reset(); }

 private:
  Setup setup_;
  SocketAddress address_;
  std::vector<SocketAddress> also_;  // where the service is dialled besides
  RecordingSink sink_;
  std::unique_ptr<Worker> worker_;
};

inline constexpr std::string_view kGetRoot = "GET / HTTP/1.1\r\nHost: service\r\n\r\n";

// A service of one endpoint.
Rig::Setup setup_for(const SocketAddress& endpoint, Protocol protocol = Protocol::kHttp);

// What most tests begin with: a server, a worker before it, and a client's connection to that.
struct Served {
  explicit Served(TestServer::Handler handler)
      : server(std::move(handler)), rig(setup_for(server.address())), client(rig.connect()) {}
  TestServer server;
  Rig rig;
  TestConnection client;
};

}  // namespace weft::proxy
