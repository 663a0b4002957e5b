// How a worker waits for its next work. To be woken costs more than most requests do: an interrupt to another
// CPU, and the way out of idleness there, paid by whoever sends and by whoever is woken. So
//   a worker with one exchange at a time looks for the answer for a moment before it sleeps (kLook), as long
//   as answers come within that moment; its client and server then need not wake it;
//   a busy worker sleeps until some more has come (kGather), at most a moment: its turns are many, its queue
//   is never empty, and larger turns are cheaper;
//   all others sleep until anything comes (kSleep).
// Pure bookkeeping of one worker, no clock.
#pragma once

#include <array>
#include <cstdint>

namespace weft::proxy {

// Exchanges under way, as a loop is told; it knows nothing of them itself.
inline constexpr uint64_t kUnknownInFlight = ~uint64_t{0};

class WaitPolicy {
 public:
  enum class Kind : uint8_t { kSleep, kLook, kGather };
  struct Wait {
    Kind kind = Kind::kSleep;
    uint32_t completions = 1;  // of kGather: how many end the wait early
  };

  // The longest look, and the longest a gathering wait keeps its first completion.
  static constexpr uint32_t kLookUs = 40;
  static constexpr uint32_t kGatherUs = 50;

  // Before each wait that may sleep.
  Wait next(uint64_t in_flight);
  // After a wait of kind kLook: whether something came while it looked.
  void looked(bool found);
  // After each wait: how much came.
  void came(uint32_t completions);

 private:
  // Turns with one exchange at most, until a worker counts as one that has one at a time.
  static constexpr uint32_t kAloneTurns = 32;
  // A look that found nothing is not repeated for so many waits of its kind, twice as many each time.
  static constexpr uint32_t kMinRest = 2, kMaxRest = 1024;
  static constexpr uint64_t kMinInFlightToGather = 8;
  static constexpr uint32_t kMaxGathered = 32;
  // Completions per turn, in 1/64: from where on a turn is one of many, and below which gathering ends.
  static constexpr uint32_t kUnit = 64;
  static constexpr uint32_t kBeginGathering = 2 * kUnit, kEndGathering = 5 * kUnit;

  // Answers of servers and next requests of clients take different times.
  struct Look {
    uint32_t rest = 0;
    uint32_t next_rest = kMinRest;
  };

  std::array<Look, 2> looks_;  // for the next request; for the answer
  uint32_t alone_turns_ = 0;
  uint32_t per_turn_ = 0;  // average of about the last 16 turns, in 1/kUnit
  bool gathering_ = false;
  uint8_t awaited_ = 0;  // of looks_, by the look that is under way
};

}  // namespace weft::proxy
