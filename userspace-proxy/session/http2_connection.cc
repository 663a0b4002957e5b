// Http2Connection of http2_connection.h.
#include "userspace-proxy/session/http2_connection.h"

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "userspace-proxy/http/h2c_upgrade.h"

namespace weft::proxy {
namespace {

// What frames and heads cost, as bytes that a pump moves, of which 256 KiB take some 100 us: a frame 0.2 us,
// a head of the usual size 2 us, and each byte that is decoded beyond that, which is checked, copied and
// passed on, up to 10 ns. What a head asks for is charged by its pumps.
constexpr size_t kFrameCharge = 512, kHeadCharge = 4'096, kDecodedCharge = 32;
constexpr size_t kUsualHead = 1'024;

// Below it, the frames of a slice cost more than their bytes do.
constexpr size_t kSmallFrame = 64;

// A pod's share of a turn.
constexpr uint32_t kDecodedAtOnce = FairShare::kQuantum / kDecodedCharge;

// How long an idle client may still send the request that crosses our GOAWAY.
constexpr uint64_t kGraceMs = 1'000;

Http2Limits limits_of(const ExchangeLimits& limits) {
  Http2Limits out;
  out.max_head_bytes = limits.max_head_bytes;
  out.decoded_at_once = kDecodedAtOnce;
  out.stall_ms = limits.exchange_idle_ms;
  return out;
}

}  // namespace

Http2Connection::Unit::Unit(Http2Connection& connection)
    : connection_(connection),
      stream_(connection.context_, connection.transport_, *this),
      exchange_(connection.context_, connection.client_, stream_) {}

void Http2Connection::Unit::stream_lost(Http2StreamEnd end) {
  lost_by_ = end == Http2StreamEnd::kProtocol ? Outcome::kBadRequest : connection_.lost_outcome();
  // Asked and taken back in one breath: nobody is dialled for that.
  request_withdrawn();
  connection_.context_.loop.soon(lost_);
}

void Http2Connection::Unit::on_lost(int) {
  exchange_.abandon(lost_by_);
  connection_.unit_ended(*this);
}

void Http2Connection::Unit::adopt(Http1DownstreamStream::Upgraded upgraded) {
  stream_.adopt(std::move(upgraded.text));
  const bool head_request = stream_.request().method == "HEAD";
  Http2Session& session = connection_.transport_.session();
  if (!session.upgrade(upgraded.settings, head_request, stream_)) session.fail(Http2Fault::kProtocol);
  connection_.upgrading_ = this;
}

Http2Connection::Http2Connection(ProxyContext& context, const ClientSide& client, Socket& socket,
                                 InputBuffer& input, Owner& owner)
    : context_(context),
      client_(client),
      owner_(owner),
      limits_(limits_of(context.limits)),
      transport_(context.loop, socket, input, Http2Session::Role::kServer, limits_, *this) {}

Http2Connection::~Http2Connection() {
  transport_.stop();
  while (Unit* unit = units_.front()) delete unit;
  charge_heads();
  client_.origin.use->http2_received_bytes -= received_bytes_;
}

void Http2Connection::start() {
  context_.loop.arm(timer_, context_.limits.downstream_idle_ms);
  if (context_.draining) drain();
  watch_head();
  transport_.start();
}

void Http2Connection::start_upgraded(Http1DownstreamStream::Upgraded upgraded) {
  add_unit().adopt(std::move(upgraded));
  watch_head();
  transport_.start(kSwitchToHttp2);
}

Http2Connection::Unit& Http2Connection::add_unit() {
  timer_.cancel();
  auto* unit = new Unit(*this);
  units_.push_back(*unit);
  return *unit;
}

Http2Stream* Http2Connection::new_stream(size_t head_bytes) {
  charge_heads();
  if (!context_.admission.admit_head(*client_.origin.use, head_bytes)) return nullptr;
  return &add_unit().stream();
}

size_t Http2Connection::may_take(Operation& next) {
  return context_.share.may_go_on(client_.origin.share, next) ? slice_ : 0;
}

void Http2Connection::charge_share(size_t received) {
  const Http2Session& session = transport_.session();
  const uint64_t frames = session.frames() - std::exchange(charged_frames_, session.frames());
  const uint64_t heads = session.heads() - std::exchange(charged_heads_, session.heads());
  const uint64_t bytes =
      session.decoded_head_bytes() - std::exchange(charged_head_bytes_, session.decoded_head_bytes());
  const uint64_t unusual = bytes - std::min(bytes, heads * kUsualHead);
  FairShare::charge(client_.origin.share,
                    frames * kFrameCharge + heads * kHeadCharge + unusual * kDecodedCharge);
  context_.share.charge_requests(client_.origin.share, heads);
  slice_ = heads > 0 || received < frames * kSmallFrame ? kSliceOfSmallFrames : kSliceOfPayload;
}

void Http2Connection::received(size_t bytes) {
  received_bytes_ += bytes;
  client_.origin.use->http2_received_bytes += bytes;
  charge_share(bytes);
  charge_heads();
  watch_head();
}

// The session adds and releases; what changed since the last look is carried over.
void Http2Connection::charge_heads() {
  const uint64_t held = transport_.session().held_head_bytes();
  client_.origin.use->head_bytes += held - head_bytes_;
  context_.held_head_bytes += held - head_bytes_;
  head_bytes_ = held;
}

// The upgraded request waits for the client's preface, which follows the 101 at once (RFC 7540 §3.2): a
// client may have little room for what comes before it has switched (curl 7.88: 32 KiB).
void Http2Connection::settings_received() {
  if (upgrading_ != nullptr) std::exchange(upgrading_, nullptr)->begin();
}

void Http2Connection::unit_ended(Unit& unit) {
  if (&unit == upgrading_) upgrading_ = nullptr;
  delete &unit;
  charge_heads();
  transport_.output_due();
  if (!units_.empty() || state_ == State::kEnded) return;
  context_.loop.arm(timer_, state_ == State::kServing ? context_.limits.downstream_idle_ms : kGraceMs);
}

// Each head has its own time from its first byte: a client that sends many of them may pause in one.
void Http2Connection::watch_head() {
  const uint64_t unfinished = transport_.session().unfinished();
  if (unfinished == unfinished_) return;
  unfinished_ = unfinished;
  if (unfinished == 0) return head_timer_.cancel();
  context_.loop.arm(head_timer_, context_.limits.head_timeout_ms);
}

void Http2Connection::on_head_timer() {
  transport_.session().fail(Http2Fault::kHeadTimeout);
  transport_.output_due();
}

void Http2Connection::drain() {
  if (state_ != State::kServing) return;
  state_ = State::kClosing;
  transport_.session().begin_shutdown();
  transport_.output_due();
  if (units_.empty()) context_.loop.arm(timer_, kGraceMs);
}

void Http2Connection::on_timer() {
  if (state_ == State::kServing) return drain();
  end(true);
}

void Http2Connection::stop() {
  state_ = State::kEnded;
  timer_.cancel();
  head_timer_.cancel();
  transport_.stop();
}

void Http2Connection::cut(Outcome outcome) {
  stop();
  cutting_.cancel();
  while (Unit* unit = units_.front()) {
    unit->abandon(outcome);
    delete unit;
  }
}

void Http2Connection::recheck() {
  for (Unit* unit = units_.front(); unit != nullptr;) {
    Unit* const next = units_.after(*unit);
    if (unit->forbidden()) {
      unit->abandon(Outcome::kAccessDenied);
      unit_ended(*unit);
    }
    unit = next;
  }
}

Outcome Http2Connection::lost_outcome() const {
  switch (transport_.session().fault()) {
    case Http2Fault::kNoFault:
      return Outcome::kDownstreamReset;
    case Http2Fault::kProtocol:
      return Outcome::kBadRequest;
    case Http2Fault::kHeadTimeout:
      return Outcome::kRequestTimeout;
    case Http2Fault::kStalled:
      return Outcome::kIdleTimeout;
    default:
      return Outcome::kHttp2Flood;
  }
}

// The reason we gave must not be lost to a reset, unless the peer would only go on flooding meanwhile.
bool Http2Connection::ends_clean(Http2Fault fault) {
  return fault == Http2Fault::kNoFault || fault == Http2Fault::kProtocol || fault == Http2Fault::kHeadTimeout;
}

void Http2Connection::transport_ended() {
  const Http2Fault fault = transport_.session().fault();
  context_.http2_faults.add(fault);
  // Who floods comes again: one line a second says enough, the counters have all.
  const MonotonicNs now = context_.loop.now();
  if (fault != Http2Fault::kNoFault && now >= context_.next_http2_fault_line) {
    context_.next_http2_fault_line = now + kNsPerSecond;
    log::info("http2_connection_refused", {{"client", client_.client.to_string()},
                                           {"workload", client_.origin.workload_uid()},
                                           {"fault", label(fault)}});
  }
  end(ends_clean(fault));
}

void Http2Connection::end(bool clean) {
  if (state_ == State::kEnded) return;
  lost_by_ = lost_outcome();
  ends_clean_ = clean;
  stop();
  // Asked and gone in one breath: nobody is dialled for those that wait for their turn to end.
  for (Unit* unit = units_.front(); unit != nullptr; unit = units_.after(*unit)) unit->withdraw();
  cut_next(0);
}

// One exchange in a turn: each closes a connection to a service, and a client may have had a hundred.
void Http2Connection::cut_next(int) {
  if (Unit* unit = units_.front()) {
    unit->abandon(lost_by_);
    delete unit;
  }
  if (units_.empty()) return owner_.http2_ended(ends_clean_);
  context_.loop.next_turn(cutting_);
}

}  // namespace weft::proxy
