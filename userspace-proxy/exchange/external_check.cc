// ExternalCheck of external_check.h. run() is the story: as an exchange's, without a client.
#include "userspace-proxy/exchange/external_check.h"

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <utility>

#include "base/log.h"
#include "userspace-proxy/exchange/context.h"
#include "userspace-proxy/http/field_rules.h"
#include "userspace-proxy/http/grpc.h"

namespace weft::proxy {
namespace {

constexpr std::string_view kCheckPath = "/envoy.service.auth.v3.Authorization/Check";
constexpr std::string_view kDenied = "RBAC: access denied";
constexpr uint16_t kTooLong = 413, kTooMany = 503;

int64_t unix_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return static_cast<int64_t>(now.tv_sec) * static_cast<int64_t>(kNsPerSecond) + now.tv_nsec;
}

// Over HTTP the status says no, whatever becomes of the body.
bool denies(const ExternalProvider& provider, uint16_t status) {
  return provider.kind == ExternalProvider::Kind::kHttp && http_verdict(status) == CheckAnswer::Kind::kDenied;
}

}  // namespace

bool AnswerSink::send(Operation& operation, Pieces& pieces, bool last, std::span<const Header> trailers) {
  operation.result = 0;
  for (const iovec& piece : pieces.all()) {
    if (text.size() + piece.iov_len > kMaxCheckAnswer) {
      operation.result = -EMSGSIZE;
      return true;
    }
    text.append(static_cast<const char*>(piece.iov_base), piece.iov_len);
  }
  for (const Header& trailer : trailers) {
    if (last && equals_ignore_case(trailer.name, "grpc-status")) grpc_status = trailer.value;
  }
  return true;
}

Task ExternalCheck::run() {
  while (begin()) {
    co_await step_;
    if (connected()) {
      send();
      co_await step_;
      while (is_interim()) {
        await_response();
        co_await step_;
      }
      if (response_began()) {
        collect();
        co_await response_pump_;
      }
    }
    if (!tries_again()) break;
  }
}

ExternalCheck::ExternalCheck(ProxyContext& context, const ClientSide& client, const GenerationRef& generation,
                             const RequestHead& head)
    : context_(context),
      client_(client),
      generation_(generation),
      head_(head),
      body_(client.origin.use->buffered_bytes, context.held_body_bytes),
      target_(context.balancer),
      text_(context.texts.take()),
      stream_request_(context.pool),
      request_pump_(context.loop, *this, context.share, client.origin.share),
      response_pump_(context.loop, *this, context.share, client.origin.share) {}

ExternalCheck::~ExternalCheck() {
  cancel();
  context_.texts.give(std::move(text_));
}

void ExternalCheck::cancel() {
  task_ = Task();
  limit_.cancel();
  step_.cancel();
  request_pump_.cancel();
  response_pump_.cancel();
  stream_request_.cancel();
  upstream_.reset();
  target_.end();
  body_.stop();
  message_ = {};
  sink_.text = {};
  if (!std::exchange(running_, false)) return;
  --context_.external_checks_running;
  --client_.origin.use->external_checks;
}

void ExternalCheck::ask(const std::vector<ConnectionPolicy::Asked>& asked, std::string_view ns,
                        const DialIdentity* as) {
  asks_as_ = as;
  const Snapshot& snapshot = generation_->snapshot();
  for (const ConnectionPolicy::Asked& one : asked) {
    Question question{std::string(one.policy), std::string(one.provider), nullptr, kNone};
    question.provider = snapshot.find_provider(one.provider);
    if (question.provider != nullptr) question.cluster = snapshot.find_provider_cluster(ns, one.provider);
    // Of a pod. The address of a gateway is that of all its hosts, the provider's perhaps among them.
    if (client_.policy == nullptr || !leads_to_itself(question.cluster))
      questions_.push_back(std::move(question));
  }
}

bool ExternalCheck::leads_to_itself(uint32_t cluster) const {
  if (cluster == kNone) return false;
  const auto& endpoints = generation_->snapshot().clusters[cluster].endpoints;
  return std::any_of(endpoints.begin(), endpoints.end(),
                     [this](const Endpoint& endpoint) { return endpoint.address == client_.dialled; });
}

