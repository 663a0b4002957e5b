// See canary_judge.h.
#include "tools/weft/canary_judge.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "base/strings.h"

namespace weft::cli {
namespace {

constexpr std::array<uint64_t, WEFT_HISTOGRAM_BUCKETS - 1> kBounds = {
#define X(us) us,
    WEFT_HISTOGRAM_BOUNDS_US(X)
#undef X
};

}  // namespace

uint64_t Tally::p99_us() const {
  uint64_t total = 0;
  for (const uint64_t count : buckets) total += count;
  const double rank = 0.99 * static_cast<double>(total);
  uint64_t below = 0;
  for (size_t i = 0; i < kBounds.size(); ++i) {
    if (buckets[i] > 0 && static_cast<double>(below + buckets[i]) >= rank) {
      const double low = i == 0 ? 0 : static_cast<double>(kBounds[i - 1]);
      const double part = (rank - static_cast<double>(below)) / static_cast<double>(buckets[i]);
      return static_cast<uint64_t>(std::lround(low + part * (static_cast<double>(kBounds[i]) - low)));
    }
    below += buckets[i];
  }
  return total == 0 ? 0 : kBounds.back();
}

Tally tally_of(const admin::v1::RequestCounts& counts, const std::set<std::string>& names) {
  Tally out;
  for (const auto& row : counts.rows()) {
    if (!names.contains(row.workload())) continue;
    out.requests += row.requests();
    out.errors += row.errors();
    const size_t size =
        std::min<size_t>(out.buckets.size(), static_cast<size_t>(row.duration_buckets_size()));
    for (size_t i = 0; i < size; ++i) out.buckets[i] += row.duration_buckets(static_cast<int>(i));
  }
  return out;
}

Tally since(const Tally& now, const Tally& before) {
  const auto less = [](uint64_t a, uint64_t b) { return a > b ? a - b : 0; };
  Tally out{.requests = less(now.requests, before.requests), .errors = less(now.errors, before.errors)};
  for (size_t i = 0; i < out.buckets.size(); ++i) out.buckets[i] = less(now.buckets[i], before.buckets[i]);
  return out;
}

uint64_t longest_us() { return kBounds.back(); }

std::string broken_bound(const Tally& tally, const Tally& lost, const Bounds& bounds) {
  const auto allowed = [&](uint64_t requests) {
    return bounds.max_error_rate * static_cast<double>(std::max(requests, bounds.min_requests));
  };
  if (tally.errors > 0 && static_cast<double>(tally.errors) > allowed(tally.requests))
    return str_cat(tally.errors, " of ", tally.requests, " requests failed (", rate_text(tally.error_rate()),
                   "), at most ", rate_text(bounds.max_error_rate), " may");
  if (lost.errors > 0 && static_cast<double>(lost.errors) > allowed(tally.requests + lost.requests))
    return str_cat(lost.errors, lost.errors == 1 ? " request" : " requests", " reached no endpoint");
  if (bounds.max_p99_us > 0 && tally.requests >= bounds.min_requests && tally.p99_us() > bounds.max_p99_us)
    return str_cat("p99 is ", duration_text(tally.p99_us()), ", at most ", duration_text(bounds.max_p99_us));
  return "";
}

std::string duration_text(uint64_t us) {
  char text[32];
  if (us >= 1'000'000) {
    std::snprintf(text, sizeof(text), "%.4g s", static_cast<double>(us) / 1e6);
  } else {
    std::snprintf(text, sizeof(text), "%.4g ms", static_cast<double>(us) / 1e3);
  }
  return text;
}

std::string rate_text(double rate) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.4g%%", rate * 100);
  return text;
}

}  // namespace weft::cli
