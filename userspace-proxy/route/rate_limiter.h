// RateLimiter: the token buckets of one rate limit. All workers of the process take of the same buckets, so
// that the rate is the node's; a take is a few atomic operations, no lock, no allocation. LimiterTable keeps
// them over changes of configuration that leave their settings as they are.
#pragma once

#include <atomic>
#include <compare>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace weft::proxy {

class RateLimiter {
 public:
  enum class By : uint8_t { kAll, kSource, kHeader };
  struct Settings {
    uint32_t requests = 1;  // in each period
    uint32_t period_ms = 1000;
    uint32_t burst = 1;
    By by = By::kAll;
    std::string header;  // lower case
    uint32_t max_keys = 1;
    bool response_headers = false;
    auto operator<=>(const Settings&) const = default;
  };
  // What settings keep to, so that no sum of times overflows: tokens a second, tokens at once, keys.
  static constexpr uint64_t kMaxPerSecond = 1'000'000;
  static constexpr uint32_t kMaxBurst = 1'000'000;
  static constexpr uint32_t kMaxKeys = 1'000'000;

  struct Answer {
    bool allowed = true;
    uint32_t limit = 0;      // tokens that a full bucket has
    uint32_t remaining = 0;  // of them, after this
    uint64_t wait_ns = 0;    // refused: until there is one
    uint64_t full_ns = 0;    // until the bucket is full
    std::atomic<uint64_t>* bucket = nullptr;
  };

  // Without `used` there is one bucket, whatever the settings say.
  explicit RateLimiter(Settings settings, bool used = true);
  const Settings& settings() const { return settings_; }

  // Any thread. One token of the bucket of `key`; `now` is monotonic and may lag between threads. Keys matter
  // only where there is one bucket for each.
  Answer take(std::string_view key, uint64_t now);
  // Any thread. The token of an answer that allowed, when it is not used after all; within the same turn.
  void give_back(const Answer& answer) { answer.bucket->fetch_sub(interval_, std::memory_order_relaxed); }

  // Keys that went for others although their buckets were not full: they begin anew with a full one.
  static uint64_t evicted() { return evicted_.load(std::memory_order_relaxed); }

 private:
  // One bucket: when it would be full again if nobody took more (the "theoretical arrival time" of GCRA).
  struct Bucket {
    std::atomic<uint64_t> key{kFree};
    std::atomic<uint64_t> full_at{0};
  };
  // A key may be in the buckets of its set only, so that a look is short.
  static constexpr uint32_t kWays = 8;
  static constexpr uint64_t kFree = 0, kTaking = 1, kFirstKey = 2;

  Bucket* bucket_of(uint64_t key, uint64_t now);
  static bool claim(Bucket& bucket, uint64_t held, uint64_t key, uint64_t now);

  const Settings settings_;
  const uint64_t interval_;  // ns between two tokens
  const uint64_t depth_;     // ns that a full bucket stands for
  const uint32_t sets_;
  const std::unique_ptr<Bucket[]> buckets_;
  static std::atomic<uint64_t> evicted_;
};

// Finds the limiters in use by name and settings: whoever names the same limit takes of the same buckets, be
// it another route, the same route on another port or its next version. Keeps none alive. One thread.
class LimiterTable {
 public:
  // Not used: limiters that only say what their settings are, and take no memory for keys.
  explicit LimiterTable(bool used = true) : used_(used) {}
  std::shared_ptr<RateLimiter> get(const std::string& name, const RateLimiter::Settings& settings);
  size_t size() const { return rows_.size(); }

 private:
  static constexpr size_t kFirstSweep = 64;

  const bool used_;
  std::map<std::pair<std::string, RateLimiter::Settings>, std::weak_ptr<RateLimiter>> rows_;
  size_t sweep_at_ = kFirstSweep;
};

}  // namespace weft::proxy
