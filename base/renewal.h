// When a certificate is asked for again, whoever asks: the proxy for pods, the agent for its node. Pure.
#pragma once

#include <algorithm>

#include "absl/time/time.h"

namespace weft {

// About half of its life after it began, a tenth of that earlier or later, so that the certificates of a
// node, which were made together, are not renewed together. `random` is of [0, 1).
inline absl::Time renewal_time(absl::Time from, absl::Time to, double random) {
  return from + (to - from) / 2 * (0.9 + 0.2 * random);
}

// After so many failures in a row (at least one): 1 s, doubled each time up to 150 s, a fifth more or less;
// but not past `expires` as long as that is still to come.
inline absl::Time retry_time(absl::Time now, int failures, absl::Time expires, double random) {
  const absl::Duration wait =
      std::min(absl::Seconds(1 << std::clamp(failures - 1, 0, 8)), absl::Seconds(150)) * (0.8 + 0.4 * random);
  const absl::Time then = now + wait;
  return expires > now ? std::min(then, std::max(expires, now + absl::Seconds(1))) : then;
}

}  // namespace weft
