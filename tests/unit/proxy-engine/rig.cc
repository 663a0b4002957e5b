// The servers, clients and the worker of rig.h.
#include "tests/unit/proxy-engine/rig.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "base/strings.h"
#include "userspace-proxy/net/frame_pool.h"
#include "userspace-proxy/net/io_choice.h"
#include "userspace-proxy/net/socket.h"

namespace weft::proxy {
namespace {

constexpr int kWaitSeconds = 5;

// Where io_uring is refused, the suite says so instead of passing on nothing.
class BackendEnvironment final : public ::testing::Environment {
  void SetUp() override {
    if (io_under_test() != IoKind::kUring) return;
    const absl::Status status = try_uring();
    if (!status.ok()) GTEST_SKIP() << "io_uring is refused here: " << status;
  }
};
[[maybe_unused]] ::testing::Environment* const kBackend =
    ::testing::AddGlobalTestEnvironment(new BackendEnvironment);

size_t body_length(std::string_view head) {
  const size_t at = head.find("ontent-");
  const size_t length = head.find("ength: ", at);
  return length == std::string_view::npos ? 0 : std::strtoul(head.data() + length + 7, nullptr, 10);
}

}  // namespace

IoKind io_under_test() {
  const char* name = std::getenv("WEFT_TEST_IO");
  return name != nullptr && std::string_view(name) == name_of(IoKind::kUring) ? IoKind::kUring
                                                                              : IoKind::kEpoll;
}

TestConnection::TestConnection(UniqueFd fd) : fd_(std::move(fd)) {
  const timeval timeout{.tv_sec = kWaitSeconds, .tv_usec = 0};
  setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
  setsockopt(fd_.get(), SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
}

TestConnection TestConnection::to(const SocketAddress& address, const std::string& from) {
  UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_storage storage;
  if (!from.empty()) {
    const socklen_t length = SocketAddress{*IpAddress::parse(from), 0}.to_sockaddr(&storage);
    if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&storage), length) != 0) fd.reset();
  }
  const socklen_t length = address.to_sockaddr(&storage);
  if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&storage), length) != 0) fd.reset();
  return TestConnection(std::move(fd));
}

bool TestConnection::send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (count <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(count));
  }
  return true;
}

ssize_t recv_uninterrupted(int fd, char* bytes, size_t size) {
  ssize_t count = 0;
  do {
    count = ::recv(fd, bytes, size, 0);
  } while (count < 0 && errno == EINTR);
  return count;
}

bool TestConnection::fill() {
  char bytes[65536];
  const ssize_t count = recv_uninterrupted(fd_.get(), bytes, sizeof(bytes));
  if (count > 0) unread_.append(bytes, static_cast<size_t>(count));
  return count > 0;
}

std::string TestConnection::read(size_t count) {
  while (unread_.size() < count && fill()) {
  }
  std::string out = unread_.substr(0, count);
  unread_.erase(0, out.size());
  return out;
}

std::string TestConnection::read_until(std::string_view marker) {
  size_t at = unread_.find(marker);
  while (at == std::string::npos && fill()) at = unread_.find(marker);
  return read(at == std::string::npos ? unread_.size() : at + marker.size());
}

std::string TestConnection::read_message() {
  std::string head = read_until("\r\n\r\n");
  if (head.find("ransfer-") != std::string::npos && head.find("chunked") != std::string::npos) {
    return head + read_until("0\r\n\r\n");
  }
  return head + read(body_length(head));
}

std::string TestConnection::read_to_end() {
  while (fill()) {
  }
  return std::exchange(unread_, std::string());
}

int TestConnection::read_end() {
  // Megabytes may come before the end: a read for each byte would take as long as what is judged.
  std::array<char, 65536> bytes;
  const ssize_t count = recv_uninterrupted(fd_.get(), bytes.data(), bytes.size());
  return count < 0 ? errno : count == 0 ? 0 : -1;
}

void TestConnection::finish_sending() { shutdown(fd_.get(), SHUT_WR); }

void TestConnection::reset() {
  const linger option{.l_onoff = 1, .l_linger = 0};
  setsockopt(fd_.get(), SOL_SOCKET, SO_LINGER, &option, sizeof(option));
  fd_.reset();
}

