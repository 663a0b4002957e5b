// Deficit round-robin between pods: what pumps move is charged to the pod they work for, and so are its
// requests while another pod has something to do; a pod that used its share of a turn waits until the others
// had theirs. Pumps ask before each step, connections before each request; the worker lends one FairShare to
// all of them. Nothing is held back for long: while a pod waits the loop does not sleep, so a pod that is
// alone goes on after one look at the sockets. Worker thread only, allocates nothing.
#pragma once

#include <cstdint>

#include "userspace-proxy/net/event_loop.h"

namespace weft::proxy {

// What one pod has left of its share, and its pumps that wait for more. Lives as long as any of them.
class ShareAccount : public ListNode<> {
 public:
  // Bytes of this turn; below zero after a step that was larger than what was left.
  int64_t left() const { return left_; }

 private:
  friend class FairShare;
  int64_t left_ = 0;
  uint64_t turn_ = ~uint64_t{0};  // for which left_ holds
  IntrusiveList<Operation> waiting_;
};

class FairShare {
 public:
  // Bytes of one pod in one turn: one read of a bulk chunk, some 100 µs of copying.
  static constexpr int64_t kQuantum = 256 * 1024;
  // What a request counts as beside other pods: it takes some 10 to 15 µs of the worker, whatever its body.
  static constexpr int64_t kRequest = 16 * 1024;

  explicit FairShare(EventLoop& loop) : loop_(loop) {}
  FairShare(const FairShare&) = delete;
  FairShare& operator=(const FairShare&) = delete;

  // False: the share is used up, or others of the pod wait for it already, and `next` runs when the pod's
  // turn comes again, after every pod that waits longer.
  bool may_go_on(ShareAccount& account, Operation& next) {
    refill(account);
    if (account.left_ > 0 && (account.waiting_.empty() || serving_ == &account)) return true;
    wait(account, next);
    return false;
  }
  static void charge(ShareAccount& account, size_t bytes) { account.left_ -= static_cast<int64_t>(bytes); }

  // For a request that is there: as may_go_on() where more than one pod has something to do, and it is
  // charged. A pod that is alone has nobody to let go first, and waits for nothing.
  bool may_begin(ShareAccount& account, Operation& next) {
    refill(account);
    if (is_contested() && !may_go_on(account, next)) return false;
    charge_requests(account, 1);
    return true;
  }
  // For requests that have begun.
  void charge_requests(ShareAccount& account, uint64_t requests) {
    if (is_contested()) charge(account, requests * static_cast<uint64_t>(kRequest));
  }

 private:
  // For so many turns after two pods have asked both are expected to ask again.
  static constexpr uint64_t kRemembered = 256;

  bool is_contested() const { return loop_.turns() < contested_until_; }
  void refill(ShareAccount& account) {
    if (account.turn_ != loop_.turns()) grant(account);
  }
  void grant(ShareAccount& account);
  void wait(ShareAccount& account, Operation& next);
  void begin_round(int);
  void serve_round(int);

  EventLoop& loop_;
  IntrusiveList<ShareAccount> pods_;  // that wait, the longest waiting first
  const ShareAccount* serving_ = nullptr;
  const void* latest_ = nullptr;  // the account that asked last; it may be gone
  uint64_t latest_turn_ = 0, contested_until_ = 0;
  Operation begin_{this, method<&FairShare::begin_round>};
  Operation serve_{this, method<&FairShare::serve_round>};
};

}  // namespace weft::proxy
