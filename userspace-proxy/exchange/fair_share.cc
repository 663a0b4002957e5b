// Rounds of fair_share.h: one per turn, after the completions of that turn, each waiting pod up to its share.
#include "userspace-proxy/exchange/fair_share.h"

#include <algorithm>

namespace weft::proxy {

// Debts are paid in full, savings are not kept: a pod that was quiet has one quantum, not many.
void FairShare::grant(ShareAccount& account) {
  const uint64_t turn = loop_.turns();
  if (latest_ != nullptr && latest_ != &account && turn - latest_turn_ < kRemembered)
    contested_until_ = turn + kRemembered;
  latest_ = &account;
  latest_turn_ = turn;
  const uint64_t passed = turn - account.turn_;
  account.turn_ = turn;
  // A step is at most a few chunks, so a debt is paid within a few turns.
  constexpr uint64_t kPaidFor = 64;
  account.left_ = passed >= kPaidFor
                      ? kQuantum
                      : std::min(kQuantum, account.left_ + static_cast<int64_t>(passed) * kQuantum);
}

void FairShare::wait(ShareAccount& account, Operation& next) {
  account.waiting_.push_back(next);
  if (!account.linked()) pods_.push_back(account);
  if (!begin_.pending() && !serve_.pending()) loop_.next_turn(begin_);
}

// Behind what the sockets completed in this turn: who did not use up a share goes before who did.
void FairShare::begin_round(int) { loop_.soon(serve_); }

void FairShare::serve_round(int) {
  // Who did not wait for a share does not wait for its use either.
  loop_.send_out();
  IntrusiveList<ShareAccount> round;
  round.splice(pods_);
  while (ShareAccount* account = round.pop_front()) {
    refill(*account);
    serving_ = account;
    // What ends in here is retired by the loop after the turn, so the account stays.
    while (account->left_ > 0) {
      Operation* next = account->waiting_.pop_front();
      if (next == nullptr) break;
      next->run();
    }
    if (!account->waiting_.empty() && !account->linked()) pods_.push_back(*account);
  }
  serving_ = nullptr;
  if (!pods_.empty() && !begin_.pending()) loop_.next_turn(begin_);
}

}  // namespace weft::proxy
