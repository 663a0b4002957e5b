// The way of one TCP connection: admission, endpoint, connect, both directions, outcome. run() is the story.
#include "userspace-proxy/exchange/tcp_exchange.h"

#include "userspace-proxy/exchange/affinity.h"

namespace weft::proxy {
namespace {

// For a destination that is no mesh service: what Linux clients wait at most by default is longer, but ours
// holds a socket.
constexpr uint64_t kPassthroughConnectMs = 30'000;

}  // namespace

Task TcpExchange::run() {
  Outcome outcome = admit();
  bool connected = false;
  while (outcome == Outcome::kOk && !connected) {
    outcome = dial();
    if (outcome != Outcome::kOk) break;
    co_await step_;
    const ConnectStatus status = connector_.status();
    connected = status == ConnectStatus::kConnected;
    outcome = dial_end(status);
  }
  if (connected) {
    start_pumps();
    co_await to_client_;
    co_await to_upstream_;
    outcome = pumps_end();
  }
  finish(outcome);
}

TcpExchange::TcpExchange(ProxyContext& context, const ClientSide& client, Socket& socket, InputBuffer& input,
                         const TcpAim& aim)
    : context_(context),
      client_(client),
      generation_(context.current),
      target_(context.balancer),
      aim_(aim),
      balanced_(aim.cluster != kNone),
      started_(context.loop.now()),
      connector_(context.loop, context.home),
      upstream_(context.loop),
      upstream_input_(context.buffers, &client.origin.use->buffered_bytes),
      open_(context.pool),
      from_client_(socket, input),
      from_upstream_(upstream_, upstream_input_),
      client_sink_(socket),
      upstream_sink_(upstream_),
      to_upstream_(context.loop, *this, context.share, client.origin.share),
      to_client_(context.loop, *this, context.share, client.origin.share) {
  if (balanced_) take_aim();
  ++context_.active_exchanges;
  client_.origin.use->exchanges.add(1);
}

TcpExchange::~TcpExchange() {
  abandon(Outcome::kDrained);
  --context_.active_exchanges;
  client_.origin.use->exchanges.subtract(1);
}

void TcpExchange::start(Operation& finished) {
  task_ = run();
  task_.start(context_.loop, finished);
}

void TcpExchange::abandon(Outcome outcome) {
  if (recorded_) return;
  task_ = Task();
  step_.cancel();
  connector_.cancel();
  finish(outcome);
}

void TcpExchange::take_aim() {
  const uint32_t index = aim_.cluster;
  const Cluster& cluster = generation_->snapshot().clusters[index];
  DialTarget::Client client{client_.dialled, client_.origin.netns_cookie(),
                            source_of(client_.origin, generation_->snapshot()), false, std::nullopt};
  if (hashes(cluster)) client.hash = affinity_of(cluster.policy->balancing.hash, client_.client);
  target_.aim(generation_, index, client);
}

// A connection more than the destination's policy allows is closed: there is nothing that could wait.
Outcome TcpExchange::admit() {
  if (!context_.admission.admit(*client_.origin.use)) return Outcome::kOverload;
  if (aim_.refused != Outcome::kOk) return aim_.refused;
  const ConnectionTerms* terms = target_.terms().get();
  if (terms == nullptr) return Outcome::kOk;
  counted_ = terms->counts->connections.take(terms->settings->max_connections);
  if (counted_) return Outcome::kOk;
  client_.origin.use->refuse(Refusal::kCircuitOpen);
  return Outcome::kCircuitOpen;
}

uint64_t TcpExchange::idle_ms() const {
  const uint64_t own = context_.limits.downstream_idle_ms;
  return target_.terms() == nullptr ? own : idle_of(target_.terms()->settings->tcp_idle_ms, own);
}

Outcome TcpExchange::dial() {
  if (balanced_) {
    const Outcome picked = target_.pick(context_.loop.now());
    if (picked != Outcome::kOk) return picked;
  }
  upstream_address_ = balanced_ ? target_.address() : client_.dialled;
  DialParameters dial{client_.origin.netns.get(),
                      balanced_ ? target_.cluster().connect_timeout_ms : kPassthroughConnectMs,
                      client_.origin.use.get(), target_.terms(), aim_.dials_as};
  const Snapshot& snapshot = generation_->snapshot();
  const WorkloadSpec* workload = balanced_ ? target_.tunnel() : nullptr;
  if (!balanced_) {
    const auto known = snapshot.tunnels.find(SocketAddress{upstream_address_.ip, 0});
    if (known != snapshot.tunnels.end()) workload = known->second.get();
  }
  if (client_.policy == nullptr) {
    choose_tunnel(context_, client_.origin, snapshot, workload, dial);
    choose_tls(context_, workload != nullptr, "", dial);
  }
  step_.begin(connector_.start(step_.operation(), upstream_, upstream_address_, dial));
  return Outcome::kOk;
}

Outcome TcpExchange::dial_end(ConnectStatus status) {
  if (status == ConnectStatus::kConnected) {
    // No further answer will say that the endpoint is well: its row of failures ends here.
    target_.report(TryResult{.status = 200}, context_.loop.now());
    return Outcome::kOk;
  }
  if (const auto result = result_of(status)) target_.report(*result, context_.loop.now());
  upstream_.close();
  if (status == ConnectStatus::kNoDescriptor) {
    context_.pool.starve();
    client_.origin.use->refuse(Refusal::kDescriptors);
  }
  return balanced_ && may_try_another(status) && target_.fail(outcome_of(status)) ? Outcome::kOk
                                                                                  : outcome_of(status);
}

void TcpExchange::start_pumps() {
  upstream_.watch_reset(upstream_reset_);
  context_.loop.arm(idle_, idle_ms());
  const uint64_t most = target_.terms() == nullptr ? 0 : target_.terms()->settings->max_duration_ms;
  if (most > 0) context_.loop.arm(lifetime_, most);
  for (SocketSource* source : {&from_client_, &from_upstream_}) source->start(BodyKind::kUntilClose, 0);
  for (SocketSink* sink : {&client_sink_, &upstream_sink_}) sink->start({}, SocketSink::Framing::kByteStream);
  to_client_.start(from_upstream_, client_sink_, Pump::Lead::kPayload);
  if (to_client_.end() != PumpEnd::kRunning && to_client_.end() != PumpEnd::kDone) return;
  to_upstream_.start(from_client_, upstream_sink_, Pump::Lead::kPayload);
}

Outcome TcpExchange::pumps_end() const {
  if (to_client_.end() == PumpEnd::kDone && to_upstream_.end() == PumpEnd::kDone) return Outcome::kOk;
  if (stopped_ != Outcome::kOk) return stopped_;
  const bool client_failed =
      to_client_.end() == PumpEnd::kSinkReset || to_upstream_.end() == PumpEnd::kSourceReset;
  return client_failed ? Outcome::kDownstreamReset : Outcome::kUpstreamReset;
}

void TcpExchange::finish(Outcome outcome) {
  ended_well_ = outcome == Outcome::kOk;
  idle_.cancel();
  lifetime_.cancel();
  to_client_.cancel();
  to_upstream_.cancel();
  upstream_reset_.cancel();
  if (counted_) target_.terms()->counts->connections.give();
  counted_ = false;
  target_.end();
  from_client_.stop();
  if (!ended_well_) upstream_.reset();
  upstream_.close();
  record(outcome);
}

void TcpExchange::pump_ended(Pump& pump) {
  if (pump.end() == PumpEnd::kDone) return;
  Pump& other = &pump == &to_client_ ? to_upstream_ : to_client_;
  // Who takes no more is gone; what it said before is passed on, as it would be without us.
  if (pump.end() == PumpEnd::kSinkReset && other.reading()) return;
  other.abort();
}

// What was sent before a reset is read before it, and passed on.
void TcpExchange::on_upstream_reset(int) {
  if (!to_client_.reading()) stop(Outcome::kUpstreamReset);
}

void TcpExchange::stop(Outcome outcome) {
  stopped_ = outcome;
  // Aborting the first wakes nobody before the second is stopped too: the coroutine waits for both in turn.
  to_upstream_.abort();
  to_client_.abort();
}

void TcpExchange::on_idle() {
  const uint64_t bytes = to_client_.bytes() + to_upstream_.bytes();
  if (bytes == bytes_at_last_look_) return stop(Outcome::kIdleTimeout);
  bytes_at_last_look_ = bytes;
  context_.loop.arm(idle_, idle_ms());
}

void TcpExchange::record(Outcome outcome) {
  recorded_ = true;
  // What comes in is counted where it went out; only who refuses it counts it here.
  const bool inbound = client_.policy != nullptr;
  if (inbound && outcome != Outcome::kAccessDenied && !client_.from_outside) return;
  const Snapshot& snapshot = generation_->snapshot();
  ExchangeRecord record;
  record.protocol = ExchangeRecord::Protocol::kTcp;
  record.outcome = outcome;
  record.duration = context_.loop.now() - started_;
  record.received_bytes = to_upstream_.bytes();
  record.sent_bytes = to_client_.bytes();
  record.client = client_.client;
  if (client_.access != nullptr) record.identity = client_.access->peer();
  record.dialled = client_.dialled;
  record.upstream = upstream_address_;
  record.snapshot_generation = snapshot.generation;
  (inbound ? record.server : record.source) = source_of(client_.origin, snapshot);
  record.cluster = target_.cluster_index();
  record.endpoint = target_.endpoint_index();
  record.route = aim_.route;
  context_.sink.record(record, snapshot);
}

}  // namespace weft::proxy
