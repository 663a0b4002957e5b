// Deficit round-robin between pods: what pumps move is charged to the pod they work for, and a pod that used
// its share of a turn waits until the others had theirs. Pumps ask before each step; the worker lends one
// FairShare to all of them. Nothing is held back for long: while a pod waits the loop does not sleep, so a
// pod that is alone goes on after one look at the sockets. Worker thread only, allocates nothing.
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

  explicit FairShare(EventLoop& loop) : loop_(loop) {}
  FairShare(const FairShare&) = delete;
  FairShare& operator=(const FairShare&) = delete;

  // False: the share is used up, and `next` runs when the pod's turn comes again, after every pod that
  // waits longer.
  bool may_go_on(ShareAccount& account, Operation& next) {
    refill(account);
    if (account.left_ > 0) return true;
    wait(account, next);
    return false;
  }
  static void charge(ShareAccount& account, size_t bytes) { account.left_ -= static_cast<int64_t>(bytes); }

 private:
  void refill(ShareAccount& account) {
    if (account.turn_ != loop_.turns()) grant(account);
  }
  void grant(ShareAccount& account);
  void wait(ShareAccount& account, Operation& next);
  void begin_round(int);
  void serve_round(int);

  EventLoop& loop_;
  IntrusiveList<ShareAccount> pods_;  // that wait, the longest waiting first
  Operation begin_{this, method<&FairShare::begin_round>};
  Operation serve_{this, method<&FairShare::serve_round>};
};

}  // namespace weft::proxy
