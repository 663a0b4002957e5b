// A small fast generator for balancing (splitmix64); one per worker, seeded once. Not for secrets.
#pragma once

#include <cstdint>

namespace weft::proxy {

class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}

  uint64_t next() {
    state_ += 0x9e3779b97f4a7c15ull;
    uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
  }
  // Uniform in [0, bound); bound > 0. Multiplication instead of remainder: no division, bias below 2^-32.
  uint32_t below(uint32_t bound) { return static_cast<uint32_t>(((next() >> 32) * bound) >> 32); }
  // True for so many of a million draws.
  bool chance(uint32_t per_million) {
    constexpr uint32_t kMillion = 1'000'000;
    return per_million > 0 && (per_million >= kMillion || below(kMillion) < per_million);
  }

 private:
  uint64_t state_;
};

}  // namespace weft::proxy
