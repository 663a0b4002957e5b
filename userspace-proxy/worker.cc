// worker.h on a thread: accepts, owns the connections, swaps snapshots between turns, drains. Everything here
// runs on the worker's thread but the constructor, the public methods (which post) and the gauges.
#include "userspace-proxy/worker.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <thread>
#include <utility>
#include <vector>

#include "base/log.h"
#include "base/scheduling.h"
#include "base/status_macros.h"
#include "bpf/abi/constants.h"
#include "userspace-proxy/admission_limits.h"
#include "userspace-proxy/config/gateway_terms.h"
#include "userspace-proxy/net/acceptor.h"
#include "userspace-proxy/net/descriptor_reserve.h"
#include "userspace-proxy/pod_registry.h"
#include "userspace-proxy/session/hbone_servers.h"
#include "userspace-proxy/session/quiet.h"
#include "userspace-proxy/worker_gauges.h"

namespace weft::proxy {
namespace {

// How often a worker without descriptors looks whether there are some again.
constexpr MonotonicNs kRefillNs = 10 * kNsPerMs;
// How often memory that a burst of traffic needed, and nothing since, is given back.
constexpr MonotonicNs kTrimNs = 1'000 * kNsPerMs;
// A turn is shorter: what arrives waits for no thread that uses its CPU up, be it the proxy's own
// configuration client or a pod.
constexpr std::chrono::microseconds kSlice{100};

class WorkerThread;

// A capture listener of one pod, in service.
class Listener final : public Acceptor::Receiver {
 public:
  Listener(WorkerThread& worker, EventLoop& loop, UniqueFd listener, std::shared_ptr<CaptureOrigin> origin);
  void accepted(UniqueFd fd, const SocketAddress& peer) override;
  bool accept_failed(int error) override;
  Acceptor& acceptor() { return acceptor_; }
  CaptureOrigin& origin() const { return *origin_; }

