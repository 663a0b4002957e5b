// What an exchange asks providers about a request that a policy of CUSTOM selects, in the order in which
// run() in exchange.cc comes to it.
#include "userspace-proxy/exchange/exchange.h"

namespace weft::proxy {

// False: no policy selects the request, or judge() denies it unasked.
bool Exchange::begin_check() {
  if (hides_requests()) return false;
  std::vector<ConnectionPolicy::Asked> asked;
  client_.policy->asked(judged(request(), client_.client.ip, &context_.path_readings, nullptr), &asked);
  if (asked.empty()) return false;
  // Of now, as the policies: the exchange may have waited for its head since long before.
  check_ = std::make_unique<ExternalCheck>(context_, client_, context_.current, request());
  check_->ask(asked);
  if (!check_->asks()) check_.reset();
  return check_ != nullptr;
}

void Exchange::hold_body() {
  context_.loop.arm(idle_, context_.limits.exchange_idle_ms);
  step_.begin(check_->hold(step_.operation(), downstream_.request_body()));
}

bool Exchange::ask_next() {
  idle_.cancel();
  if (step_.aborted() || check_->body_broken()) return false;
  const bool asks = check_->next(step_.operation());
  step_.begin(!asks);
  return asks;
}

void Exchange::hear_answer() {
  if (!step_.aborted()) check_->heard();
}

// The request's head is what the application gets, by what the providers said.
Outcome Exchange::providers_said() {
  check_->cancel();
  if (step_.aborted()) return stopped_;
  if (check_->body_broken()) return Outcome::kDownstreamReset;
  if (check_->outcome() == Outcome::kOk) check_->edit(&request());
  return check_->outcome();
}

}  // namespace weft::proxy
