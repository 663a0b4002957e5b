// The way of one HTTP request: head, route, endpoint, stream to it, both bodies, outcome. run() is the story;
// the steps below it stand in the same order.
#include "userspace-proxy/exchange/exchange.h"

#include "userspace-proxy/config/match_route.h"
#include "userspace-proxy/exchange/affinity.h"
#include "userspace-proxy/exchange/leads_back.h"
#include "userspace-proxy/http/path.h"

namespace weft::proxy {

Task Exchange::run() {
  step_.begin(downstream_.read_request(step_.operation()));
  co_await step_;
  Outcome outcome = request_read();
  if (outcome == Outcome::kOk && asks_provider()) {
    if (says_continue()) co_await response_pump_;
    hold_body();
    co_await step_;
    while (ask_next()) {
      co_await step_;
      hear_answer();
    }
    outcome = providers_said();
  }
  if (outcome == Outcome::kOk) outcome = client_.policy != nullptr ? judge() : choose_route();
  if (outcome == Outcome::kOk && action_ != nullptr) {
    begin_action();
    co_await step_;
    outcome = act();
  }
  while (outcome == Outcome::kOk) {
    outcome = prepare_upstream();
    if (outcome != Outcome::kOk) break;
    co_await step_;
    outcome = upstream_ready();
    if (upstream_ != nullptr) {
      send_request();
      co_await step_;
      while (is_interim()) {
        forward_interim();
        co_await response_pump_;
        if (!interim_sent()) break;
        await_response();
        co_await step_;
      }
      if (retry()) continue;
      outcome = response_read();
      if (!tries_again(outcome)) break;
    } else if (!tries_again(outcome)) {
      continue;
    }
    back_off();
    co_await step_;
    outcome = back_off_over();
  }
  if (response_ == Response::kTunnel) {
    open_tunnel();
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

Exchange::Exchange(ProxyContext& context, const ClientSide& client, DownstreamStream& downstream)
    : context_(context),
      client_(client),
      downstream_(downstream),
      generation_(context.current),
      target_(context.balancer),
      started_(context.loop.now()),
      stream_request_(context.pool),
      request_pump_(context.loop, *this, context.share, client.origin.share),
      response_pump_(context.loop, *this, context.share, client.origin.share) {
  ++context_.active_exchanges;
  context_.sole_client.asks(client_.client.port);
  client_.origin.use->exchanges.add(1);
}

Exchange::~Exchange() {
  abandon(Outcome::kDrained);
  --context_.active_exchanges;
  client_.origin.use->exchanges.subtract(1);
}

void Exchange::start(Operation& finished) {
  task_ = run();
  task_.start(context_.loop, finished);
}

void Exchange::abandon(Outcome outcome) {
  if (recorded_) return;
  task_ = Task();
  step_.cancel();
  if (check_ != nullptr) check_->cancel();
  stream_request_.cancel();
  finish(outcome);
}

Outcome Exchange::request_read() {
  switch (downstream_.request_status()) {
    case HeadStatus::kComplete:
      break;
    case HeadStatus::kBad:
      return Outcome::kBadRequest;
    case HeadStatus::kTooLarge:
      return Outcome::kHeadersTooLarge;
    case HeadStatus::kTimeout:
      return Outcome::kRequestTimeout;
    case HeadStatus::kNotImplemented:
      return Outcome::kNotImplemented;
    case HeadStatus::kWaiting:
    case HeadStatus::kClosed:
    case HeadStatus::kAborted:
    case HeadStatus::kMoved:
      return Outcome::kDownstreamReset;
  }
  if (!context_.admission.admit(*client_.origin.use)) return Outcome::kOverload;
  RequestHead& head = request();
  if (!normalise_target(generation_->snapshot().path_normalisation, &head.rewritten, &head))
    return Outcome::kBadRequest;
  if (client_.server != nullptr) head.scheme = "https";
  // A tunnel and a body at once would need two framings in a row: the server may ignore Upgrade (RFC 9110
  // §7.8), so it does not see one.
  tunnel_asked_ =
      is_connect() || !head.protocol.empty() || (head.body == BodyKind::kNone && wants_upgrade(head));
  if (is_grpc_call(head)) take_deadline();
  return Outcome::kOk;
}

// From here on the call has as long as its client gave it, whatever it waits for.
void Exchange::take_deadline() {
  const auto timeout = request().find("grpc-timeout");
  const auto parsed = timeout ? parse_grpc_timeout(*timeout) : std::nullopt;
  if (!parsed) return;
  deadline_at_ = started_ + *parsed;
  const MonotonicNs now = context_.loop.now();
  const MonotonicNs left = deadline_at_ > now ? deadline_at_ - now : 0;
  context_.loop.arm(deadline_, (left + kNsPerMs - 1) / kNsPerMs);
}

Outcome Exchange::choose_route() {
  const Snapshot& snapshot = generation_->snapshot();
  source_ = source_of(client_.origin, snapshot);
  // What CONNECT names is behind the service that was dialled, a forward proxy.
  const std::string_view authority = is_connect() ? std::string_view() : request().authority;
  const GatewayServer* server = client_.server == nullptr ? nullptr : admitting_server(snapshot, authority);
  if (client_.server != nullptr && server == nullptr) return Outcome::kMisdirected;
  const VirtualHost* host = client_.origin.is_gateway()
                                ? snapshot.find_gateway_host(authority, client_.dialled.port, server)
                                : snapshot.find_virtual_host(source_, authority, client_.dialled);
  if (host == nullptr)
    return is_undeclared(client_.origin, snapshot, client_.dialled) ? Outcome::kNotDeclared
                                                                    : Outcome::kNoRoute;
  SourceView source = source_view(snapshot, source_);
  if (client_.access != nullptr) {
    const Outcome let_in = judge_at_gateway();
    judged_ = let_in == Outcome::kOk;
    if (!judged_) return let_in;
    source.token = token_.get();
  }
  const RouteMatch match = match_route(*host, request(), source, client_.dialled.port);
  route_ = match.route;
  if (route_ == nullptr) return Outcome::kNoRoute;
  const bool named = match.matcher != nullptr && !match.matcher->route_name.empty();
  route_name_ = named ? match.matcher->route_name : route_->name;
  const RouteAction* action = route_->action.get();
  const bool answers = action != nullptr && action->answers();
  const WeightedCluster* chosen = answers ? nullptr : context_.balancer.pick_cluster(*route_);
  const DestinationAction* more = chosen != nullptr ? chosen->action.get() : nullptr;
  if (action != nullptr || more != nullptr) {
    action_ = context_.actions.take(context_.loop);
    action_->begin(action, more, match.matcher, *this);
    if (!action_->admit(source_name(), request(), context_.loop.now())) return Outcome::kRateLimited;
  }
  if (answers) return Outcome::kOk;
  if (chosen != nullptr && chosen->invalid) return Outcome::kInvalidBackend;
  if (chosen == nullptr || chosen->cluster == kNone) return Outcome::kNoCluster;
  if (leads_back(snapshot, client_.origin, chosen->cluster)) return Outcome::kNoEndpoint;
  if (leads_out(snapshot, client_.origin, client_.dialled, chosen->cluster)) return Outcome::kNotDeclared;
  aim(chosen->cluster);
  return Outcome::kOk;
}

// Whose the host is, if the client's connection may ask for it: it would have been made to the same listener,
// with the same demands on the client (RFC 9110 §7.4). Else null.
const GatewayServer* Exchange::admitting_server(const Snapshot& snapshot, std::string_view authority) const {
  const GatewayServer* server = snapshot.find_gateway_server(authority, client_.dialled.port);
  const bool same = server != nullptr && server->tls != nullptr &&
                    (server->tls.get() == client_.server || server->tls->admits_as(*client_.server));
  return same ? server : nullptr;
}

// For who counts requests by their source: the pod, or the address of a client outside the mesh.
std::string_view Exchange::source_name() const {
  if (!client_.origin.is_gateway()) return client_.origin.workload_uid();
  const IpAddress& ip = client_.client.ip;
  // Whoever has an IPv6 address has the other addresses of its /64 too.
  const size_t size = ip.is_v4() ? ip.bytes.size() : ip.bytes.size() / 2;
  return {reinterpret_cast<const char*>(ip.bytes.data()), size};
}

// A client that is to stay on its endpoint, and has no cookie for it, gets one.
void Exchange::aim(uint32_t index) {
  const Cluster& cluster = generation_->snapshot().clusters[index];
  DialTarget::Client client{client_.dialled, client_.origin.netns_cookie(), source_, true, std::nullopt};
  if (hashes(cluster)) {
    const HashKey& key = cluster.policy->balancing.hash;
    client.hash = affinity_of(key, request(), client_.client);
    if (!client.hash && key.generates) {
      if (action_ == nullptr) {
        action_ = context_.actions.take(context_.loop);
        action_->begin(nullptr, nullptr, nullptr, *this);
      }
      action_->give_cookie(new_cookie(key, context_.balancer.random(), &client.hash.emplace()));
    }
  }
  target_.aim(generation_, index, client);
}

UpstreamProtocol Exchange::protocol_to(const Cluster& cluster) const {
  if (cluster.protocol == ClusterProtocol::kHttp1) return UpstreamProtocol::kHttp1;
  if (cluster.protocol == ClusterProtocol::kHttp2) return UpstreamProtocol::kHttp2;
  if (request().major_version != 2) return UpstreamProtocol::kHttp1;
  if (cluster.protocol == ClusterProtocol::kAsClient && !client_.upgraded) return UpstreamProtocol::kHttp2;
  return is_grpc_call(request()) ? UpstreamProtocol::kHttp2 : UpstreamProtocol::kHttp1;
}

// An endpoint, and the begin of the wait for a stream to it.
Outcome Exchange::prepare_upstream() {
  if (!only_fresh_) {
    const Outcome picked = target_.pick(context_.loop.now());
    if (picked == Outcome::kCircuitOpen) client_.origin.use->refuse(Refusal::kCircuitOpen);
    if (picked != Outcome::kOk) return picked;
  }
  if (action_ != nullptr) action_->try_begins();
  upstream_address_ = target_.address();
  const ConnectionTermsPtr& terms = target_.terms();
  UpstreamKey key{upstream_address_, client_.origin.netns_cookie(), protocol_to(target_.cluster()),
                  terms != nullptr ? terms->id : 0};
  DialParameters dial{client_.origin.netns.get(), target_.cluster().connect_timeout_ms,
                      client_.origin.use.get(), terms};
  if (route_ != nullptr) dial_as(route_->dials_as, key, dial);
  if (client_.policy == nullptr)
    key.tunnelled = choose_tunnel(context_, client_.origin, generation_->snapshot(), target_.tunnel(), dial);
  choose_tls(context_, target_.tunnel() != nullptr, alpn_of(key.protocol), dial);
  const StreamRequest::Wants wants{.fresh = only_fresh_, .settings = tunnel_asked_ && !is_connect()};
  step_.begin(stream_request_.start(step_.operation(), key, dial, wants));
  return Outcome::kOk;
}

// kOk without a stream when another endpoint may be tried: nothing was sent yet.
Outcome Exchange::upstream_ready() {
  if (step_.aborted()) {
    stream_request_.cancel();
    return stopped_;
  }
  const ConnectStatus status = stream_request_.status();
  if (const auto result = result_of(status)) target_.report(*result, context_.loop.now());
  if (status == ConnectStatus::kCircuitOpen) client_.origin.use->refuse(Refusal::kCircuitOpen);
  if (status == ConnectStatus::kConnected) {
    upstream_ = stream_request_.take();
    return Outcome::kOk;
  }
  only_fresh_ = false;
  // Another endpoint would wait for the same pool's room or the same descriptors.
  if (!may_try_another(status)) return outcome_of(status);
  if (action_ != nullptr && action_->retries().active()) return outcome_of(status);
  return target_.fail(outcome_of(status)) ? Outcome::kOk : outcome_of(status);
}

void Exchange::send_request() {
  context_.loop.arm(idle_, context_.limits.exchange_idle_ms);
  RequestHead& head = outgoing();
  if (deadline_at_ > 0) write_deadline(head);
  const std::string fallback = head.authority.empty() ? client_.dialled.to_string() : std::string();
  upstream_->write_request(head, RequestForm{.fallback_host = fallback, .upgrade = tunnel_asked_});
  // First, so that a request that cannot be sent finds something to stop.
  await_response();
  // A tunnel's bytes come only when the server has agreed to it.
  if (tunnel_asked_) return request_pump_.flush(upstream_->request(), false);
  BodySource& received = downstream_.request_body();
  BodySource& body = check_ != nullptr ? check_->request_body(received) : received;
  request_pump_.start(action_ ? action_->request_body(body) : body, upstream_->request(), Pump::Lead::kHead);
  const bool more = request().body != BodyKind::kNone && request_pump_.end() == PumpEnd::kRunning;
  if (action_ != nullptr) action_->sending(more);
}

// The endpoint gets what is left of the time when some of it went by here.
void Exchange::write_deadline(RequestHead& head) {
  const MonotonicNs now = context_.loop.now();
  if (now - started_ < kNsPerMs) return;
  const MonotonicNs left = deadline_at_ > now ? deadline_at_ - now : 0;
  for (Header& header : head.headers) {
    if (!equals_ignore_case(header.name, "grpc-timeout")) continue;
    header.value = write_grpc_timeout(left, &deadline_text_);
  }
}

void Exchange::await_response() { step_.begin(upstream_->read_response(step_.operation())); }

// 1xx but 101: goes to the client, and the real response follows (RFC 9110 §15.2).
bool Exchange::is_interim() {
  constexpr uint8_t kMaxInterim = 16;
  if (step_.aborted() || upstream_->response_status() != HeadStatus::kComplete) return false;
  const uint16_t code = upstream_->response().status;
  return code >= 100 && code < 200 && code != 101 && interim_count_++ < kMaxInterim;
}

void Exchange::forward_interim() {
  downstream_.write_interim(upstream_->response());
  response_pump_.flush(downstream_.response(), false);
}

// A request that was not processed, or may be repeated, is sent once more on a new connection, as long as no
// payload was taken from the client.
bool Exchange::retry() {
  if (retried_ || step_.aborted() || interim_count_ > 0 || !request_pump_.untouched()) return false;
  const Unanswered unanswered = upstream_->unanswered();
  if (unanswered == Unanswered::kFinal) return false;
  if (unanswered == Unanswered::kStale && !is_idempotent(request().method)) return false;
  idle_.cancel();
  request_pump_.cancel();
  upstream_.reset();
  retried_ = only_fresh_ = true;
  return true;
}

Outcome Exchange::response_read() {
  const Outcome outcome = response_outcome();
  observe(outcome);
  return outcome;
}

Outcome Exchange::response_outcome() {
  if (step_.aborted()) return stopped_;
  if (action_ != nullptr) action_->try_over();
  if (interim_count_ > 0 && !interim_sent())
    return stopped_ == Outcome::kOk ? Outcome::kDownstreamReset : stopped_;
  const HeadStatus status = upstream_->response_status();
  if (status == HeadStatus::kClosed) return Outcome::kUpstreamReset;
  if (status == HeadStatus::kNotImplemented) return Outcome::kNotImplemented;
  if (status != HeadStatus::kComplete) return Outcome::kUpstreamProtocol;
  if (tunnel_asked_ && upstream_->opens_tunnel()) {
    response_ = Response::kTunnel;
    return Outcome::kOk;
  }
  return upstream_->response().status < 200 ? Outcome::kUpstreamProtocol : Outcome::kOk;
}

void Exchange::send_response() {
  response_ = Response::kBody;
  status_ = upstream_->response().status;
  downstream_.write_response(response_head());
  response_pump_.start(upstream_->response_body(), downstream_.response(), Pump::Lead::kHead);
  // The tunnel was refused: what is left of the request is its end. What the client sends for a tunnel that
  // is none goes nowhere.
  if (tunnel_asked_) request_pump_.flush(upstream_->request(), true);
}

// From here the connection is bytes both ways (RFC 9110 §7.8).
void Exchange::open_tunnel() {
  status_ = upstream_->response().status;
  context_.loop.arm(idle_, context_.limits.downstream_idle_ms);
  downstream_.write_tunnel_response(response_head());
  upstream_->start_tunnel();
  upstream_->watch_reset(upstream_reset_);
  response_pump_.start(upstream_->response_body(), downstream_.response(), Pump::Lead::kHead);
  if (response_pump_.end() != PumpEnd::kRunning && response_pump_.end() != PumpEnd::kDone) return;
  request_pump_.start(downstream_.request_body(), upstream_->request(), Pump::Lead::kPayload);
}

Outcome Exchange::response_end(PumpEnd end) {
  if (end == PumpEnd::kSourceReset) observe(Outcome::kUpstreamReset);
  switch (end) {
    case PumpEnd::kDone:
      return Outcome::kOk;
    case PumpEnd::kSourceReset:
      return Outcome::kUpstreamReset;
    case PumpEnd::kBadFraming:
      return Outcome::kUpstreamProtocol;
    case PumpEnd::kAborted:
      return stopped_;
    case PumpEnd::kIdle:
    case PumpEnd::kRunning:
    case PumpEnd::kSinkReset:
      return Outcome::kDownstreamReset;
  }
  return Outcome::kDownstreamReset;
}

Outcome Exchange::tunnel_end(PumpEnd end) const {
  if (end == PumpEnd::kDone && request_pump_.end() == PumpEnd::kDone) return Outcome::kOk;
  if (stopped_ != Outcome::kOk) return stopped_;
  const bool upstream_failed = end == PumpEnd::kSourceReset || request_pump_.end() == PumpEnd::kSinkReset;
  return upstream_failed ? Outcome::kUpstreamReset : Outcome::kDownstreamReset;
}

bool Exchange::can_reply(Outcome outcome) const {
  // An interim response that was cut short leaves nothing that could be answered.
  const bool has_answer = status_of(outcome) != 0 || is_own_answer(outcome);
  return downstream_.request_started() && has_answer && (interim_count_ == 0 || interim_sent());
}

void Exchange::send_local_reply(Outcome outcome) {
  request_pump_.cancel();
  if (is_own_answer(outcome)) return send_answer();
  status_ = status_of(outcome);
  downstream_.write_local_reply(outcome);
  response_pump_.flush(downstream_.response(), true);
}

void Exchange::finish(Outcome outcome) {
  idle_.cancel();
  deadline_.cancel();
  request_pump_.cancel();
  response_pump_.cancel();
  upstream_reset_.cancel();
  target_.end();
  downstream_.end(outcome);
  // The server learns as fast that its client is gone as it would without us.
  const bool reset =
      outcome == Outcome::kDownstreamReset || (response_ == Response::kTunnel && outcome != Outcome::kOk);
  if (upstream_ != nullptr) upstream_.release()->release(reset);
  record(outcome);
  if (action_ != nullptr) context_.actions.give(std::move(action_));
}

// Failures while reading the client end the wait for the response; failures while writing to the upstream do
// not: it may have answered early, and its stream will be at its end soon.
void Exchange::pump_ended(Pump& pump) {
  const PumpEnd end = pump.end();
  if (end == PumpEnd::kDone) {
    if (action_ == nullptr || &pump != &request_pump_) return;
    action_->request_sent();
    start_mirrors();
    return;
  }
  if (response_ == Response::kTunnel) {
    Pump& other = &pump == &request_pump_ ? response_pump_ : request_pump_;
    // Who takes no more is gone; what it said before is passed on, as it would be without us.
    if (end != PumpEnd::kSinkReset || !other.reading()) other.abort();
    return;
  }
  if (&pump != &request_pump_ || end == PumpEnd::kSinkReset) return;
  stop(end == PumpEnd::kBadFraming ? Outcome::kBadRequest : Outcome::kDownstreamReset);
}

// What was sent before a reset is read before it, and passed on.
void Exchange::on_upstream_reset(int) {
  if (!response_pump_.reading()) stop(Outcome::kUpstreamReset);
}

// Looks only once per period, so a byte costs nothing: an exchange ends between one and two periods after its
// last.
void Exchange::on_idle() {
  const uint64_t bytes =
      request_pump_.bytes() + response_pump_.bytes() + (check_ != nullptr ? check_->bytes_held() : 0);
  const uint64_t moved = bytes - bytes_at_last_look_;
  if (moved == 0 || (must_progress() && moved < context_.limits.min_progress_bytes)) {
    client_late_ = client_sends();
    return stop(Outcome::kIdleTimeout);
  }
  bytes_at_last_look_ = bytes;
  context_.loop.arm(idle_, context_.limits.exchange_idle_ms);
}

// A stream may say little for as long as it likes (events, gRPC). A body whose length was announced may not
// trickle, nor may who does not take what is there for it.
bool Exchange::must_progress() const {
  if (response_ == Response::kTunnel) return false;
  if (request_pump_.blocked() || response_pump_.blocked()) return true;
  if (request_pump_.end() == PumpEnd::kRunning && request().body == BodyKind::kLength) return true;
  return response_ == Response::kBody && response_pump_.end() == PumpEnd::kRunning &&
         upstream_->response().body == BodyKind::kLength;
}

// Ends what is awaited now, and only that: what follows in run() may wait again, for the reply. In a tunnel
// the response is awaited first, so that nobody is woken before both directions are stopped.
void Exchange::stop(Outcome outcome) {
  if (stopped_ == Outcome::kOk) stopped_ = outcome;
  request_pump_.abort();
  if (step_.waiting()) return step_.abort();
  response_pump_.abort();
}

}  // namespace weft::proxy