size_t ExternalCheck::wanted_body() const {
  size_t wanted = 0;
  for (const Question& one : questions_) {
    // A byte more tells a body that is longer.
    if (one.provider != nullptr && one.provider->max_body_bytes > 0)
      wanted = std::max<size_t>(wanted, one.provider->max_body_bytes + size_t{1});
  }
  return wanted;
}

bool ExternalCheck::hold(Operation& operation, BodySource& body) {
  if (!holds_body(head_)) return true;
  holds_ = true;
  return body_.fill(operation, body, wanted_body());
}

// What the provider must not be asked without.
bool ExternalCheck::body_too_long() const {
  const ExternalProvider& provider = *question().provider;
  if (!holds_ || provider.max_body_bytes == 0 || provider.partial_body) return false;
  return body_.text().size() > provider.max_body_bytes;
}

bool ExternalCheck::next(Operation& over) {
  while (outcome_ == Outcome::kOk && at_ < questions_.size()) {
    if (begins(over)) return true;
  }
  return false;
}

// False: what becomes of it is known already.
bool ExternalCheck::begins(Operation& over) {
  timed_out_ = fresh_ = false;
  failure_ = Outcome::kNoEndpoint;
  if (question().provider == nullptr || question().cluster == kNone) {
    take(no_answer());
    return false;
  }
  if (context_.external_checks_running >= kMaxRunning ||
      client_.origin.use->external_checks >= kMaxRunningOfPod) {
    refuse_unasked("too many questions are under way");
    return false;
  }
  if (body_too_long()) {
    report("provider_not_asked", "the body is longer than it is asked with");
    refuse(Outcome::kProviderFailed, kTooLong, {});
    return false;
  }
  running_ = true;
  ++context_.external_checks_running;
  ++client_.origin.use->external_checks;
  compose();
  const DialTarget::Client from{{},
                                client_.origin.netns_cookie(),
                                source_of(client_.origin, generation_->snapshot()),
                                true,
                                std::nullopt};
  target_.aim(generation_, question().cluster, from);
  context_.loop.arm(limit_, question().provider->timeout_ms);
  task_ = run();
  task_.start(context_.loop, over);
  return true;
}

void ExternalCheck::compose() {
  const ExternalProvider& provider = *question().provider;
  std::string_view body;
  if (holds_ && provider.max_body_bytes > 0) body = body_.text().substr(0, provider.max_body_bytes);
  const CheckQuestion asked{.head = head_,
                            .client = client_.client,
                            .server = client_.dialled,
                            .client_id = client_.policy != nullptr ? std::string_view(client_.policy->peer())
                                         : client_.access != nullptr ? client_.access->peer()
                                                                     : std::string_view(),
                            .server_uid = client_.origin.workload_uid(),
                            .body = body,
                            .unix_ns = unix_ns()};
  sink_.text.clear();
  sink_.grpc_status.clear();
  RequestHead& out = text_->head;
  if (provider.kind == ExternalProvider::Kind::kHttp) {
    http_question(provider, asked, &out, &text_->out);
    message_.assign(body);
    return;
  }
  message_ = grpc_question(provider, asked);
  out = RequestHead{.headers = std::move(out.headers), .rewritten = std::move(out.rewritten)};
  out.method = "POST";
  out.target = kCheckPath;
  out.authority = provider.host;
  out.major_version = 2;
  out.minor_version = 0;
  out.body = BodyKind::kChunked;
  out.headers = {{"content-type", "application/grpc"}, {"te", "trailers"}};
}