 private:
  WorkerThread& worker_;
  std::shared_ptr<CaptureOrigin> origin_;
  const uint16_t port_;  // says what comes to it
  Acceptor acceptor_;
};

class WorkerThread final : public Worker,
                           public DownstreamConnection::Owner,
                           public HboneServers::Owner,
                           public EventLoop::TurnObserver {
 public:
  explicit WorkerThread(Options options) : options_(options) {}
  ~WorkerThread() override {
    if (loop_ != nullptr) loop_->stop();
    if (thread_.joinable()) thread_.join();
  }

  absl::Status launch();
  void set_snapshot(SnapshotPtr snapshot) override {
    loop_->post([this, s = std::move(snapshot)]() mutable { swap_snapshot(std::move(s)); });
  }
  void set_credentials(CredentialSetPtr credentials) override {
    loop_->post([this, c = std::move(credentials)]() mutable {
      tls_.replace(c);
      server_tls_.replace(std::move(c));
      hbone_pool_->identities_changed();
      hbone_servers_->identities_changed();
    });
  }
  void add_listener(CaptureListener listener) override {
    auto shared = std::make_shared<CaptureListener>(std::move(listener));
    loop_->post([this, shared] { open_listener(std::move(*shared)); });
  }
  void remove_listener(uint64_t netns_cookie) override {
    loop_->post([this, netns_cookie] { close_listener(netns_cookie); });
  }
  void drain(std::chrono::milliseconds deadline, std::function<void()> done) override {
    loop_->post([this, deadline, done = std::move(done)] { begin_drain(deadline, done); });
  }
  WorkerGauges gauges() const override {
    WorkerGauges out = gauges_.values();
    out.loop_turns = loop_->turns();
    out.http2_faults = downstream_faults_.values();
    out.http2_upstream_faults = upstream_faults_.values();
    return out;
  }
  PodRegistry::Pods pods() const override { return pods_.pods(); }
  uint64_t snapshot_generation() const override { return gauges_.generation.load(std::memory_order_relaxed); }

  // From the listeners, connections and loop.
  void serve(const std::shared_ptr<CaptureOrigin>& origin, UniqueFd fd, const SocketAddress& peer);
  void serve_inbound(const std::shared_ptr<CaptureOrigin>& origin, UniqueFd fd, const SocketAddress& peer);
  void serve_tunnels(const std::shared_ptr<CaptureOrigin>& origin, UniqueFd fd, const SocketAddress& peer);
  bool has_room(CaptureOrigin& pod) override;
  void hbone_ended() override { connection_gone(); }
  bool accept_failed(int error);
  void ended(DownstreamConnection& connection) override;
  void turn_ended() override;

 private:
  absl::Status open();
  void run(absl::Status* status, std::atomic<bool>* ready);
  void swap_snapshot(SnapshotPtr snapshot);
  void each_connection(void (DownstreamConnection::*call)());
  void open_listener(CaptureListener listener);
  void close_listener(uint64_t netns_cookie);
  void begin_drain(std::chrono::milliseconds deadline, std::function<void()> done);
  bool drained() const { return drained_ && connections_.empty() && hbone_servers_->empty(); }
  void end_drain();
  void on_deadline();
  void cut_all(Outcome outcome);
  std::shared_ptr<CaptureOrigin> origin_of(CaptureListener& listener);
  bool make_room(CaptureOrigin& origin);
  DownstreamConnection* add_connection(const std::shared_ptr<CaptureOrigin>& origin,
                                       const SocketAddress& peer);
  void connection_added();
  void connection_gone();
  void relieve();
  void look_for_descriptors();
  void give_up_quiet(uint64_t count);
  void evict(DownstreamConnection& quiet);

  const Options options_;
  std::unique_ptr<EventLoop> loop_;
  Gauges gauges_;
  Http2FaultCounts downstream_faults_, upstream_faults_;
  const AdmissionLimits admission_limits_ = admission_limits(options_);
  const uint64_t max_connections_ = admission_limits_.connections;
  std::unique_ptr<HomeNetns> home_;
  TlsContexts tls_;
  ServerTlsTable server_tls_;
  std::unique_ptr<HbonePool> hbone_pool_;
  std::unique_ptr<UpstreamPool> pool_;  // after it: it has sockets that are tunnels
  std::unique_ptr<Balancer> balancer_;
  std::unique_ptr<ProxyContext> context_;
  std::unique_ptr<HboneServers> hbone_servers_;
  std::vector<std::unique_ptr<Listener>> listeners_;
  // One for each pod, also of connections whose listener is gone.
  absl::flat_hash_map<uint64_t, std::weak_ptr<CaptureOrigin>> origins_;
  PodRegistry pods_;
  DescriptorReserve reserve_;
  MonotonicNs refill_at_ = 0;
  MonotonicNs trim_at_ = 0;
  IntrusiveList<DownstreamConnection> connections_;
  uint64_t connection_count_ = 0;
  uint64_t accept_failures_ = 0;
  uint64_t refused_ = 0;
  uint64_t evicted_ = 0;
  bool full_ = false;
  std::function<void()> drained_;
  Timer deadline_{this, method<&WorkerThread::on_deadline>};
  std::thread thread_;
};

absl::Status WorkerThread::launch() {
  absl::Status status;
  std::atomic<bool> ready{false};
  thread_ = std::thread([this, &status, &ready] { run(&status, &ready); });
  ready.wait(false);
  return status;
}

// What belongs to the thread that uses it: the loop and the way home from other namespaces.
absl::Status WorkerThread::open() {
  work_in_slices(kSlice);
  ASSIGN_OR_RETURN(loop_, EventLoop::open(options_.io));
  ASSIGN_OR_RETURN(HomeNetns home, HomeNetns::open());
  home_ = std::make_unique<HomeNetns>(std::move(home));
  return absl::OkStatus();
}

void WorkerThread::run(absl::Status* status, std::atomic<bool>* ready) {
  *status = open();
  const bool usable = status->ok();
  if (usable) {
    reserve_.refill();
    pool_ = std::make_unique<UpstreamPool>(*loop_, loop_->buffers(), *home_,
                                           upstream_limits(options_, admission_limits_), upstream_faults_);
    hbone_pool_ = std::make_unique<HbonePool>(*loop_, *home_, tls_);
    balancer_ =
        std::make_unique<Balancer>(loop_->now() ^ (uint64_t{options_.index} << 56), options_.clusters);
    context_.reset(new ProxyContext{.loop = *loop_,
                                    .buffers = loop_->buffers(),
                                    .pool = *pool_,
                                    .hbone = *hbone_pool_,
                                    .tls = tls_,
                                    .server_tls = server_tls_,
                                    .balancer = *balancer_,
                                    .home = *home_,
                                    .sink = *options_.sink,
                                    .http2_faults = downstream_faults_,
                                    .limits = exchange_limits(options_),
                                    .texts = {},
                                    .actions = {},
                                    .mirrors = {},
                                    .share = FairShare(*loop_),
                                    .admission = Admission(admission_limits_),
                                    .current = {}});
    hbone_servers_ = std::make_unique<HboneServers>(*context_, *this);
  }
  ready->store(true);
  ready->notify_one();
  if (!usable) return;
  loop_->observe(this);
  loop_->run();
  listeners_.clear();
  drained_ = nullptr;
  cut_all(Outcome::kDrained);
  hbone_pool_->clear();
  // The retired connections still refer to the context and the pools.
  loop_->turn(0);
  pool_->clear();
  // And what they held must reach the kernel from this thread.
  loop_->turn(0);
  hbone_servers_.reset();
  context_.reset();
  trim_frames();
}

void WorkerThread::swap_snapshot(SnapshotPtr snapshot) {
  gauges_.generation.store(snapshot->generation, std::memory_order_relaxed);
  const bool first = !context_->current;
  context_->current = GenerationRef(std::make_unique<Generation>(std::move(snapshot)));
  balancer_->prune(context_->current->snapshot());
  server_tls_.replace(terms_of(context_->current->snapshot()));
  pool_->prune();
  hbone_servers_->recheck();
  each_connection(&DownstreamConnection::recheck_admission);
  each_connection(&DownstreamConnection::recheck_inbound);
  if (!first || context_->draining) return;
  for (const auto& listener : listeners_) listener->acceptor().resume();
}

// It may end the connection.
void WorkerThread::each_connection(void (DownstreamConnection::*call)()) {
  for (DownstreamConnection *c = connections_.front(), *next = nullptr; c != nullptr; c = next) {
    next = connections_.after(*c);
    (c->*call)();
  }
}

void WorkerThread::open_listener(CaptureListener capture) {
  if (context_->draining) return;
  const std::shared_ptr<CaptureOrigin> origin = origin_of(capture);
  auto listener = std::make_unique<Listener>(*this, *loop_, std::move(capture.listener), origin);
  // Without a snapshot nothing can be decided: connections wait in the listener's queue.
  if (!context_->current || full_) listener->acceptor().pause();
  if (!listener->acceptor().start()) {
    log::error("listener_refused", {{"workload", origin->workload_uid()},
                                    {"error", std::strerror(errno)},
                                    {"next", "restart weft-proxy; see `weft status`"}});
    return;
  }
  listeners_.push_back(std::move(listener));
  pods_.add(origin->use);
}

// A pod has one budget, however many listeners.
std::shared_ptr<CaptureOrigin> WorkerThread::origin_of(CaptureListener& listener) {
  absl::erase_if(origins_, [](const auto& known) { return known.second.expired(); });
  std::weak_ptr<CaptureOrigin>& known = origins_[listener.netns_cookie];
  std::shared_ptr<CaptureOrigin> origin = known.lock();
  if (origin != nullptr && origin->workload_uid() == listener.workload_uid) {
    origin->confined = listener.confined;
    return origin;
  }
  origin = std::make_shared<CaptureOrigin>(listener.netns_cookie, listener.workload_uid);
  origin->netns = std::move(listener.netns);
  origin->confined = listener.confined;
  known = origin;
  return origin;
}

// What waits in the queue was captured before the namespace was given up: it is served, not reset.
void WorkerThread::close_listener(uint64_t netns_cookie) {
  for (const auto& listener : listeners_) {
    if (listener->origin().netns_cookie() == netns_cookie) listener->acceptor().take_waiting();
  }
  std::erase_if(listeners_, [&](const auto& l) { return l->origin().netns_cookie() == netns_cookie; });
  pods_.remove(netns_cookie);
  pool_->forget(netns_cookie);
  hbone_pool_->forget(netns_cookie);
}

void WorkerThread::serve(const std::shared_ptr<CaptureOrigin>& origin, UniqueFd fd,
                         const SocketAddress& peer) {
  if (DownstreamConnection* connection = add_connection(origin, peer)) connection->start(std::move(fd));
}

// Null: the pod has no room.
DownstreamConnection* WorkerThread::add_connection(const std::shared_ptr<CaptureOrigin>& origin,
                                                   const SocketAddress& peer) {
  if (!make_room(*origin)) {
    ++refused_;
    origin->use->refuse(Refusal::kPodConnections);
    return nullptr;
  }
  auto* connection = new DownstreamConnection(*context_, *this, origin, peer);
  connections_.push_back(*connection);
  connection_added();
  return connection;
}

void WorkerThread::serve_inbound(const std::shared_ptr<CaptureOrigin>& origin, UniqueFd fd,
                                 const SocketAddress& peer) {
  agent::PolicyConnection facts{.source = peer.ip, .identity = {}, .destination = local_address(fd.get())};
  for (size_t i = 0; i < listeners_.size() && !facts.identity; ++i)
    facts.identity = identity_at(listeners_[i]->origin(), context_->current->snapshot(), peer.ip);
  if (DownstreamConnection* connection = add_connection(origin, peer))
    connection->start_inbound(std::move(fd), std::make_unique<PlainInbound>(std::move(facts)));
}

void WorkerThread::connection_added() {
  ++connection_count_;
  if (connection_count_ < max_connections_ || full_) return;
  full_ = true;
  log::warn("connection_limit",
            {{"connections", connection_count_}, {"next", "raise the open file limit (ulimit -n)"}});
  for (const auto& listener : listeners_) listener->acceptor().pause();
}

void WorkerThread::serve_tunnels(const std::shared_ptr<CaptureOrigin>& origin, UniqueFd fd,
                                 const SocketAddress& peer) {
  connection_added();
  hbone_servers_->serve(origin, std::move(fd), peer);
}

bool WorkerThread::has_room(CaptureOrigin& pod) {
  if (context_->admission.has_room(*pod.use) || HboneServers::give_up_idle(pod)) return true;
  ++refused_;
  pod.use->refuse(Refusal::kPodConnections);
  return false;
}

// True: there is room for a few, who are then told that it is too much.
bool WorkerThread::accept_failed(int error) {
  if ((accept_failures_++ & 1023) == 0) {
    log::warn("accept_failed", {{"error", std::strerror(error)},
                                {"count", accept_failures_},
                                {"next", "raise the open file limit (ulimit -n)"}});
  }
  if ((error != EMFILE && error != ENFILE) || !reserve_.whole()) return false;
  reserve_.release();
  refill_at_ = loop_->now() + kRefillNs;
  return true;
}

void WorkerThread::ended(DownstreamConnection& connection) {
  static_cast<ListNode<>&>(connection).unlink();
  loop_->retire(std::unique_ptr<Retirable>(&connection));
  connection_gone();
}

// Of either kind.
void WorkerThread::connection_gone() {
  --connection_count_;
  if (full_ && connection_count_ < max_connections_ * 9 / 10) {
    full_ = false;
    for (const auto& listener : listeners_) listener->acceptor().resume();
  }
  if (drained()) end_drain();
}

void WorkerThread::begin_drain(std::chrono::milliseconds deadline, std::function<void()> done) {
  context_->draining = true;
  for (const auto& listener : listeners_) listener->acceptor().finish();
  listeners_.clear();
  drained_ = std::move(done);
  pool_->clear();
  loop_->arm(deadline_, static_cast<uint64_t>(deadline.count()));
  each_connection(&DownstreamConnection::drain);
  hbone_servers_->drain();
  hbone_pool_->clear();
  if (drained()) end_drain();
}

void WorkerThread::end_drain() {
  deadline_.cancel();
  std::exchange(drained_, nullptr)();
}

void WorkerThread::on_deadline() { cut_all(Outcome::kDrained); }

void WorkerThread::cut_all(Outcome outcome) {
  while (DownstreamConnection* connection = connections_.front()) connection->cut(outcome);
  hbone_servers_->cut_all();
  context_->mirrors.cancel_all();
}

// A pod at its budget gives up its oldest quiet connection for a new one: half a head that never ends costs
// its sender only.
bool WorkerThread::make_room(CaptureOrigin& origin) {
  if (context_->admission.has_room(*origin.use)) [[likely]]
    return true;
  DownstreamConnection* quiet = oldest_quiet(origin.connections, loop_->now());
  if (quiet == nullptr) return HboneServers::give_up_idle(origin);
  evict(*quiet);
  return true;
}

void WorkerThread::evict(DownstreamConnection& quiet) {
  quiet.pod().refuse(Refusal::kEvicted);
  quiet.cut(Outcome::kOverload);
  ++evicted_;
}

void WorkerThread::give_up_quiet(uint64_t count) {
  const auto grace = static_cast<MonotonicNs>(options_.overload_grace / std::chrono::nanoseconds(1));
  const MonotonicNs before = loop_->now() - grace;
  constexpr uint64_t kPerTurn = 256;
  for (uint64_t n = std::min(count, kPerTurn); n > 0; --n) {
    DownstreamConnection* quiet = oldest_quiet(connections_, before);
    if (quiet == nullptr) return hbone_servers_->give_up_idle(n);
    evict(*quiet);
  }
}

// Descriptors ran out at an accept or a dial: until the reserve is whole again, clients are told so.
void WorkerThread::look_for_descriptors() {
  if (pool_->take_starved() && reserve_.whole()) {
    reserve_.release();
    refill_at_ = loop_->now() + kRefillNs;
  }
  if (!reserve_.whole() && loop_->now() >= refill_at_ && !reserve_.refill())
    refill_at_ = loop_->now() + kRefillNs;
}

// Sees overload come and go, and closes idle connections, of both sides, while there are too many.
void WorkerThread::relieve() {
  look_for_descriptors();
  Admission& admission = context_->admission;
  Admission::Use use{.connections = connection_count_,
                     .buffered_bytes = loop_->buffers().bytes() + context_->held_body_bytes.get(),
                     .descriptors = connection_count_ + pool_->open() + hbone_pool_->connections(),
                     .starved = !reserve_.whole()};
  const uint64_t idle = use.starved ? DescriptorReserve::kCount : admission.idle_surplus(use.descriptors);
  if (idle > 0) {
    const uint64_t closed = pool_->trim(idle);
    use.descriptors -= closed;
    if (closed < idle) hbone_pool_->trim(idle - closed);
  }
  if (admission.observe(use)) {
    log::warn(admission.overloaded() ? "overload" : "overload_over",
              {{"connections", use.connections},
               {"buffered_bytes", use.buffered_bytes},
               {"descriptors", use.descriptors},
               {"starved", use.starved ? 1 : 0},
               {"next", admission.overloaded() ? "see docs/limits.md" : "none"}});
  }
  const uint64_t surplus = admission.surplus(connection_count_);
  if (surplus > 0 || use.starved)
    give_up_quiet(use.starved ? std::max<uint64_t>(surplus, DescriptorReserve::kCount) : surplus);
}

void WorkerThread::turn_ended() {
  relieve();
  loop_->set_in_flight(context_->sole_client.in_flight(context_->active_exchanges));
  if (loop_->now() >= trim_at_) {
    trim_at_ = loop_->now() + kTrimNs;
    loop_->buffers().trim();
  }
  gauges_.take(*context_);
  gauges_.refused.store(refused_, std::memory_order_relaxed);
  gauges_.evicted.store(evicted_, std::memory_order_relaxed);
  gauges_.accept_failures.store(accept_failures_, std::memory_order_relaxed);
  gauges_.downstream.store(connection_count_, std::memory_order_relaxed);
}

Listener::Listener(WorkerThread& worker, EventLoop& loop, UniqueFd listener,
                   std::shared_ptr<CaptureOrigin> origin)
    : worker_(worker),
      origin_(std::move(origin)),
      port_(local_address(listener.get()).port),
      acceptor_(loop, std::move(listener), *this) {}

void Listener::accepted(UniqueFd fd, const SocketAddress& peer) {
  if (port_ == kHbonePort) return worker_.serve_tunnels(origin_, std::move(fd), peer);
  port_ == WEFT_PORT_INBOUND && !origin_->is_gateway() ? worker_.serve_inbound(origin_, std::move(fd), peer)
                                                       : worker_.serve(origin_, std::move(fd), peer);
}

bool Listener::accept_failed(int error) { return worker_.accept_failed(error); }

}  // namespace

absl::StatusOr<std::unique_ptr<Worker>> Worker::start(Options options) {
  if (options.sink == nullptr) return absl::InvalidArgumentError("worker needs an exchange sink");
  auto worker = std::make_unique<WorkerThread>(options);
  RETURN_IF_ERROR(annotate("start worker", worker->launch()));
  return worker;
}

}  // namespace weft::proxy
