// The loop and the peers of turned_rig.h.
#include "tests/unit/proxy-engine/turned_rig.h"

#include <fcntl.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>

namespace weft::proxy {
namespace {

void set_nonblocking(int fd) { fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK); }

// The other end's kernel has everything that was sent (tcp(7), SIOCOUTQ).
bool all_arrived(int fd) {
  int unacknowledged = -1;
  return ioctl(fd, SIOCOUTQ, &unacknowledged) == 0 && unacknowledged == 0;
}

// In one turn the kernel tells, in the next the engine goes on.
constexpr int kTurnsToSettle = 4;

}  // namespace

FarEnd::FarEnd(UniqueFd fd) : fd_(std::move(fd)) { set_nonblocking(fd_.get()); }

size_t FarEnd::send(std::string_view bytes) {
  const ssize_t count = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
  return count > 0 ? static_cast<size_t>(count) : 0;
}

const std::string& FarEnd::received(size_t limit) {
  char bytes[65536];
  while (end_ == End::kOpen && limit > 0) {
    const ssize_t count = ::recv(fd_.get(), bytes, std::min(limit, sizeof(bytes)), 0);
    if (count > 0) {
      received_.append(bytes, static_cast<size_t>(count));
      limit -= static_cast<size_t>(count);
      continue;
    }
    if (count < 0 && errno == EAGAIN) break;
    end_ = count == 0 ? End::kFin : End::kReset;
  }
  return received_;
}

FarEnd::End FarEnd::end() {
  received();
  return end_;
}

void FarEnd::finish_sending() { shutdown(fd_.get(), SHUT_WR); }

void FarEnd::reset() {
  const linger option{.l_onoff = 1, .l_linger = 0};
  setsockopt(fd_.get(), SOL_SOCKET, SO_LINGER, &option, sizeof(option));
  fd_.reset();
}

TurnedRig::TurnedRig(const Setup& setup)
    : loop_(std::move(EventLoop::open(io_under_test(), &clock_)).value()),
      listener_(listen_on_loopback(&dialled_)),
      service_listener_(listen_on_loopback(&service_)),
      home_(std::move(HomeNetns::open()).value()),
      pool_(std::make_unique<UpstreamPool>(*loop_, loop_->buffers(), home_, setup.upstream, http2_faults_)),
      context_(new ProxyContext{.loop = *loop_,
                                .buffers = loop_->buffers(),
                                .pool = *pool_,
                                .hbone = hbone_,
                                .tls = tls_,
                                .server_tls = server_tls_,
                                .balancer = balancer_,
                                .home = home_,
                                .sink = sink_,
                                .http2_faults = http2_faults_,
                                .limits = setup.limits,
                                .texts = {},
                                .share = FairShare(*loop_),
                                .admission = Admission(setup.admission),
                                .current = {}}),
      pod_(std::make_shared<CaptureOrigin>(1, "client")),
      other_(std::make_shared<CaptureOrigin>(2, "other")) {
  set_nonblocking(service_listener_.get());
  SnapshotPtr snapshot = service_snapshot(dialled_, setup.protocol, one_endpoint(service_), 1);
  context_->current = GenerationRef(std::make_unique<Generation>(std::move(snapshot)));
}

TurnedRig::~TurnedRig() {
  while (DownstreamConnection* connection = connections_.front()) connection->cut(Outcome::kDrained);
  loop_->turn(0);
  pool_->clear();
  loop_->turn(0);
  context_.reset();
  pool_.reset();
}

void TurnedRig::ended(DownstreamConnection& connection) {
  static_cast<ListNode<>&>(connection).unlink();
  --open_;
  loop_->retire(std::unique_ptr<Retirable>(&connection));
}

FarEnd TurnedRig::connect(const std::shared_ptr<CaptureOrigin>& pod) {
  TestConnection client = TestConnection::to(dialled_);
  UniqueFd accepted(accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  auto* connection = new DownstreamConnection(*context_, *this, pod, SocketAddress());
  connections_.push_back(*connection);
  ++open_;
  connection->start(std::move(accepted));
  loop_->turn(0);
  return FarEnd(UniqueFd(fcntl(client.fd(), F_DUPFD_CLOEXEC, 0)));
}

FarEnd TurnedRig::accept_upstream() {
  UniqueFd fd;
  turn_until([&] {
    fd.reset(accept4(service_listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    return fd.valid();
  });
  return FarEnd(std::move(fd));
}

bool TurnedRig::turn_until(const std::function<bool()>& condition) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(5);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    loop_->turn(0);
  }
  return true;
}

bool TurnedRig::give(FarEnd& peer, std::string_view bytes) {
  if (peer.send(bytes) != bytes.size() || !turn_until([&] { return all_arrived(peer.fd()); })) return false;
  for (int i = 0; i < kTurnsToSettle; ++i) loop_->turn(0);
  return true;
}

void TurnedRig::pass(uint64_t ms) {
  advance(ms);
  for (int i = 0; i < kTurnsToSettle; ++i) loop_->turn(0);
}

}  // namespace weft::proxy
