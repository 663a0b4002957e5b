// Http2Connection of http2_connection.h.
#include "userspace-proxy/session/http2_connection.h"

#include "base/log.h"

namespace weft::proxy {
namespace {

// How long an idle client may still send the request that crosses our GOAWAY.
constexpr uint64_t kGraceMs = 1'000;

Http2Limits limits_of(const ExchangeLimits& limits) {
  Http2Limits out;
  out.max_head_bytes = limits.max_head_bytes;
  return out;
}

}  // namespace

Http2Connection::Unit::Unit(Http2Connection& connection)
    : connection_(connection),
      stream_(connection.context_, connection.transport_, *this),
      exchange_(connection.context_, connection.client_, stream_) {}

void Http2Connection::Unit::stream_lost(Http2StreamEnd end) {
  lost_by_ = end == Http2StreamEnd::kProtocol ? Outcome::kBadRequest : connection_.lost_outcome();
  connection_.context_.loop.soon(lost_);
}

void Http2Connection::Unit::on_lost(int) {
  exchange_.abandon(lost_by_);
  connection_.unit_ended(*this);
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
}

void Http2Connection::start() {
  context_.loop.arm(timer_, context_.limits.downstream_idle_ms);
  if (context_.draining) drain();
  transport_.start();
}

Http2Stream* Http2Connection::new_stream() {
  timer_.cancel();
  auto* unit = new Unit(*this);
  units_.push_back(*unit);
  return &unit->stream();
}

void Http2Connection::unit_ended(Unit& unit) {
  delete &unit;
  transport_.output_due();
  if (!units_.empty() || state_ == State::kEnded) return;
  context_.loop.arm(timer_, state_ == State::kServing ? context_.limits.downstream_idle_ms : kGraceMs);
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

void Http2Connection::cut(Outcome outcome) {
  state_ = State::kEnded;
  timer_.cancel();
  transport_.stop();
  while (Unit* unit = units_.front()) {
    unit->abandon(outcome);
    delete unit;
  }
}

Outcome Http2Connection::lost_outcome() const {
  const Http2Fault fault = const_cast<Http2Transport&>(transport_).session().fault();
  if (fault == Http2Fault::kNoFault) return Outcome::kDownstreamReset;
  return fault == Http2Fault::kProtocol ? Outcome::kBadRequest : Outcome::kHttp2Flood;
}

void Http2Connection::transport_ended() {
  const Http2Fault fault = transport_.session().fault();
  if (fault != Http2Fault::kNoFault) {
    log::info("http2_connection_refused", {{"client", client_.client.to_string()},
                                           {"workload", client_.origin.workload_uid},
                                           {"fault", label(fault)}});
  }
  end(fault == Http2Fault::kNoFault);
}

void Http2Connection::end(bool clean) {
  if (state_ == State::kEnded) return;
  cut(lost_outcome());
  owner_.http2_ended(clean);
}

}  // namespace weft::proxy