bool ExternalCheck::begin() {
  failure_ = target_.pick(context_.loop.now());
  if (failure_ != Outcome::kOk) return false;
  const Cluster& cluster = target_.cluster();
  // An address that a client dialled is nobody's here.
  if (cluster.load_balancer == LoadBalancer::kPassthrough) {
    failure_ = Outcome::kNoEndpoint;
    return false;
  }
  const bool http2 = question().provider->kind == ExternalProvider::Kind::kGrpc ||
                     cluster.protocol == ClusterProtocol::kHttp2;
  const ConnectionTermsPtr& terms = target_.terms();
  UpstreamKey key{target_.address(), client_.origin.netns_cookie(),
                  http2 ? UpstreamProtocol::kHttp2 : UpstreamProtocol::kHttp1,
                  terms != nullptr ? terms->id : 0};
  DialParameters dial{client_.origin.netns.get(), cluster.connect_timeout_ms, client_.origin.use.get(),
                      terms};
  dial_as(asks_as_, key, dial);
  key.tunnelled = choose_tunnel(context_, client_.origin, target_.snapshot(), target_.tunnel(), dial);
  choose_tls(context_, target_.tunnel() != nullptr, alpn_of(key.protocol), dial);
  const StreamRequest::Wants wants{.fresh = fresh_, .settings = false};
  step_.begin(stream_request_.start(step_.operation(), key, dial, wants));
  return true;
}

bool ExternalCheck::connected() {
  if (step_.aborted()) return false;
  const ConnectStatus status = stream_request_.status();
  if (const auto result = result_of(status)) target_.report(*result, context_.loop.now());
  failure_ = outcome_of(status);
  if (status != ConnectStatus::kConnected) return false;
  upstream_ = stream_request_.take();
  return true;
}

void ExternalCheck::send() {
  const RequestForm form;
  upstream_->write_request(text_->head, form);
  await_response();
  source_.start(message_);
  request_pump_.start(source_, upstream_->request(), Pump::Lead::kHead);
}

bool ExternalCheck::is_interim() { return response_began() && upstream_->response().status < 200; }

bool ExternalCheck::response_began() const {
  return !step_.aborted() && upstream_->response_status() == HeadStatus::kComplete;
}

// Another endpoint where there is no connection; another connection where the one that was kept has ended: a
// question may be asked twice.
bool ExternalCheck::tries_again() {
  if (timed_out_ || step_.aborted() || overloaded()) return false;
  if (upstream_ == nullptr) return target_.fail(failure_);
  if (response_began()) return false;
  failure_ = Outcome::kUpstreamReset;
  if (fresh_ || upstream_->unanswered() == Unanswered::kFinal) return false;
  request_pump_.cancel();
  upstream_.reset();
  return fresh_ = true;
}

// Ends what is awaited; run() ends with it.
void ExternalCheck::on_limit() {
  timed_out_ = true;
  request_pump_.cancel();
  if (step_.waiting()) return step_.abort();
  response_pump_.abort();
}

void ExternalCheck::heard() {
  const bool ours = overloaded();
  CheckAnswer answer = read_answer();
  cancel();
  if (ours) return refuse_unasked("there is no room for the question");
  take(std::move(answer));
}

CheckAnswer ExternalCheck::read_answer() {
  CheckAnswer none = no_answer();
  if (upstream_ == nullptr || !response_began()) return none;
  const ResponseHead& head = upstream_->response();
  const PumpEnd end = response_pump_.end();
  const ExternalProvider& provider = *question().provider;
  if (denies(provider, head.status) && (timed_out_ || end != PumpEnd::kDone))
    return read_http_answer(provider, head, {});
  if (timed_out_) return none;
  if (end != PumpEnd::kDone) {
    none.problem = end == PumpEnd::kSinkReset ? "the answer is too long" : "the answer broke off";
    none.unread = provider.kind == ExternalProvider::Kind::kGrpc && !sink_.text.empty();
    return none;
  }
  if (provider.kind == ExternalProvider::Kind::kHttp)
    return read_http_answer(provider, head, std::move(sink_.text));
  const std::string_view in_head = head.find("grpc-status").value_or(std::string_view());
  const std::string_view status = sink_.grpc_status.empty() ? in_head : std::string_view(sink_.grpc_status);
  if (head.status != 200 || status != "0") {
    none.problem = "the call failed";
    return none;
  }
  return read_grpc_answer(sink_.text);
}

CheckAnswer ExternalCheck::no_answer() const {
  std::string_view problem = label(failure_);
  if (timed_out_) problem = "no answer in time";
  if (question().cluster == kNone) problem = "its service or port is not known";
  if (question().provider == nullptr) problem = "the mesh has no provider of that name";
  return {.kind = CheckAnswer::Kind::kFailed, .problem = problem, .body = {}};
}

