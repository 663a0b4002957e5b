// What an exchange asks providers about a request that a policy of CUSTOM selects, in the order in which
// run() in exchange.cc comes to it.
#include "userspace-proxy/exchange/exchange.h"

#include "userspace-proxy/http/field_rules.h"

namespace weft::proxy {

// False: no policy selects the request, or judge() denies it unasked.
bool Exchange::begin_check() {
  if (hides_requests()) return false;
  std::vector<ConnectionPolicy::Asked> asked;
  std::string_view ns;
  const DialIdentity* as = nullptr;
  if (client_.policy != nullptr) {
    const Snapshot& now = context_.current->snapshot();
    ns = now.namespace_of(source_of(client_.origin, now));
    client_.policy->asked(judged(request(), client_.client.ip, &context_.path_readings, nullptr), &asked);
  } else {
    const GatewayRules* rules = asked_at_gateway(&asked);
    if (rules == nullptr) return false;
    ns = rules->ns;
    as = rules->asks_as.get();
  }
  if (asked.empty()) return false;
  // Of now, as the policies: the exchange may have waited for its head since long before.
  check_ = std::make_unique<ExternalCheck>(context_, client_, context_.current, request());
  check_->ask(asked, ns, as);
  if (!check_->asks()) check_.reset();
  return check_ != nullptr;
}

// Who waits for a 100 sends no body to ask with, and the server that would say it is not reached before
// (RFC 9110 §10.1.1).
bool Exchange::says_continue() {
  if (!request().expect_continue || !check_->holds_body(request())) return false;
  ResponseHead go_on;
  go_on.status = 100;
  go_on.reason = "Continue";
  downstream_.write_interim(go_on);
  context_.loop.arm(idle_, context_.limits.exchange_idle_ms);
  response_pump_.flush(downstream_.response(), false);
  continue_said_ = true;
  request().expect_continue = false;
  std::erase_if(request().headers,
                [](const Header& header) { return equals_ignore_case(header.name, "expect"); });
  return true;
}

void Exchange::hold_body() {
  // A client that does not take the 100 takes no answer either.
  if (continue_said_ && !interim_sent() && stopped_ == Outcome::kOk) stopped_ = Outcome::kDownstreamReset;
  if (stopped_ != Outcome::kOk) return step_.begin(true);
  context_.loop.arm(idle_, context_.limits.exchange_idle_ms);
  step_.begin(check_->hold(step_.operation(), downstream_.request_body()));
}

bool Exchange::ask_next() {
  idle_.cancel();
  if (stopped_ != Outcome::kOk || check_->body_broken()) return false;
  const bool asks = check_->next(step_.operation());
  step_.begin(!asks);
  return asks;
}

void Exchange::hear_answer() {
  if (stopped_ == Outcome::kOk) check_->heard();
}

// The request's head is what the application gets, by what the providers said.
Outcome Exchange::providers_said() {
  check_->cancel();
  if (stopped_ != Outcome::kOk) return stopped_;
  if (check_->body_broken()) return Outcome::kDownstreamReset;
  if (check_->outcome() == Outcome::kOk) check_->edit(&request());
  return check_->outcome();
}

}  // namespace weft::proxy
