// The way of one HTTP request: head, route, endpoint, connection, both bodies, outcome. run() is the story;
// the steps below it stand in the same order.
#include "userspace-proxy/exchange/exchange.h"

#include "userspace-proxy/config/match_route.h"
#include "userspace-proxy/http/http1_writer.h"
#include "userspace-proxy/http/path.h"

namespace weft::proxy {

Task Exchange::run() {
  request_reader_.start(downstream_.socket, downstream_.input, scratch_->request_text,
                        context_.limits.max_head_bytes, context_.limits.head_timeout_ms);
  const HeadStatus request_status = co_await request_reader_;
  Outcome outcome = read_request(request_status);
  if (outcome == Outcome::kOk) outcome = choose_route();
  while (outcome == Outcome::kOk) {
    outcome = prepare_upstream();
    if (outcome != Outcome::kOk) break;
    if (needs_dial()) {
      const ConnectStatus connected = co_await connector_;
      outcome = dial_end(connected);
      if (connected != ConnectStatus::kConnected) continue;
    }
    send_request();
    HeadStatus response_status = co_await response_reader_;
    while (is_interim(response_status)) {
      forward_interim();
      co_await response_pump_;
      await_response_head();
      response_status = co_await response_reader_;
    }
    if (retry_stale(response_status)) continue;
    outcome = read_response(response_status);
    break;
  }
  if (outcome == Outcome::kOk && upgrade_) {
    send_tunnel_response();
    const PumpEnd response_pumped = co_await response_pump_;
    co_await request_pump_;
    outcome = tunnel_end(response_pumped);
  } else if (outcome == Outcome::kOk) {
    send_response();
    const PumpEnd pumped = co_await response_pump_;
    outcome = response_end(pumped);
  } else if (can_reply(outcome)) {
    send_local_reply(outcome);
    co_await response_pump_;
  }
  finish(outcome);
}

Exchange::Exchange(ProxyContext& context, const Downstream& downstream)
    : context_(context),
      downstream_(downstream),
      generation_(context.current),
      scratch_(context.scratch.take()),
      target_(context.balancer),
      started_(context.loop.now()),
      request_reader_(context.loop),
      response_reader_(context.loop),
      connector_(context.loop),
      request_pump_(context.loop, *this),
      response_pump_(context.loop, *this) {
  ++context_.active_exchanges;
  // The scratch text is used again: views of the last request must not show in this one's record.
  RequestHead& request = scratch_->request;
  request.method = request.authority = request.path = {};
}

Exchange::~Exchange() {
  abandon(Outcome::kDrained);
  --context_.active_exchanges;
  context_.scratch.give(std::move(scratch_));
}

void Exchange::start(Operation& finished) {
  task_ = run();
  task_.start(context_.loop, finished);
}

void Exchange::abandon(Outcome outcome) {
  if (recorded_) return;
  task_ = Task();
  request_reader_.cancel();
  response_reader_.cancel();
  connector_.cancel();
  idle_.cancel();
  request_pump_.cancel();
  response_pump_.cancel();
  release_upstream(outcome);
  next_ = Next::kReset;
  record(outcome);
}

Outcome Exchange::read_request(HeadStatus status) {
  has_request_ = scratch_->request_text.started();
  switch (status) {
    case HeadStatus::kComplete:
      break;
    case HeadStatus::kBad:
      has_request_ = true;
      return Outcome::kBadRequest;
    case HeadStatus::kTooLarge:
      has_request_ = true;
      return Outcome::kHeadersTooLarge;
    case HeadStatus::kTimeout:
      return Outcome::kRequestTimeout;
    case HeadStatus::kWaiting:
    case HeadStatus::kClosed:
    case HeadStatus::kAborted:
      return Outcome::kDownstreamReset;
  }
  switch (parse_request(scratch_->request_text.text(), &scratch_->request)) {
    case ParseResult::kComplete:
      break;
    case ParseResult::kTooLarge:
      return Outcome::kHeadersTooLarge;
    case ParseResult::kNotImplemented:
      return Outcome::kNotImplemented;
    case ParseResult::kBad:
    case ParseResult::kNeedMore:
      return Outcome::kBadRequest;
  }
  if (!normalise_target(generation_->snapshot().path_normalisation, &scratch_->request_target,
                        &scratch_->request))
    return Outcome::kBadRequest;
  parsed_ = true;
  close_ = !scratch_->request.keep_alive;
  upgrade_ = wants_upgrade(scratch_->request);
  // A tunnel and a body at once would need two framings in a row; nobody sends that.
  if (upgrade_ && scratch_->request.body != BodyKind::kNone) return Outcome::kNotImplemented;
  return Outcome::kOk;
}

Outcome Exchange::choose_route() {
  const Snapshot& snapshot = generation_->snapshot();
  const RequestHead& request = scratch_->request;
  source_ = source_of(downstream_.origin, snapshot);
  const VirtualHost* host = snapshot.find_virtual_host(source_, request.authority, downstream_.dialled);
  if (host == nullptr) return Outcome::kNoRoute;
  route_ = match_route(*host, request, source_view(snapshot, source_), downstream_.dialled.port);
  if (route_ == nullptr) return Outcome::kNoRoute;
  const uint32_t cluster = context_.balancer.pick_cluster(*route_);
  if (cluster == kNone) return Outcome::kNoCluster;
  target_.aim(generation_, cluster);
  return Outcome::kOk;
}

// An endpoint and a connection to it: from the pool, else a new one, being dialled.
Outcome Exchange::prepare_upstream() {
  if (!only_fresh_ && !target_.pick()) return Outcome::kNoEndpoint;
  upstream_address_ = target_.endpoint().address;
  const UpstreamKey key{upstream_address_, downstream_.origin.netns_cookie};
  upstream_ = only_fresh_ ? nullptr : context_.pool.take(key);
  reused_ = upstream_ != nullptr;
  dialling_ = !reused_;
  if (reused_) return Outcome::kOk;
  upstream_ = std::make_unique<UpstreamConnection>(context_.loop, context_.buffers, context_.pool, key);
  connector_.start(upstream_->socket(), context_.home, downstream_.origin.netns.get(), upstream_address_,
                   target_.cluster().connect_timeout_ms);
  return Outcome::kOk;
}

// kOk when connected, and when another endpoint may be tried: nothing was sent yet.
Outcome Exchange::dial_end(ConnectStatus status) {
  if (status == ConnectStatus::kConnected) return Outcome::kOk;
  upstream_.reset();
  only_fresh_ = false;
  return target_.fail() ? Outcome::kOk : outcome_of(status);
}

void Exchange::send_request() {
  context_.loop.arm(idle_, context_.limits.exchange_idle_ms);
  const RequestHead& request = scratch_->request;
  std::string& out = scratch_->request_out;
  out.clear();
  const std::string fallback = request.authority.empty() ? downstream_.dialled.to_string() : std::string();
  write_request_head(request, RequestForm{.fallback_host = fallback, .upgrade = upgrade_}, &out);
  await_response_head();
  request_pump_.start(Pump::Path{&downstream_.socket, &downstream_.input, &upstream_->socket()},
                      Pump::Body{.kind = request.body,
                                 .length = request.content_length,
                                 .chunked_out = request.body == BodyKind::kChunked},
                      out);
}

void Exchange::await_response_head() {
  response_reader_.start(upstream_->socket(), upstream_->input(), scratch_->response_text,
                         context_.limits.max_head_bytes, 0);
}

// 1xx but 101: goes to the client, and the real response follows (RFC 9110 §15.2).
bool Exchange::is_interim(HeadStatus status) {
  constexpr uint8_t kMaxInterim = 16;
  if (status != HeadStatus::kComplete) return false;
  const bool head_request = scratch_->request.method == "HEAD";
  response_parsed_ = parse_response(scratch_->response_text.text(), head_request, &scratch_->response);
  if (response_parsed_ != ParseResult::kComplete) return false;
  const uint16_t code = scratch_->response.status;
  return code >= 100 && code < 200 && code != 101 && interim_count_++ < kMaxInterim;
}

void Exchange::forward_interim() {
  std::string& out = scratch_->response_out;
  out.clear();
  if (scratch_->request.minor_version > 0) write_response_head(scratch_->response, ResponseForm(), &out);
  response_pump_.start(Pump::Path{&upstream_->socket(), &upstream_->input(), &downstream_.socket},
                       Pump::Body(), out);
}

bool Exchange::replayable() const {
  if (scratch_->request.body != BodyKind::kNone) return false;
  for (const std::string_view method : {"GET", "HEAD", "OPTIONS", "PUT", "DELETE"}) {
    if (scratch_->request.method == method) return true;
  }
  return false;
}

// A kept-alive connection may end just as we use it. Before any byte of a response, and only then, a request
// that may be repeated is sent once more, on a new connection (RFC 9112 §9.3.1).
bool Exchange::retry_stale(HeadStatus status) {
  const bool silent = status == HeadStatus::kClosed && !scratch_->response_text.started();
  if (!silent || !reused_ || stale_retried_ || interim_count_ > 0 || !replayable()) return false;
  request_pump_.cancel();
  upstream_.reset();
  stale_retried_ = only_fresh_ = true;
  return true;
}

Outcome Exchange::read_response(HeadStatus status) {
  if (status == HeadStatus::kAborted) return request_failure_;
  if (status == HeadStatus::kClosed) return Outcome::kUpstreamReset;
  if (status != HeadStatus::kComplete || response_parsed_ != ParseResult::kComplete)
    return Outcome::kUpstreamProtocol;
  const ResponseHead& response = scratch_->response;
  if (response.status == 101 && upgrade_) return Outcome::kOk;
  if (response.status < 200) return Outcome::kUpstreamProtocol;
  upgrade_ = false;
  return Outcome::kOk;
}

void Exchange::send_response() {
  const ResponseHead& response = scratch_->response;
  const uint8_t client_version = scratch_->request.minor_version;
  const bool unframed = response.body == BodyKind::kUntilClose || response.body == BodyKind::kChunked;
  const bool chunked = unframed && client_version > 0;
  self_framed_ = !unframed || chunked;
  // While the request is not all sent, nobody can say that it will be: the client must not reuse the
  // connection.
  close_ = close_ || context_.draining || !self_framed_ || !request_sent();
  status_ = response.status;
  std::string& out = scratch_->response_out;
  out.clear();
  write_response_head(
      response, ResponseForm{.client_minor_version = client_version, .close = close_, .chunked = chunked},
      &out);
  response_pump_.start(
      Pump::Path{&upstream_->socket(), &upstream_->input(), &downstream_.socket},
      Pump::Body{.kind = response.body, .length = response.content_length, .chunked_out = chunked}, out);
}

// After 101 the connection is bytes both ways (RFC 9110 §7.8).
void Exchange::send_tunnel_response() {
  status_ = scratch_->response.status;
  close_ = true;
  std::string& out = scratch_->response_out;
  out.clear();
  write_response_head(scratch_->response, ResponseForm{.upgrade = true}, &out);
  const Pump::Body stream{.kind = BodyKind::kUntilClose, .half_close = true};
  response_pump_.start(Pump::Path{&upstream_->socket(), &upstream_->input(), &downstream_.socket}, stream,
                       out);
  if (response_pump_.end() != PumpEnd::kRunning && response_pump_.end() != PumpEnd::kDone) return;
  request_pump_.start(Pump::Path{&downstream_.socket, &downstream_.input, &upstream_->socket()}, stream, {});
}

Outcome Exchange::response_end(PumpEnd end) {
  switch (end) {
    case PumpEnd::kDone:
      return Outcome::kOk;
    case PumpEnd::kSourceReset:
      return Outcome::kUpstreamReset;
    case PumpEnd::kBadFraming:
      return Outcome::kUpstreamProtocol;
    case PumpEnd::kAborted:
      return request_failure_;
    case PumpEnd::kSinkReset:
    case PumpEnd::kIdle:
    case PumpEnd::kRunning:
      return Outcome::kDownstreamReset;
  }
  return Outcome::kDownstreamReset;
}

Outcome Exchange::tunnel_end(PumpEnd end) const {
  if (end == PumpEnd::kDone && request_sent()) return Outcome::kOk;
  if (request_failure_ == Outcome::kIdleTimeout) return request_failure_;
  const bool upstream_failed = end == PumpEnd::kSourceReset || request_pump_.end() == PumpEnd::kSinkReset;
  return upstream_failed ? Outcome::kUpstreamReset : Outcome::kDownstreamReset;
}

bool Exchange::can_reply(Outcome outcome) const { return has_request_ && status_of(outcome) != 0; }

void Exchange::send_local_reply(Outcome outcome) {
  request_pump_.cancel();
  close_ = close_ || !request_whole() || context_.draining || scratch_->request.minor_version == 0;
  status_ = status_of(outcome);
  std::string& out = scratch_->response_out;
  out.clear();
  write_local_reply(outcome, close_, parsed_ && scratch_->request.method == "HEAD", &out);
  response_pump_.start(Pump::Path{&downstream_.socket, &downstream_.input, &downstream_.socket}, Pump::Body(),
                       out);
}

void Exchange::finish(Outcome outcome) {
  const bool whole = response_pump_.end() == PumpEnd::kDone;
  if (whole && !close_) {
    next_ = Next::kKeepAlive;
  } else if (whole) {
    // What the client still sends must not meet a closed socket: the RST would take our response away.
    next_ = request_whole() ? Next::kClose : Next::kLinger;
  } else {
    next_ = self_framed_ && !upgrade_ ? Next::kClose : Next::kReset;
  }
  idle_.cancel();
  release_upstream(outcome);
  request_pump_.cancel();
  record(outcome);
}

void Exchange::release_upstream(Outcome outcome) {
  target_.release();
  if (upstream_ == nullptr) return;
  const bool reusable = outcome == Outcome::kOk && !upgrade_ && request_sent() &&
                        scratch_->response.keep_alive && scratch_->response.body != BodyKind::kUntilClose &&
                        upstream_->input().empty();
  if (reusable) {
    context_.pool.give(std::move(upstream_));
  } else {
    upstream_.reset();
  }
}

// Failures while reading the client end the wait for the response; failures while writing to the upstream do
// not: it may have answered early, and the response reader will see the end soon.
void Exchange::pump_ended(Pump& pump) {
  const PumpEnd end = pump.end();
  if (end == PumpEnd::kDone) return;
  if (status_ == 101) {
    (&pump == &request_pump_ ? response_pump_ : request_pump_).abort();
    return;
  }
  if (&pump != &request_pump_ || end == PumpEnd::kSinkReset) return;
  request_failure_ = end == PumpEnd::kBadFraming ? Outcome::kBadRequest : Outcome::kDownstreamReset;
  response_reader_.abort();
  response_pump_.abort();
}

// Looks only once per period, so a byte costs nothing: an exchange ends between one and two periods after its
// last.
void Exchange::on_idle() {
  // Also when it ends now: an interim response may be what hangs, and after it the real one is awaited again.
  context_.loop.arm(idle_, context_.limits.exchange_idle_ms);
  const uint64_t bytes = request_pump_.bytes() + response_pump_.bytes();
  if (bytes != bytes_at_last_look_) {
    bytes_at_last_look_ = bytes;
    return;
  }
  request_failure_ = Outcome::kIdleTimeout;
  request_pump_.abort();
  response_reader_.abort();
  response_pump_.abort();
}

void Exchange::record(Outcome outcome) {
  recorded_ = true;
  if (!has_request_) return;
  ExchangeRecord record;
  record.outcome = outcome;
  record.status = status_;
  record.duration = context_.loop.now() - started_;
  record.received_bytes = request_pump_.bytes();
  record.sent_bytes = response_pump_.bytes();
  record.client = downstream_.client;
  record.dialled = downstream_.dialled;
  record.upstream = upstream_address_;
  record.snapshot_generation = generation_->snapshot().generation;
  record.source = source_;
  record.cluster = target_.cluster_index();
  record.endpoint = target_.endpoint_index();
  if (route_ != nullptr) record.route = route_->name;
  record.method = scratch_->request.method;
  record.authority = scratch_->request.authority;
  record.path = scratch_->request.path;
  context_.sink.record(record, generation_->snapshot());
}

}  // namespace weft::proxy