// A socket at a port of its own, which it may share with one that listens later.
static UniqueFd bind_on_loopback(SocketAddress* address) {
  UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int one = 1;
  setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
  sockaddr_storage storage;
  const socklen_t length = SocketAddress::parse("127.0.0.1:0")->to_sockaddr(&storage);
  if (bind(fd.get(), reinterpret_cast<sockaddr*>(&storage), length) != 0) std::abort();
  *address = local_address(fd.get());
  return fd;
}

UniqueFd listen_on_loopback(SocketAddress* address) {
  UniqueFd fd = bind_on_loopback(address);
  if (listen(fd.get(), 1024) != 0) std::abort();
  return fd;
}

SocketAddress refused_address() {
  // Bound as long as the suite runs: else what runs beside it may get the port, and take what is dialled
  // there.
  static std::vector<UniqueFd> held;
  SocketAddress address;
  held.push_back(bind_on_loopback(&address));
  return address;
}

TestServer::TestServer(Handler handler) : handler_(std::move(handler)) {
  listener_ = listen_on_loopback(&address_);
  acceptor_ = std::thread([this] { run(); });
}

void TestServer::run() {
  while (true) {
    UniqueFd fd(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    // A test may leave the process without descriptors for a while; the connection waits.
    if (!fd.valid() && errno == EMFILE && !stopping_) continue;
    if (!fd.valid() || stopping_) return;
    ++connections_;
    std::lock_guard<std::mutex> lock(mutex_);
    // A duplicate lets the destructor wake a handler that waits in a read.
    open_.push_back(fcntl(fd.get(), F_DUPFD_CLOEXEC, 0));
    threads_.emplace_back([this, watch = open_.back(), raw = fd.release()] {
      {
        TestConnection connection{UniqueFd(raw)};
        handler_(connection);
      }
      // HTTP/2 peers are sessions of ours, whose memory is pooled by thread.
      trim_frames();
      std::lock_guard<std::mutex> inner(mutex_);
      std::erase(open_, watch);
      ::close(watch);
    });
  }
}

TestServer::~TestServer() {
  stopping_ = true;
  shutdown(listener_.get(), SHUT_RDWR);
  acceptor_.join();
  {
    std::lock_guard<std::mutex> lock(mutex_);
    for (const int fd : open_) shutdown(fd, SHUT_RDWR);
  }
  for (std::thread& thread : threads_) thread.join();
}

std::string ok_response(std::string_view body) {
  return str_cat("HTTP/1.1 200 OK\r\nContent-Length: ", body.size(), "\r\n\r\n", body);
}

TestServer::Handler always(std::string body) {
  return [response = ok_response(body)](TestConnection& c) {
    while (!c.read_message().empty() && c.send(response)) {
    }
  };
}

void RecordingSink::record(const ExchangeRecord& r, const Snapshot&) {
  if (r.outcome != Outcome::kOk) ++failed;
  ++total;
  if (!keep) return;
  std::lock_guard<std::mutex> lock(mutex_);
  records_.push_back(SeenRecord{r.protocol, r.outcome, r.status, r.received_bytes, r.sent_bytes, r.upstream,
                                std::string(r.method), std::string(r.path), std::string(r.identity),
                                r.dialled});
  changed_.notify_all();
}

std::vector<SeenRecord> RecordingSink::wait(size_t count) {
  std::unique_lock<std::mutex> lock(mutex_);
  changed_.wait_for(lock, std::chrono::seconds(kWaitSeconds), [&] { return records_.size() >= count; });
  return records_;
}

size_t RecordingSink::count() {
  std::lock_guard<std::mutex> lock(mutex_);
  return records_.size();
}

Rig::Rig(Setup setup) : setup_(std::move(setup)) {
  CaptureListener listener;
  listener.netns_cookie = 1;
  listener.workload_uid = "pod 1";
  listener.listener = listen_on_loopback(&address_);
  fcntl(listener.listener.get(), F_SETFL, O_NONBLOCK);
  setup_.options.sink = &sink_;
  setup_.options.io = io_under_test();
  worker_ = std::move(Worker::start(setup_.options)).value();
  worker_->add_listener(std::move(listener));
  use(make_snapshot(setup_.clusters, 1));
}

Rig::Setup setup_for(const SocketAddress& endpoint, Protocol protocol) {
  return Rig::Setup{.protocol = protocol, .clusters = one_endpoint(endpoint), .options = {}};
}

Rig::~Rig() { worker_.reset(); }

std::shared_ptr<Snapshot> service_snapshot(const SocketAddress& dialled, Protocol protocol,
                                           const std::vector<TestCluster>& clusters, uint64_t generation) {
  auto snapshot = std::make_shared<Snapshot>();
  snapshot->generation = generation;
  Route route{.name = "canary"};
  for (const TestCluster& test : clusters) {
    const auto index = static_cast<uint32_t>(snapshot->clusters.size());
    Cluster cluster{.name = test.name,
                    .load_balancer = test.load_balancer,
                    .connect_timeout_ms = 1000,
                    .protocol = test.protocol};
    cluster.policy = test.policy;
    for (const SocketAddress& address : test.endpoints)
      cluster.endpoints.push_back(Endpoint{.address = address});
    snapshot->cluster_by_name[test.name] = index;
    snapshot->clusters.push_back(std::move(cluster));
    route.clusters.push_back(WeightedCluster{.cluster = index, .weight = test.weight, .label = test.name});
    route.total_weight += test.weight;
  }
  VirtualHost host{.name = "service"};
  host.routes.push_back(std::move(route));
  snapshot->virtual_hosts.push_back(std::make_shared<const VirtualHost>(std::move(host)));
  snapshot->service_ports.push_back(ServicePort{.protocol = protocol, .tcp_cluster = 0});
  snapshot->service_port_by_address[dialled] = 0;
  snapshot->virtual_host_by_address[Snapshot::AddressKey{.ns = "default", .address = dialled}] = 0;
  return snapshot;
}

std::vector<TestCluster> one_endpoint(const SocketAddress& address) {
  return {TestCluster{.name = "v1", .endpoints = {address}}};
}

SnapshotPtr Rig::make_snapshot(const std::vector<TestCluster>& clusters, uint64_t generation) {
  std::shared_ptr<Snapshot> snapshot = service_snapshot(address_, setup_.protocol, clusters, generation);
  for (const SocketAddress& address : also_) {
    snapshot->service_port_by_address[address] = 0;
    snapshot->virtual_host_by_address[Snapshot::AddressKey{.ns = "default", .address = address}] = 0;
  }
  if (!setup_.with_route) snapshot->virtual_host_by_address.clear();
  return snapshot;
}

void Rig::listen(uint64_t netns_cookie, UniqueFd listener) {
  also_.push_back(local_address(listener.get()));
  use(make_snapshot(setup_.clusters, worker_->snapshot_generation() + 1));
  fcntl(listener.get(), F_SETFL, O_NONBLOCK);
  CaptureListener capture{.netns_cookie = netns_cookie, .workload_uid = str_cat("pod ", netns_cookie)};
  capture.listener = std::move(listener);
  worker_->add_listener(std::move(capture));
  wait_for([&] { return pod(netns_cookie) != nullptr; });
}

SocketAddress Rig::listen(uint64_t netns_cookie) {
  SocketAddress address;
  listen(netns_cookie, listen_on_loopback(&address));
  return address;
}

std::shared_ptr<const PodUse> Rig::pod(uint64_t netns_cookie) const {
  for (const auto& pod : worker_->pods()) {
    if (pod->netns_cookie == netns_cookie) return pod;
  }
  return nullptr;
}

void Rig::use(SnapshotPtr snapshot) {
  const uint64_t generation = snapshot->generation;
  worker_->set_snapshot(std::move(snapshot));
  if (!wait_for([&] { return worker_->snapshot_generation() == generation; })) std::abort();
}

bool Rig::wait_for(const std::function<bool()>& condition) const {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(kWaitSeconds);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::yield();
  }
  return true;
}

std::string Rig::get(std::string_view path) {
  TestConnection connection = connect();
  connection.send(str_cat("GET ", path, " HTTP/1.1\r\nHost: service\r\n\r\n"));
  return connection.read_message();
}

}  // namespace weft::proxy
