// ActionState: what one exchange needs while its route does more than forward: the request and response as
// they are edited, the answers that the proxy gives by itself, injected delays, timeouts and further tries.
// Lent by an ActionPool to exchanges of such routes only; keeps its memory between them. Worker thread only.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "userspace-proxy/config/snapshot.h"
#include "userspace-proxy/exchange/limit_fields.h"
#include "userspace-proxy/exchange/own_response.h"
#include "userspace-proxy/exchange/retry_state.h"
#include "userspace-proxy/net/event_loop.h"
#include "userspace-proxy/net/wait_slot.h"
#include "userspace-proxy/route/action.h"
#include "userspace-proxy/route/edit_headers.h"
#include "userspace-proxy/route/matcher.h"
#include "userspace-proxy/upstream/random.h"

namespace weft::proxy {

class ActionState {
 public:
  class Owner {
   public:
    virtual ~Owner() = default;
    // The route's timeout is over.
    virtual void time_is_up() = 0;
    // That of one try, which got no response yet.
    virtual void try_time_is_up() = 0;
  };

  explicit ActionState(EventLoop& loop) : loop_(loop) {}

  // All but `owner` are of the exchange's generation, and may be null.
  void begin(const RouteAction* action, const DestinationAction* destination, const HttpMatcher* matcher,
             Owner& owner);
  // Nothing runs any more.
  void end();

  // Every rate limit of the route has a token, which is taken; `source`: bytes that name the client. False:
  // nothing is taken, and the answer is composed, kRateLimited.
  bool admit(std::string_view source, const RequestHead& request, MonotonicNs now);
  // An injected delay: true when there is none, else the operation runs when it is over.
  bool delay(Random& random, Operation& operation);
  // What the route makes of the request: kOk to forward it as outgoing(), kBadRewrite, or the reason of an
  // answer of ours, which is composed.
  Outcome decide(Random& random, const EditFacts& facts);

  // The request as it goes upstream.
  RequestHead& outgoing(RequestHead& received) { return edited_ ? request_ : received; }
  // The response as it goes to the client; valid until the next call.
  const ResponseHead& incoming(const ResponseHead& received, const EditFacts& facts);
  OwnResponse& answer() { return answer_; }

  // The timeout runs from here, if there is one.
  void start_clock();
  // It goes to a cluster, whose budget this is.
  void forward(RetryBudget& budget, const RetryLimits& limits, const RequestHead& request);
  // The response tells the client to keep this cookie.
  void give_cookie(std::string cookie) { cookie_ = std::move(cookie); }
  RetryState& retries() { return retries_; }
  BodySource& request_body(BodySource& from) {
    return retries_.active() || !mirrors_.empty() ? retries_.body(from) : from;
  }
  // Clusters that get a copy of the request: drawn, and read once all of the request is here.
  void draw_mirrors(const std::vector<RouteMirror>& mirrors, Random& random);
  const std::vector<uint32_t>& mirrors() const { return mirrors_; }
  void mirrors_sent() { mirrors_.clear(); }
  // Milliseconds for all of what the route asks for, or `otherwise`.
  uint64_t time_limit(uint64_t otherwise) const {
    return action_->timeout_ms > 0 ? action_->timeout_ms : otherwise;
  }
  // One try begins; its response begins, or it is given up.
  void try_begins();
  void try_over() { try_time_.cancel(); }
  // The wait before a further try, as delay().
  bool back_off(Random& random, Operation& operation);

  // The request goes upstream; `more`: the client has not sent all of it. Then the timeout runs again from
  // its last byte.
  void sending(bool more) { sending_ = more && !sent_; }
  void request_sent() {
    sent_ = true;
    if (!std::exchange(sending_, false)) return;
    start_clock();
    if (try_time_.armed()) try_begins();
  }

 private:
  void refuse(const RateLimiter& limiter, const RateLimiter::Answer& answer, const RequestHead& request);
  bool answer_preflight(const RequestHead& request);
  void finish_answer(const EditFacts& facts);
  Outcome redirect(const Redirect& redirect, const EditFacts& facts);
  bool abort(Random& random, const RequestHead& request);
  Outcome edit_request(const EditFacts& facts);
  void edit(const HeaderEdits* first, const HeaderEdits* second, const EditFacts& facts,
            std::vector<Header>* headers);
  bool rewrite_path(const EditFacts& facts);
  void rewrite_authority();
  void on_delay_over() { waiting_.run(); }
  void on_time() { owner_->time_is_up(); }
  void on_try_time() { owner_->try_time_is_up(); }

  EventLoop& loop_;
  Owner* owner_ = nullptr;
  const RouteAction* action_ = nullptr;
  const HttpMatcher* matcher_ = nullptr;
  const DestinationAction* destination_ = nullptr;
  bool edited_ = false;
  bool sending_ = false;  // the client, for the first time
  bool sent_ = false;     // by the client: what is sent again later is here
  bool cors_ = false;     // the response says that its origin is allowed
  bool limited_ = false;  // the response says how much of the rate limit is left
  RateLimiter::Answer limit_;
  std::vector<RateLimiter::Answer> taken_;
  LimitFields limit_fields_;
  RequestHead request_;
  ResponseHead response_;
  std::string target_, text_;
  std::string cookie_;  // a Set-Cookie field; empty: none
  std::vector<uint32_t> mirrors_;
  OwnResponse answer_;
  RetryState retries_;
  WaitSlot waiting_;
  Timer delay_{this, method<&ActionState::on_delay_over>};
  Timer time_{this, method<&ActionState::on_time>};
  Timer try_time_{this, method<&ActionState::on_try_time>};
};

class ActionPool {
 public:
  std::unique_ptr<ActionState> take(EventLoop& loop) {
    if (free_.empty()) return std::make_unique<ActionState>(loop);
    std::unique_ptr<ActionState> state = std::move(free_.back());
    free_.pop_back();
    return state;
  }
  void give(std::unique_ptr<ActionState> state) {
    state->end();
    if (free_.size() < kMaxFree) free_.push_back(std::move(state));
  }

 private:
  static constexpr size_t kMaxFree = 256;
  std::vector<std::unique_ptr<ActionState>> free_;
};

}  // namespace weft::proxy