void ExternalCheck::take(CheckAnswer answer) {
  const ExternalProvider* const provider = question().provider.get();
  switch (answer.kind) {
    case CheckAnswer::Kind::kAllowed:
      // What it says to the application must get there.
      if (names_edited(answer)) {
        ++context_.external.denied;
        report("provider_denied", "the request's Connection field names a field that the provider edits");
        return refuse(Outcome::kProviderDenied, status_of(Outcome::kProviderDenied), kDenied);
      }
      ++context_.external.allowed;
      answers_.push_back(std::move(answer));
      break;
    case CheckAnswer::Kind::kDenied:
      ++context_.external.denied;
      report("provider_denied", "");
      denied_ = std::move(answer);
      // A call's answer is of gRPC, whatever the provider's is.
      if (is_grpc_call(head_)) {
        std::erase_if(denied_.response, [](const FieldEdit& edit) { return edit.name == "content-type"; });
      }
      refuse(Outcome::kProviderDenied, denied_.status, denied_.body);
      return apply_to_response(denied_.response, &answer_.head().headers);
    case CheckAnswer::Kind::kFailed:
      ++context_.external.failed;
      report("provider_failed", answer.problem);
      // Who has no such provider, or no such service, may have misspelt it: nobody is let in for that.
      if (provider == nullptr) return refuse(Outcome::kProviderFailed, ExternalProvider::kDefaultStatus, {});
      if (!provider->fail_open || question().cluster == kNone || answer.unread)
        return refuse(Outcome::kProviderFailed, provider->status_on_error, {});
      break;
  }
  ++at_;
}

// The request has the next hop drop a field that the provider edits.
bool ExternalCheck::names_edited(const CheckAnswer& answer) const {
  return std::any_of(answer.request.begin(), answer.request.end(), [this](const FieldEdit& edit) {
    return listed_in_connection(head_.headers, edit.name);
  });
}

void ExternalCheck::refuse(Outcome outcome, uint16_t status, std::string_view body) {
  outcome_ = outcome;
  denial_ = body;
  answer_.start(head_, outcome, status, denial_);
}

// No failure of the provider: who sends enough requests must not be let in by its failOpen.
void ExternalCheck::refuse_unasked(std::string_view problem) {
  report("provider_not_asked", problem);
  ++context_.external.failed;
  client_.origin.use->refuse(Refusal::kOverload);
  refuse(Outcome::kProviderFailed, kTooMany, {});
}

// A line a second is enough to find out which.
void ExternalCheck::report(std::string_view event, std::string_view problem) const {
  if (context_.loop.now() < context_.next_external_line) return;
  context_.next_external_line = context_.loop.now() + kNsPerSecond;
  log::info(event, {{"workload", client_.origin.workload_uid()},
                    {"client", client_.client.to_string()},
                    {"port", client_.dialled.port},
                    {"policy", question().policy},
                    {"provider", question().provider_name},
                    {"problem", problem.empty() ? std::string_view("-") : problem}});
}

void ExternalCheck::edit(RequestHead* head) const {
  for (const CheckAnswer& answer : answers_) apply_to_request(answer.request, &head->headers);
}

bool ExternalCheck::edits_request(std::string_view name) const {
  const auto read_as = [name](const FieldEdit& edit) { return reads_as(name, edit.name); };
  return std::any_of(answers_.begin(), answers_.end(), [&read_as](const CheckAnswer& answer) {
    return std::any_of(answer.request.begin(), answer.request.end(), read_as);
  });
}

const ResponseHead& ExternalCheck::incoming(const ResponseHead& received) {
  const bool edits = std::any_of(answers_.begin(), answers_.end(),
                                 [](const CheckAnswer& answer) { return !answer.response.empty(); });
  if (!edits) return received;
  response_ = received;
  for (const CheckAnswer& answer : answers_) apply_to_response(answer.response, &response_.headers);
  return response_;
}

}  // namespace weft::proxy
