// xxHash64 with seed 0 (https://github.com/Cyan4973/xxHash, doc/xxhash_spec.md): the hash of consistent
// hashing, because every node has to come to the same endpoint. Pure; not for secrets.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace weft::proxy {

class XxHash64 {
 public:
  static uint64_t of(std::string_view text) {
    const char* at = text.data();
    const char* const end = at + text.size();
    uint64_t hash = text.size() >= kStripe ? stripes(&at, end) : kPrime5;
    hash += text.size();
    for (; end - at >= 8; at += 8) {
      hash ^= round(0, read<uint64_t>(at));
      hash = std::rotl(hash, 27) * kPrime1 + kPrime4;
    }
    if (end - at >= 4) {
      hash ^= uint64_t{read<uint32_t>(at)} * kPrime1;
      hash = std::rotl(hash, 23) * kPrime2 + kPrime3;
      at += 4;
    }
    for (; at < end; ++at) {
      hash ^= uint64_t{static_cast<uint8_t>(*at)} * kPrime5;
      hash = std::rotl(hash, 11) * kPrime1;
    }
    return avalanche(hash);
  }

 private:
  static constexpr size_t kStripe = 32;
  static constexpr uint64_t kPrime1 = 0x9e3779b185ebca87;
  static constexpr uint64_t kPrime2 = 0xc2b2ae3d27d4eb4f;
  static constexpr uint64_t kPrime3 = 0x165667b19e3779f9;
  static constexpr uint64_t kPrime4 = 0x85ebca77c2b2ae63;
  static constexpr uint64_t kPrime5 = 0x27d4eb2f165667c5;

  // Little endian, as every machine is that we run on.
  template <typename T>
  static T read(const char* at) {
    T out;
    std::memcpy(&out, at, sizeof(out));
    return out;
  }
  static uint64_t round(uint64_t sum, uint64_t input) {
    return std::rotl(sum + input * kPrime2, 31) * kPrime1;
  }
  static uint64_t stripes(const char** at, const char* end) {
    uint64_t sums[4] = {kPrime1 + kPrime2, kPrime2, 0, 0 - kPrime1};
    for (; end - *at >= static_cast<ptrdiff_t>(kStripe); *at += kStripe) {
      for (size_t i = 0; i < 4; ++i) sums[i] = round(sums[i], read<uint64_t>(*at + 8 * i));
    }
    uint64_t hash =
        std::rotl(sums[0], 1) + std::rotl(sums[1], 7) + std::rotl(sums[2], 12) + std::rotl(sums[3], 18);
    for (const uint64_t sum : sums) hash = (hash ^ round(0, sum)) * kPrime1 + kPrime4;
    return hash;
  }
  static uint64_t avalanche(uint64_t hash) {
    hash = (hash ^ (hash >> 33)) * kPrime2;
    hash = (hash ^ (hash >> 29)) * kPrime3;
    return hash ^ (hash >> 32);
  }
};

}  // namespace weft::proxy
