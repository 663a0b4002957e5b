// The connections that no proxy carries, of lists taken again and again: each is seen once, at whichever of
// its ends. Bounded; one thread at a time.
#pragma once

#include <cstddef>
#include <set>
#include <string>
#include <vector>

#include "agent/policy/policy_trial.h"
#include "proto/weft/admin/v1/admin.pb.h"

namespace weft::agent {

class KernelConnections {
 public:
  static constexpr size_t kMost = 100'000;

  // No more than `most` connections are told apart; those that come then are left out.
  explicit KernelConnections(size_t most = kMost) : most_(most) {}

  // Of a list as it is now, what was in none before.
  std::vector<SeenTraffic> take_new(const admin::v1::ConnectionList& list);

  // Some were not looked at: there were too many, or a list had not all of them.
  bool left_out() const { return left_out_; }

 private:
  // False: it is known, or there is no room.
  bool remember(const admin::v1::Connection& one);

  const size_t most_;
  std::set<std::string> known_;
  bool left_out_ = false;
};

}  // namespace weft::agent
