// What an exchange does for a route that does more than forward, in the order in which run() in exchange.cc
// comes to it. Nothing here runs for other routes but the look whether there is an action.
#include "base/strings.h"
#include "userspace-proxy/exchange/exchange.h"
#include "userspace-proxy/exchange/leads_back.h"

namespace weft::proxy {
namespace {

// A gRPC server that answers with trailers alone says there how it went.
uint16_t status_with_grpc(const ResponseHead& response) {
  const auto text = response.find("grpc-status");
  const auto code = text ? parse_integer<uint8_t>(*text) : std::nullopt;
  return code && *code != 0 ? http_of_grpc(*code) : response.status;
}

}  // namespace

void Exchange::begin_action() { step_.begin(action_->delay(context_.balancer.random(), step_.operation())); }

// The route's own answer instead of an upstream's, or the request as it goes there.
Outcome Exchange::act() {
  if (step_.aborted()) return stopped_;
  const Outcome outcome = action_->decide(context_.balancer.random(), facts());
  if (outcome != Outcome::kOk) return outcome;
  action_->forward(target_.budget(), target_.retry_limits(), request());
  if (!tunnel_asked_) action_->draw_mirrors(route_->mirrors, context_.balancer.random());
  if (request().body == BodyKind::kNone) start_mirrors();
  return Outcome::kOk;
}

EditFacts Exchange::facts() const {
  const bool aimed = target_.cluster_index() != kNone;
  return EditFacts{.request = request(),
                   .downstream_remote = client_.client,
                   .downstream_local = client_.dialled,
                   .route_name = route_name_,
                   .cluster = aimed ? std::string_view(target_.cluster().name) : std::string_view(),
                   .upstream_remote = upstream_address_,
                   .response = upstream_ != nullptr ? &upstream_->response() : nullptr};
}

const ResponseHead& Exchange::response_head() {
  const ResponseHead& head = upstream_->response();
  const ResponseHead& said = check_ != nullptr ? check_->incoming(head) : head;
  return action_ != nullptr ? action_->incoming(said, facts()) : said;
}

// The route's retry policy has the request tried again: this try is over.
bool Exchange::tries_again(Outcome outcome) {
  if (action_ == nullptr || !action_->retries().active()) return false;
  // What the client has seen of a response is not taken back, and its own end is no failure of a server.
  if (tunnel_asked_ || interim_count_ > 0 || (stopped_ != Outcome::kOk && stopped_ != Outcome::kTryTimeout))
    return false;
  RetryState& retries = action_->retries();
  const std::optional<TryFailure> failure = failure_of(outcome);
  if (outcome == Outcome::kOk ? !retries.again_after(upstream_->response())
                              : !failure || !retries.again_after(*failure))
    return false;
  idle_.cancel();
  action_->try_over();
  request_pump_.cancel();
  upstream_.reset();
  target_.leave(retries.policy().ignore_previous_hosts);
  stopped_ = Outcome::kOk;
  only_fresh_ = false;
  return true;
}

std::optional<TryFailure> Exchange::failure_of(Outcome outcome) const {
  switch (outcome) {
    case Outcome::kConnectRefused:
    case Outcome::kConnectTimeout:
    case Outcome::kConnectFailed:
    case Outcome::kTlsFailed:
      return TryFailure::kConnect;
    case Outcome::kUpstreamReset:
      return upstream_->unanswered() == Unanswered::kRefused ? TryFailure::kRefused : TryFailure::kReset;
    case Outcome::kUpstreamProtocol:
      return TryFailure::kReset;
    case Outcome::kTryTimeout:
      return upstream_ == nullptr ? TryFailure::kConnect : TryFailure::kTimeout;
    default:
      return std::nullopt;
  }
}

// What the try says of its endpoint, for those that rest when they fail. How long a client was willing to
// wait (its deadline), or took to send, says nothing: one pod would take an endpoint from the whole node.
void Exchange::observe(Outcome outcome) {
  if (!target_.watched()) return;
  const MonotonicNs now = context_.loop.now();
  switch (outcome) {
    case Outcome::kOk:
      return target_.report(TryResult{.status = status_with_grpc(upstream_->response())}, now);
    case Outcome::kUpstreamReset:
    case Outcome::kUpstreamProtocol:
      return target_.report(TryResult{.kind = TryResult::Kind::kReset}, now);
    case Outcome::kTimeout:
    case Outcome::kTryTimeout:
      return target_.report(TryResult{.kind = TryResult::Kind::kTimeout}, now);
    case Outcome::kIdleTimeout:
      if (!client_late_) target_.report(TryResult{.kind = TryResult::Kind::kTimeout}, now);
      return;
    default:
      return;
  }
}

void Exchange::back_off() { step_.begin(action_->back_off(context_.balancer.random(), step_.operation())); }

void Exchange::send_answer() {
  const bool refused = check_ != nullptr && check_->outcome() != Outcome::kOk;
  OwnResponse& answer = refused ? check_->answer() : action_->answer();
  const ResponseHead& head = answer.head();
  status_ = head.status;
  downstream_.write_response(head);
  response_pump_.start(answer.body(), downstream_.response(), Pump::Lead::kHead);
}

// All of the request is here: copies of it as it goes upstream. Not of a body that was too large to keep.
void Exchange::start_mirrors() {
  const Snapshot& snapshot = generation_->snapshot();
  const bool body = request().body != BodyKind::kNone;
  for (const uint32_t cluster : action_->mirrors()) {
    if (body && !action_->retries().sent().can_rewind()) break;
    if (leads_out(snapshot, client_.origin, client_.dialled, cluster)) continue;
    const MirrorTarget target{generation_, cluster, protocol_to(snapshot.clusters[cluster]), client_.dialled,
                              route_->dials_as};
    context_.mirrors.start(context_, client_.origin.shared_from_this(), target, outgoing(),
                           body ? action_->retries().sent().kept() : std::string_view(),
                           action_->time_limit(context_.limits.exchange_idle_ms));
  }
  action_->mirrors_sent();
}

// While the client still sends, and the server takes it, the time is the client's: it begins again with the
// last byte.
bool Exchange::client_sends() const {
  return request_pump_.end() == PumpEnd::kRunning && !request_pump_.blocked();
}

// A tunnel has no end that could be late.
void Exchange::time_is_up() {
  if (!client_sends() && response_ != Response::kTunnel) stop(Outcome::kTimeout);
}

void Exchange::try_time_is_up() {
  if (!client_sends()) stop(Outcome::kTryTimeout);
}

}  // namespace weft::proxy
