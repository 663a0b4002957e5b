// RetryState: the further tries of one request whose route has a retry policy: how many there were, whether
// one more follows, how long to wait for it, and the body that is sent again. Worker thread only.
#pragma once

#include <string_view>

#include "userspace-proxy/exchange/replay_source.h"
#include "userspace-proxy/route/retry_policy.h"
#include "userspace-proxy/upstream/random.h"
#include "userspace-proxy/upstream/retry_budget.h"

namespace weft::proxy {

class RetryState {
 public:
  // All outlive the use of this, which ends with end().
  void begin(const RetryPolicy& policy, RetryBudget& budget, const RetryLimits& limits,
             std::string_view method) {
    policy_ = &policy;
    budget_ = &budget;
    limits_ = &limits;
    idempotent_ = is_idempotent(method);
    tries_ = 0;
    budget_->request_began();
  }
  void end() {
    sending_ = false;
    if (policy_ == nullptr) return;
    if (tries_ > 0) budget_->retry_ended();
    budget_->request_ended();
    policy_ = nullptr;
  }
  bool active() const { return policy_ != nullptr; }
  const RetryPolicy& policy() const { return *policy_; }

  // One more try follows, and is counted: the policy asks for it, and neither attempts nor budget are used
  // up.
  bool again_after(TryFailure failure) { return retries_failure(*policy_, failure, idempotent_) && again(); }
  bool again_after(const ResponseHead& response) {
    return retries_response(*policy_, response, idempotent_) && again();
  }
  // Milliseconds to wait for it: uniform below the bound, so that those who failed together do not come
  // together.
  uint32_t wait_ms(Random& random) const { return random.below(back_off_bound_ms(*policy_, tries_)); }

  // What was sent of the body; nothing when it was too large to keep.
  const ReplaySource& sent() const { return body_; }
  // The request's body, from its first byte; also without a policy.
  BodySource& body(BodySource& from) {
    if (sending_) {
      body_.rewind();
    } else {
      body_.start(from);
    }
    sending_ = true;
    return body_;
  }

 private:
  bool again() {
    if (tries_ >= policy_->attempts || (sending_ && !body_.can_rewind())) return false;
    // A request has one place in the budget, however often it is tried.
    if (tries_ == 0 && !budget_->retry_begins(*limits_)) return false;
    ++tries_;
    return true;
  }

  const RetryPolicy* policy_ = nullptr;
  RetryBudget* budget_ = nullptr;
  const RetryLimits* limits_ = nullptr;
  bool idempotent_ = false;
  bool sending_ = false;
  uint32_t tries_ = 0;
  ReplaySource body_;
};

}  // namespace weft::proxy
