// See row_pool.h. Called by the service table.
#include "agent/dataplane/row_pool.h"

#include <bit>

namespace weft::agent {

RowPool::RowPool(uint32_t rows) : free_(order_of(rows) + 1) { free_.back().insert(0); }

uint32_t RowPool::order_of(uint32_t rows) {
  return static_cast<uint32_t>(std::bit_width(std::bit_ceil(rows == 0 ? 1u : rows)) - 1);
}

void RowPool::put_back(uint32_t base, uint32_t order) {
  used_ -= 1u << order;
  // Two halves become one block again.
  while (order + 1 < free_.size() && free_[order].erase(base ^ (1u << order)) == 1) {
    base &= ~(1u << order);
    ++order;
  }
  free_[order].insert(base);
}

std::optional<uint32_t> RowPool::allocate(uint32_t rows, MonotonicNs now) {
  while (!resting_.empty() && resting_.front().until <= now) {
    put_back(resting_.front().base, resting_.front().order);
    resting_.pop_front();
  }
  const uint32_t order = order_of(rows);
  uint32_t from = order;
  while (from < free_.size() && free_[from].empty()) ++from;
  if (from >= free_.size()) return std::nullopt;
  const uint32_t base = *free_[from].begin();
  free_[from].erase(free_[from].begin());
  while (from > order) {
    --from;
    free_[from].insert(base + (1u << from));
  }
  used_ += 1u << order;
  return base;
}

void RowPool::release(uint32_t base, uint32_t rows, MonotonicNs now) {
  resting_.push_back({.base = base, .order = order_of(rows), .until = now + kRest});
}

bool RowPool::reserve(uint32_t base, uint32_t rows) {
  const uint32_t order = order_of(rows);
  if (base % (1u << order) != 0) return false;
  for (uint32_t from = order; from < free_.size(); ++from) {
    const uint32_t start = base & ~((1u << from) - 1);
    if (free_[from].erase(start) == 0) continue;
    for (uint32_t half = from; half > order;) {
      --half;
      // The half that `base` is not in stays free.
      free_[half].insert((base & ~((1u << half) - 1)) ^ (1u << half));
    }
    used_ += 1u << order;
    return true;
  }
  return false;
}

}  // namespace weft::agent
