// InboundTunnel of inbound_tunnel.h; what each status says is HBONE's: 400 no such target, 401 policy, 503
// the application does not answer.
#include "userspace-proxy/session/inbound_tunnel.h"

#include <algorithm>
#include <array>

#include "base/log.h"
#include "bpf/abi/constants.h"
#include "userspace-proxy/config/resources.h"
#include "userspace-proxy/exchange/dial_target.h"
#include "userspace-proxy/exchange/shadow_report.h"
#include "userspace-proxy/http/http2_fields.h"

namespace weft::proxy {
namespace {

constexpr uint64_t kConnectMs = 10'000;

// Ports of the mesh itself: nobody reaches them by a tunnel.
constexpr std::array<uint16_t, 3> kOwnPorts = {WEFT_PORT_OUTBOUND, WEFT_PORT_INBOUND, WEFT_PORT_HBONE};

// "10.0.0.1:80", "[fd00::1]:80"; the port alone counts, 0 for what is neither.
uint16_t port_of(std::string_view authority) {
  const auto address = SocketAddress::parse(std::string(authority));
  return address ? address->port : 0;
}

}  // namespace

InboundTunnel::InboundTunnel(ProxyContext& context, Owner& owner, std::shared_ptr<CaptureOrigin> origin,
                             const InboundPeer& peer, const SocketAddress& local, TunnelSocket& tunnel)
    : context_(context),
      owner_(owner),
      origin_(std::move(origin)),
      peer_(peer),
      local_(local),
      started_(context.loop.now()),
      tunnel_(&tunnel),
      downstream_(context.loop),
      application_(context.loop),
      from_peer_(context.buffers, &origin_->use->buffered_bytes),
      from_application_(context.buffers, &origin_->use->buffered_bytes),
      connector_(context.loop, context.home),
      open_(context.pool),
      peer_source_(downstream_, from_peer_),
      application_source_(application_, from_application_),
      peer_sink_(downstream_),
      application_sink_(application_),
      to_application_(context.loop, *this, context.share, origin_->share),
      to_peer_(context.loop, *this, context.share, origin_->share) {
  tunnel.count_in(traffic_);
  ++context_.active_exchanges;
  origin_->use->exchanges.add(1);
}

InboundTunnel::~InboundTunnel() {
  cut();
  --context_.active_exchanges;
  origin_->use->exchanges.subtract(1);
}

void InboundTunnel::asked(std::string_view method, std::string_view authority) {
  asked_ = true;
  port_ = port_of(authority);
  if (method != "CONNECT" || port_ == 0) asked_status_ = 400;
  context_.loop.soon(begin_);
}

// Who is asked is always the pod whose listener took the connection, whatever address the authority names.
// What is not known here cannot be allowed.
void InboundTunnel::read_policy() {
  const auto set = policies_of(*origin_, context_.current->snapshot());
  policy_ =
      set == nullptr
          ? ConnectionPolicy()
          : ConnectionPolicy(
                set, {.source = peer_.address.ip,
                      .identity = agent::PeerIdentity{peer_.id.trust_domain, peer_.id.ns, peer_.id.account},
                      .destination = {local_.ip, port_}});
}

bool InboundTunnel::must_be_read() const {
  return requests_count(policy_, *origin_, port_, context_.current->snapshot());
}

// A line a second is enough to find out which.
void InboundTunnel::log_forbidden(std::string_view event) const {
  if (context_.loop.now() < context_.next_tunnel_line) return;
  context_.next_tunnel_line = context_.loop.now() + kNsPerSecond;
  log::info(event, {{"workload", origin_->workload_uid()},
                    {"peer", peer_.name},
                    {"address", peer_.address.to_string()},
                    {"port", port_},
                    {"policy", policy_.denied_by()}});
}

InboundTunnel::Refused InboundTunnel::refusal() {
  if (asked_status_ != 0) return {asked_status_, Outcome::kBadRequest};
  if (std::find(kOwnPorts.begin(), kOwnPorts.end(), port_) != kOwnPorts.end())
    return {503, Outcome::kNoEndpoint};
  read_policy();
  if (policy_.decision() == ConnectionPolicy::Decision::kDenied) {
    log_forbidden("tunnel_denied");
    return {401, Outcome::kAccessDenied};
  }
  return context_.admission.admit(*origin_->use) ? Refused{} : Refused{503, Outcome::kOverload};
}

void InboundTunnel::on_begin(int) {
  if (const Refused why = refusal(); why.status != 0) return refuse(why);
  const ShadowPolicy* shadow = policy_.shadow();
  if (must_be_read() || (shadow != nullptr && shadow->depends())) return open_judged();
  if (shadow != nullptr) report_shadow(context_, *origin_, peer_.address, port_, shadow->judge_bytes());
  state_ = State::kDialling;
  const DialParameters dial{
      .netns = origin_->netns.get(), .timeout_ms = kConnectMs, .use = origin_->use.get()};
  if (connector_.start(connected_, application_, SocketAddress{local_.ip, port_}, dial)) on_connected(0);
}

void InboundTunnel::on_connected(int) {
  const ConnectStatus status = connector_.status();
  if (status == ConnectStatus::kConnected) return open();
  if (status == ConnectStatus::kNoDescriptor) {
    context_.pool.starve();
    origin_->use->refuse(Refusal::kDescriptors);
  }
  refuse({503, outcome_of(status)});
}

// The tunnel's bytes from here on; null when its stream is gone.
SocketIo* InboundTunnel::accept() {
  Http2Fields fields;
  fields.add_status(200);
  if (!tunnel_->attached() || !tunnel_->session()->send_response(*tunnel_, fields, false)) return nullptr;
  status_ = 200;
  owner_.output_due();
  return std::exchange(tunnel_, nullptr)->open();
}

// Whether the application answers shows with the first request.
void InboundTunnel::open_judged() {
  SocketIo* const io = accept();
  if (io == nullptr) return end();
  state_ = State::kJudged;
  judged_.reset(new DownstreamConnection(context_, *this, origin_, peer_.address));
  judged_->start_judged(io, SocketAddress{local_.ip, port_}, policy_);
}

void InboundTunnel::ended(DownstreamConnection&) {
  judged_ended_ = true;
  if (state_ != State::kEnded) context_.loop.soon(ended_);
}

void InboundTunnel::open() {
  SocketIo* const io = accept();
  if (io == nullptr) return end();
  state_ = State::kOpen;
  downstream_.replace_io(io);
  application_.watch_reset(application_reset_);
  downstream_.watch_reset(peer_reset_);
  context_.loop.arm(idle_, context_.limits.downstream_idle_ms);
  for (SocketSource* source : {&peer_source_, &application_source_}) source->start(BodyKind::kUntilClose, 0);
  for (SocketSink* sink : {&peer_sink_, &application_sink_})
    sink->start({}, SocketSink::Framing::kByteStream);
  to_application_.start(peer_source_, application_sink_, Pump::Lead::kPayload);
  to_peer_.start(application_source_, peer_sink_, Pump::Lead::kPayload);
}

void InboundTunnel::refuse(Refused why) {
  status_ = why.status;
  Http2Fields fields;
  fields.add_status(why.status);
  if (tunnel_ != nullptr && tunnel_->attached()) tunnel_->session()->send_response(*tunnel_, fields, true);
  end(why.outcome);
}

void InboundTunnel::lost() { context_.loop.soon(ended_); }

void InboundTunnel::on_ended(int) { end(); }

// What came before a reset is passed on first: who reads will see how it ends.
void InboundTunnel::on_application_reset(int) {
  if (!to_peer_.reading()) end(Outcome::kUpstreamReset);
}

void InboundTunnel::on_peer_reset(int) {
  if (!to_application_.reading()) end(Outcome::kDownstreamReset);
}

void InboundTunnel::pump_ended(Pump& pump) {
  Pump& other = &pump == &to_peer_ ? to_application_ : to_peer_;
  const bool failed = pump.end() != PumpEnd::kDone && !(pump.end() == PumpEnd::kSinkReset && other.reading());
  // Not now: a pump is at work.
  if (failed || other.end() != PumpEnd::kRunning) context_.loop.soon(ended_);
}

void InboundTunnel::on_idle() {
  const uint64_t bytes = to_peer_.bytes() + to_application_.bytes();
  if (bytes == bytes_at_last_look_) return end(Outcome::kIdleTimeout);
  bytes_at_last_look_ = bytes;
  context_.loop.arm(idle_, context_.limits.downstream_idle_ms);
}

void InboundTunnel::recheck() {
  if (state_ == State::kAsked || state_ == State::kEnded) return;
  read_policy();
  const bool unread = state_ != State::kJudged;
  if (policy_.decision() != ConnectionPolicy::Decision::kDenied) {
    if (!unread) return judged_->recheck();
    if (!must_be_read()) return;
  }
  log_forbidden("tunnel_closed");
  end(Outcome::kAccessDenied);
}

void InboundTunnel::drain() {
  if (judged_ != nullptr) judged_->drain();
}

void InboundTunnel::end(Outcome outcome) {
  ending_ = outcome;
  end();
}

// Before anything is cut off. A tunnel that nobody ended lost its connection, or its peer.
Outcome InboundTunnel::outcome() const {
  if (ending_) return *ending_;
  const Outcome lost = context_.draining ? Outcome::kDrained : Outcome::kDownstreamReset;
  if (state_ == State::kJudged) return judged_ended_ ? Outcome::kOk : lost;
  if (state_ != State::kOpen) return lost;
  const PumpEnd out = to_peer_.end(), in = to_application_.end();
  if (out == PumpEnd::kDone && in == PumpEnd::kDone) return Outcome::kOk;
  if (out == PumpEnd::kSinkReset || in == PumpEnd::kSourceReset) return Outcome::kDownstreamReset;
  const bool server_failed = in == PumpEnd::kSinkReset || out == PumpEnd::kSourceReset;
  return server_failed ? Outcome::kUpstreamReset : lost;
}

void InboundTunnel::record() {
  // A stream that never said what it is for is counted with its connection.
  if (!asked_) return;
  const Snapshot& snapshot = context_.current->snapshot();
  ExchangeRecord record;
  record.protocol = ExchangeRecord::Protocol::kTunnel;
  record.outcome = outcome();
  record.status = status_;
  record.duration = context_.loop.now() - started_;
  record.received_bytes = traffic_.received;
  record.sent_bytes = traffic_.sent;
  record.client = peer_.address;
  record.identity = peer_.name;
  record.dialled = {local_.ip, port_};
  if (status_ == 200) record.upstream = record.dialled;
  record.snapshot_generation = snapshot.generation;
  record.server = source_of(*origin_, snapshot);
  context_.sink.record(record, snapshot);
}

void InboundTunnel::end() {
  if (state_ == State::kEnded) return;
  cut();
  owner_.tunnel_ended(*this);
}

void InboundTunnel::cut() {
  if (state_ == State::kEnded) return;
  record();
  const bool well = to_peer_.end() == PumpEnd::kDone && to_application_.end() == PumpEnd::kDone;
  state_ = State::kEnded;
  idle_.cancel();
  begin_.cancel();
  connected_.cancel();
  ended_.cancel();
  application_reset_.cancel();
  peer_reset_.cancel();
  connector_.cancel();
  if (judged_ != nullptr) {
    judged_->cut(Outcome::kDrained);
    context_.loop.retire(std::move(judged_));
  }
  to_application_.cancel();
  to_peer_.cancel();
  peer_source_.stop();
  application_source_.stop();
  for (Socket* side : {&application_, &downstream_}) well ? side->close() : side->reset();
  if (tunnel_ != nullptr) std::exchange(tunnel_, nullptr)->abandon();
}

}  // namespace weft::proxy
