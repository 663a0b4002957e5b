// RateLimiter and LimiterTable of rate_limiter.h: GCRA on one atomic number for each bucket.
#include "userspace-proxy/route/rate_limiter.h"

#include <algorithm>
#include <utility>

#include "absl/hash/hash.h"
#include "base/strings.h"

namespace weft::proxy {
namespace {

constexpr uint64_t kNsPerMs = 1'000'000;

}  // namespace

std::atomic<uint64_t> RateLimiter::evicted_{0};

RateLimiter::RateLimiter(Settings settings, bool used)
    : settings_(std::move(settings)),
      interval_(std::max<uint64_t>(settings_.period_ms * kNsPerMs / settings_.requests, 1)),
      depth_(interval_ * settings_.burst),
      sets_(settings_.by == By::kAll || !used ? 1 : (std::max(settings_.max_keys, 1u) + kWays - 1) / kWays),
      buckets_(std::make_unique<Bucket[]>(size_t{sets_} * (settings_.by == By::kAll ? 1 : kWays))) {}

RateLimiter::Answer RateLimiter::take(std::string_view key, uint64_t now) {
  Bucket* bucket = buckets_.get();
  if (settings_.by != By::kAll)
    bucket = bucket_of(std::max<uint64_t>(absl::HashOf(to_absl(key)), kFirstKey), now);
  Answer out{.limit = settings_.burst, .bucket = &bucket->full_at};
  uint64_t full_at = bucket->full_at.load(std::memory_order_relaxed);
  for (;;) {
    const uint64_t next = std::max(full_at, now) + interval_;
    out.allowed = next <= now + depth_;
    out.wait_ns = out.allowed ? 0 : next - now - depth_;
    out.full_ns = (out.allowed ? next : std::max(full_at, now)) - now;
    out.remaining = out.allowed ? static_cast<uint32_t>((depth_ - out.full_ns) / interval_) : 0;
    if (!out.allowed) return out;
    if (bucket->full_at.compare_exchange_weak(full_at, next, std::memory_order_relaxed)) return out;
  }
}

// The bucket becomes the key's, and is full. False: another thread was faster.
bool RateLimiter::claim(Bucket& bucket, uint64_t held, uint64_t key, uint64_t now) {
  if (!bucket.key.compare_exchange_strong(held, kTaking, std::memory_order_acquire)) return false;
  bucket.full_at.store(now, std::memory_order_relaxed);
  bucket.key.store(key, std::memory_order_release);
  return true;
}

// A full bucket is as good as none, so whoever has one gives it up first and loses nothing.
RateLimiter::Bucket* RateLimiter::bucket_of(uint64_t key, uint64_t now) {
  Bucket* const set = &buckets_[(key % sets_) * kWays];
  for (;;) {
    Bucket* fullest = nullptr;
    uint64_t fullest_key = kTaking, fullest_at = ~uint64_t{0};
    for (Bucket* bucket = set; bucket != set + kWays; ++bucket) {
      const uint64_t held = bucket->key.load(std::memory_order_acquire);
      if (held == key) return bucket;
      const uint64_t full_at = held == kFree ? 0 : bucket->full_at.load(std::memory_order_relaxed);
      if (held == kTaking || full_at >= fullest_at) continue;
      fullest = bucket;
      fullest_key = held;
      fullest_at = full_at;
    }
    if (fullest == nullptr || !claim(*fullest, fullest_key, key, now)) continue;
    if (fullest_at > now) evicted_.fetch_add(1, std::memory_order_relaxed);
    // Another thread may have made room for the same key meanwhile: one of the two buckets goes again.
    for (Bucket* bucket = set; bucket != fullest; ++bucket) {
      if (bucket->key.load(std::memory_order_acquire) != key) continue;
      fullest->key.store(kFree, std::memory_order_release);
      return bucket;
    }
    return fullest;
  }
}

// Rows whose limiter is gone go when they may be half of all, so that a look-up pays for one of them at most.
std::shared_ptr<RateLimiter> LimiterTable::get(const std::string& name,
                                               const RateLimiter::Settings& settings) {
  if (rows_.size() >= sweep_at_) {
    std::erase_if(rows_, [](const auto& row) { return row.second.expired(); });
    sweep_at_ = std::max(kFirstSweep, 2 * rows_.size());
  }
  std::weak_ptr<RateLimiter>& row = rows_[{name, settings}];
  std::shared_ptr<RateLimiter> out = row.lock();
  if (out == nullptr) row = out = std::make_shared<RateLimiter>(settings, used_);
  return out;
}

}  // namespace weft::proxy
