// ActionState of action_state.h, in the order in which an exchange calls it.
#include "userspace-proxy/exchange/action_state.h"

#include <algorithm>

#include "userspace-proxy/http/grpc.h"
#include "userspace-proxy/route/rewrite_path.h"

namespace weft::proxy {
namespace {

const RouteAction kForward;

}  // namespace

void ActionState::begin(const RouteAction* action, const DestinationAction* destination,
                        const HttpMatcher* matcher, Owner& owner) {
  action_ = action != nullptr ? action : &kForward;
  destination_ = destination;
  matcher_ = matcher;
  owner_ = &owner;
  edited_ = sending_ = sent_ = cors_ = limited_ = false;
}

void ActionState::end() {
  delay_.cancel();
  time_.cancel();
  try_time_.cancel();
  retries_.end();
  mirrors_.clear();
  cookie_.clear();
  action_ = nullptr;
  owner_ = nullptr;
}

bool ActionState::admit(std::string_view source, const RequestHead& request, MonotonicNs now) {
  taken_.clear();
  for (const std::shared_ptr<RateLimiter>& limiter : action_->limits) {
    const RateLimiter::Settings& settings = limiter->settings();
    std::string_view key;
    if (settings.by == RateLimiter::By::kSource) key = source;
    // HTTP/2 has the authority instead of a Host field.
    if (settings.by == RateLimiter::By::kHeader)
      key = settings.header == "host" ? request.authority : request.find(settings.header).value_or(key);
    const RateLimiter::Answer answer = limiter->take(key, now);
    if (!answer.allowed) {
      for (size_t i = 0; i < taken_.size(); ++i) action_->limits[i]->give_back(taken_[i]);
      refuse(*limiter, answer, request);
      return false;
    }
    taken_.push_back(answer);
    if (!settings.response_headers || (limited_ && limit_.remaining <= answer.remaining)) continue;
    limited_ = true;
    limit_ = answer;
  }
  return true;
}

void ActionState::refuse(const RateLimiter& limiter, const RateLimiter::Answer& answer,
                         const RequestHead& request) {
  constexpr uint8_t kResourceExhausted = 8;
  if (is_grpc_call(request)) {
    answer_.start_grpc(request, Outcome::kRateLimited, kResourceExhausted);
  } else {
    answer_.start(request, Outcome::kRateLimited, status_of(Outcome::kRateLimited), "weft: rate_limited\n");
  }
  limit_fields_.add_refusal(answer, &answer_.head().headers);
  if (limiter.settings().response_headers) limit_fields_.add_state(answer, &answer_.head().headers);
}

bool ActionState::delay(Random& random, Operation& operation) {
  if (!action_->fault || action_->fault->delay_ms == 0 || !random.chance(action_->fault->delay_ppm))
    return true;
  waiting_.park(operation);
  loop_.arm(delay_, action_->fault->delay_ms);
  return false;
}

Outcome ActionState::decide(Random& random, const EditFacts& facts) {
  if (abort(random, facts.request)) return Outcome::kFaultAbort;
  if (action_->cors && answer_preflight(facts.request)) return Outcome::kCorsPreflight;
  if (action_->redirect) return redirect(*action_->redirect, facts);
  if (action_->direct_response) {
    const DirectResponse& direct = *action_->direct_response;
    answer_.start(facts.request, Outcome::kDirectResponse, direct.status, direct.body);
    finish_answer(facts);
    return Outcome::kDirectResponse;
  }
  return edit_request(facts);
}

void ActionState::finish_answer(const EditFacts& facts) {
  std::vector<Header>* headers = &answer_.head().headers;
  EditFacts with_response = facts;
  with_response.response = &answer_.head();
  edit(&action_->response_headers, nullptr, with_response, headers);
  if (cors_) add_cors_fields(*action_->cors, *facts.request.find("origin"), false, headers);
  if (limited_) limit_fields_.add_state(limit_, headers);
}

bool ActionState::answer_preflight(const RequestHead& request) {
  const CorsVerdict verdict = judge(*action_->cors, request);
  cors_ = verdict == CorsVerdict::kAllowed;
  if (verdict != CorsVerdict::kPreflight && verdict != CorsVerdict::kRefusedPreflight) return false;
  answer_.start_http(Outcome::kCorsPreflight, 200);
  if (verdict == CorsVerdict::kPreflight)
    add_cors_fields(*action_->cors, *request.find("origin"), true, &answer_.head().headers);
  return true;
}

bool ActionState::abort(Random& random, const RequestHead& request) {
  if (!action_->fault || !random.chance(action_->fault->abort_ppm)) return false;
  const Fault& fault = *action_->fault;
  if (fault.http_status != 0) {
    answer_.start(request, Outcome::kFaultAbort, fault.http_status, "weft: fault_abort\n");
  } else {
    answer_.start_grpc(request, Outcome::kFaultAbort, fault.grpc_status);
  }
  return true;
}

Outcome ActionState::redirect(const Redirect& redirect, const EditFacts& facts) {
  target_.clear();
  if (!append_location(redirect, matcher_, facts.request, facts.downstream_local.port, &target_))
    return Outcome::kBadRewrite;
  answer_.start_http(Outcome::kRedirect, redirect.code);
  answer_.add("location", target_);
  finish_answer(facts);
  return Outcome::kRedirect;
}

Outcome ActionState::edit_request(const EditFacts& facts) {
  const HeaderEdits* later = destination_ != nullptr ? &destination_->request_headers : nullptr;
  const bool authority =
      !action_->authority_rewrite.empty() || (destination_ != nullptr && !destination_->authority.empty());
  const bool path = action_->path_rewrite.kind != PathRewrite::Kind::kNone;
  edited_ = authority || path || !action_->request_headers.empty() || (later != nullptr && !later->empty());
  if (!edited_) return Outcome::kOk;
  request_ = facts.request;
  if (path && !rewrite_path(facts)) return Outcome::kBadRewrite;
  edit(&action_->request_headers, later, facts, &request_.headers);
  if (authority) rewrite_authority();
  return Outcome::kOk;
}

bool ActionState::rewrite_path(const EditFacts& facts) {
  target_.clear();
  if (!append_rewritten(action_->path_rewrite, matcher_, facts.request, &target_)) return false;
  request_.target = target_;
  request_.path = request_.target.substr(0, request_.target.find('?'));
  request_.query = request_.target.substr(std::min(request_.path.size() + 1, request_.target.size()));
  return true;
}

// The route's word counts more than the destination's.
void ActionState::rewrite_authority() {
  const std::string& route = action_->authority_rewrite;
  request_.authority = route.empty() ? destination_->authority : route;
  // HTTP/2 clients send no Host; the writers make it of the authority.
  for (Header& header : request_.headers) {
    if (equals_ignore_case(header.name, "host")) header.value = request_.authority;
  }
}

void ActionState::edit(const HeaderEdits* first, const HeaderEdits* second, const EditFacts& facts,
                       std::vector<Header>* headers) {
  size_t bytes = 0;
  for (const HeaderEdits* edits : {first, second}) {
    if (edits != nullptr) bytes += rendered_bytes(*edits, facts);
  }
  text_.clear();
  text_.reserve(bytes);
  for (const HeaderEdits* edits : {first, second}) {
    if (edits != nullptr) edit_headers(*edits, facts, &text_, headers);
  }
}

const ResponseHead& ActionState::incoming(const ResponseHead& received, const EditFacts& facts) {
  const HeaderEdits* later = destination_ != nullptr ? &destination_->response_headers : nullptr;
  const bool edits = !action_->response_headers.empty() || (later != nullptr && !later->empty());
  if (!edits && !cors_ && !limited_ && cookie_.empty()) return received;
  response_ = received;
  if (edits) edit(&action_->response_headers, later, facts, &response_.headers);
  if (!cookie_.empty()) response_.headers.push_back(Header{"set-cookie", cookie_});
  if (cors_) add_cors_fields(*action_->cors, *facts.request.find("origin"), false, &response_.headers);
  if (limited_) limit_fields_.add_state(limit_, &response_.headers);
  return response_;
}

void ActionState::draw_mirrors(const std::vector<RouteMirror>& mirrors, Random& random) {
  for (const RouteMirror& mirror : mirrors) {
    if (mirror.cluster != kNone && random.chance(mirror.ppm)) mirrors_.push_back(mirror.cluster);
  }
}

void ActionState::forward(RetryBudget& budget, const RetryLimits& limits, const RequestHead& request) {
  start_clock();
  if (action_->retries) retries_.begin(*action_->retries, budget, limits, request.method);
}

void ActionState::try_begins() {
  if (retries_.active() && retries_.policy().per_try_timeout_ms > 0)
    loop_.arm(try_time_, retries_.policy().per_try_timeout_ms);
}

bool ActionState::back_off(Random& random, Operation& operation) {
  waiting_.park(operation);
  loop_.arm(delay_, retries_.wait_ms(random));
  return false;
}

void ActionState::start_clock() {
  if (action_->timeout_ms > 0) loop_.arm(time_, action_->timeout_ms);
}

}  // namespace weft::proxy
