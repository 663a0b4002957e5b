// Per-CPU maps to totals. Called by metrics and admin threads; the only writes are the overflow rows and
// forgetting.
#include "agent/dataplane/measurements.h"

#include <cerrno>
#include <set>
#include <tuple>

#include "agent/dataplane/flow_sum.h"
#include "base/status_macros.h"

namespace weft::agent {
namespace {

// A walk that is disturbed by removals starts over: twice the table is plenty, and it ends.
constexpr size_t kMaxKeys = 2 * WEFT_MAX_FLOWS;
// Few connections outlive their workload; whose id makes room for another may leave a row until the next
// start.
constexpr size_t kMaxForgotten = 65536;

}  // namespace

absl::Status Measurements::make_overflow_rows() const {
  const int cpus = libbpf_num_possible_cpus();
  if (cpus <= 0) return absl::InternalError("cannot read the number of possible CPUs");
  const std::vector<weft_flow> zero(static_cast<size_t>(cpus));
  for (const uint32_t direction : {WEFT_DIRECTION_OUTBOUND, WEFT_DIRECTION_INBOUND, WEFT_DIRECTION_PROXY}) {
    const weft_flow_key key{
        .source = WEFT_ID_OVERFLOW, .destination = WEFT_ID_OVERFLOW, .direction = direction};
    if (bpf_map_update_elem(flows_.fd(), &key, zero.data(), BPF_NOEXIST) != 0 && errno != EEXIST) {
      return bpf::map_error("m_flow", errno);
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<FlowRow>> Measurements::flows() const {
  std::vector<FlowRow> rows;
  std::set<std::tuple<uint32_t, uint32_t, uint32_t>> seen;
  for (const weft_flow_key& key : flows_.keys(kMaxKeys)) {
    if (!seen.emplace(key.source, key.destination, key.direction).second) continue;
    if (is_forgotten(key)) {
      flows_.erase(key);
      continue;
    }
    const std::vector<weft_flow> values = bpf::per_cpu_values<weft_flow_key, weft_flow>(flows_.fd(), key);
    if (values.empty()) continue;  // forgotten meanwhile
    FlowRow& row = rows.emplace_back(FlowRow{.key = key});
    for (const weft_flow& value : values) add_flow(&row.total, value);
  }
  return rows;
}

std::vector<uint64_t> Measurements::stats() const {
  std::vector<uint64_t> totals(WEFT_STAT_COUNT);
  for (uint32_t i = 0; i < WEFT_STAT_COUNT; ++i) {
    for (const uint64_t value : bpf::per_cpu_values<uint32_t, uint64_t>(stats_fd_, i)) totals[i] += value;
  }
  return totals;
}

void Measurements::forget(uint32_t id) {
  if (id == WEFT_ID_OVERFLOW || id == WEFT_ID_UNKNOWN) return;
  {
    const std::lock_guard lock(mutex_);
    if (forgotten_.size() >= kMaxForgotten) forgotten_.erase(forgotten_.begin());
    forgotten_.insert(id);
  }
  for (const weft_flow_key& key : flows_.keys(kMaxKeys)) {
    if (key.source == id || key.destination == id) flows_.erase(key);
  }
}

void Measurements::remember(const std::vector<uint32_t>& ids) {
  const std::lock_guard lock(mutex_);
  for (const uint32_t id : ids) forgotten_.erase(id);
}

bool Measurements::is_forgotten(const weft_flow_key& key) const {
  const std::lock_guard lock(mutex_);
  return forgotten_.contains(key.source) || forgotten_.contains(key.destination);
}

size_t Measurements::flow_count() const { return flows_.keys(kMaxKeys).size(); }

}  // namespace weft::agent
