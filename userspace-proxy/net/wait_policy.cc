// The choice of wait_policy.h.
#include "userspace-proxy/net/wait_policy.h"

#include <algorithm>

namespace weft::proxy {

WaitPolicy::Wait WaitPolicy::next(uint64_t in_flight) {
  alone_turns_ = in_flight <= 1 ? std::min(alone_turns_ + 1, kAloneTurns) : 0;
  if (alone_turns_ == kAloneTurns) {
    gathering_ = false;
    Look& look = looks_[in_flight];
    if (look.rest > 0) {
      --look.rest;
      return {};
    }
    awaited_ = static_cast<uint8_t>(in_flight);
    return Wait{.kind = Kind::kLook};
  }
  if (!gathering_ || in_flight == kUnknownInFlight || in_flight < kMinInFlightToGather) return {};
  const auto completions = static_cast<uint32_t>(std::min<uint64_t>(in_flight, kMaxGathered));
  return Wait{.kind = Kind::kGather, .completions = completions};
}

void WaitPolicy::looked(bool found) {
  Look& look = looks_[awaited_];
  if (found) {
    look.next_rest = kMinRest;
    return;
  }
  look.rest = look.next_rest;
  look.next_rest = std::min(look.next_rest * 2, kMaxRest);
}

void WaitPolicy::came(uint32_t completions) {
  constexpr uint32_t kTurns = 16;
  // Rounded up, so that it reaches what it averages.
  per_turn_ = (per_turn_ * (kTurns - 1) + completions * kUnit + kTurns - 1) / kTurns;
  if (!gathering_ && per_turn_ >= kBeginGathering) {
    gathering_ = true;
    // As if its turns were as large as they are to be, so that they have time to become so.
    per_turn_ = 2 * kEndGathering;
  } else if (gathering_ && per_turn_ < kEndGathering) {
    gathering_ = false;
    per_turn_ = 0;
  }
}

}  // namespace weft::proxy
