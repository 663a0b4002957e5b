// Order of one change: backends, then the rows of the new table, then the service's row, which is the swap;
// only then are the old rows given back, and they rest before they are written again. See service_table.h.
#include "agent/dataplane/service_table.h"

#include <algorithm>
#include <cstring>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "agent/dataplane/alias_table.h"
#include "agent/dataplane/service_rows.h"
#include "base/status_macros.h"

namespace weft::agent {
namespace {

uint32_t flags_of(const ServiceEntry& entry) {
  uint32_t flags = 0;
  if (entry.path == ServiceEntry::Path::kDirect) flags |= WEFT_SVC_DIRECT;
  if (entry.path == ServiceEntry::Path::kPass) flags |= WEFT_SVC_PASS;
  if (entry.tunnelled) flags |= WEFT_SVC_TUNNEL;
  if (entry.affinity_seconds != 0) flags |= WEFT_SVC_AFFINITY;
  return flags;
}

// So many services are prepared and written at a time: enough for the batches to pay, few enough that a whole
// mesh needs no second copy of itself.
constexpr size_t kSlice = 4096;

absl::Status full_error(const ServiceKey& key, const char* map, uint32_t capacity) {
  return absl::ResourceExhaustedError(str_cat("service ", key.address.to_string(), ": map ", map,
                                              " is full (", capacity,
                                              " rows): its former backends stay in force; "
                                              "take services out of the mesh"));
}

}  // namespace

ServiceTable::ServiceTable(int svc_fd, int pick_fd, int backend_fd, int health_fd)
    : svc_(svc_fd, "m_svc"),
      pick_(pick_fd, "m_pick"),
      backend_(backend_fd, "m_backend"),
      health_(health_fd, "m_health") {
  adopt();
}

bool ServiceTable::same(const Table& table, const ServiceEntry& entry) const {
  if (table.row.id != entry.id || table.row.flags != flags_of(entry) ||
      table.row.affinity_s != entry.affinity_seconds || table.row.eject_after != entry.eject_after) {
    return false;
  }
  return std::equal(table.backends.begin(), table.backends.end(), entry.backends.begin(),
                    entry.backends.end(), [](const Backend& a, const BackendEntry& b) {
                      return a.address == b.address && a.id == b.id && a.weight == b.weight;
                    });
}

bool ServiceTable::is_current(const ServiceEntry& entry) const {
  if (is_pass(entry)) {
    const uint32_t* pass = passes_.find(entry.key);
    return pass != nullptr && *pass == entry.id;
  }
  const Table* known = known_.find(entry.key);
  return known != nullptr && same(*known, entry);
}

weft_backend ServiceTable::backend_row(const Backend& backend) {
  weft_backend row{.ip = {},
                   .port = backend.address.port,
                   .id = backend.id,
                   .generation = backend.generation,
                   .flags = backend.weight != 0 ? WEFT_BACKEND_USABLE : 0};
  std::memcpy(row.ip, backend.address.ip.bytes.data(), sizeof(row.ip));
  return row;
}

void ServiceTable::write_backend(const Backend& backend) {
  backend_batch_.put(backend.index, backend_row(backend));
}

absl::Status ServiceTable::place_backends(const ServiceEntry& entry, const Table* before, Pending& pending,
                                          MonotonicNs now) {
  absl::flat_hash_map<SocketAddress, const Backend*> had;
  if (before != nullptr) {
    for (const Backend& backend : before->backends) had.emplace(backend.address, &backend);
  }
  for (const BackendEntry& wanted : entry.backends) {
    Backend backend{.address = wanted.address, .id = wanted.id, .weight = wanted.weight};
    const auto known = had.find(wanted.address);
    if (known != had.end()) {
      backend.index = known->second->index;
      backend.generation = known->second->generation;
      const bool usable = known->second->weight != 0;
      if (known->second->id != backend.id || usable != (backend.weight != 0)) write_backend(backend);
      had.erase(known);
    } else {
      const auto index = backends_.allocate(1, now);
      if (!index) return full_error(entry.key, "m_backend", WEFT_MAX_BACKENDS);
      backend.index = *index;
      backend.generation = next_generation_++;
      write_backend(backend);
    }
    pending.table.backends.push_back(backend);
  }
  for (const auto& [address, backend] : had) pending.gone.push_back(*backend);
  return absl::OkStatus();
}

absl::Status ServiceTable::place_picks(Pending& pending, MonotonicNs now) {
  std::vector<WeightedChoice> choices;
  choices.reserve(pending.table.backends.size());
  for (const Backend& backend : pending.table.backends)
    choices.push_back({.value = backend.index, .weight = backend.weight});
  const std::vector<AliasRow> rows = build_alias_table(choices);
  weft_svc& svc = pending.table.row;
  svc.tag = next_tag_++;
  svc.count = static_cast<uint32_t>(rows.size());
  if (rows.empty()) return absl::OkStatus();
  const auto base = picks_.allocate(svc.count, now);
  if (!base) {
    svc.count = 0;
    return full_error(pending.key, "m_pick", WEFT_MAX_PICKS);
  }
  svc.base = *base;
  for (uint32_t i = 0; i < svc.count; ++i) {
    pick_batch_.put(
        svc.base + i,
        {.tag = svc.tag, .threshold = rows[i].threshold, .self = rows[i].self, .alias = rows[i].alias});
  }
  return absl::OkStatus();
}

absl::StatusOr<ServiceTable::Pending> ServiceTable::prepare(const ServiceEntry& entry, MonotonicNs now) {
  const Table* known = known_.find(entry.key);
  Pending pending{.key = entry.key};
  if (is_pass(entry)) {
    pending.table.row = pass_row(entry.key, entry.id);
    if (known != nullptr) pending.gone.assign(known->backends.begin(), known->backends.end());
    return pending;
  }
  const weft_svc_key key = to_key(entry.key);
  pending.table.row = {.id = entry.id,
                       .flags = flags_of(entry),
                       .base = 0,
                       .count = 0,
                       .tag = 0,
                       .affinity_s = entry.affinity_seconds,
                       .eject_after = entry.eject_after,
                       .check = weft_svc_check(&key)};
  absl::Status status = place_backends(entry, known, pending, now);
  if (status.ok()) status = place_picks(pending, now);
  if (status.ok()) return pending;
  abandon(pending, now);
  return status;
}

// No new connection takes it, and who remembers it looks for another.
void ServiceTable::retire(const Backend& backend, MonotonicNs now) {
  Backend unusable = backend;
  unusable.weight = 0;
  write_backend(unusable);
  backends_.release(backend.index, 1, now);
}

// The old table stays: only what is new in this one goes back.
void ServiceTable::abandon(Pending& pending, MonotonicNs now) {
  const Table* known = known_.find(pending.key);
  for (const Backend& backend : pending.table.backends) {
    const bool had =
        known != nullptr && std::any_of(known->backends.begin(), known->backends.end(),
                                        [&](const Backend& b) { return b.index == backend.index; });
    if (!had) retire(backend, now);
  }
  if (pending.table.row.count != 0) picks_.release(pending.table.row.base, pending.table.row.count, now);
}

void ServiceTable::commit(Pending& pending, MonotonicNs now) {
  const Table* known = known_.find(pending.key);
  if (known != nullptr && known->row.count != 0) picks_.release(known->row.base, known->row.count, now);
  for (const Backend& backend : pending.gone) retire(backend, now);
  if (is_pass(pending.table.row)) {
    known_.erase(pending.key);
    passes_.put(pending.key, pending.table.row.id);
  } else {
    passes_.erase(pending.key);
    known_.put(pending.key, std::move(pending.table));
  }
}

void ServiceTable::remove(const ServiceKey& key, MonotonicNs now) {
  const Table* known = known_.find(key);
  if (passes_.erase(key) || known != nullptr) svc_.erase(to_key(key));
  if (known == nullptr) return;
  if (known->row.count != 0) picks_.release(known->row.base, known->row.count, now);
  for (const Backend& backend : known->backends) retire(backend, now);
  known_.erase(key);
}

absl::Status ServiceTable::write(std::vector<Pending>& pending, MonotonicNs now) {
  // Arrays refuse nothing but an index beyond their end.
  RETURN_IF_ERROR(backend_batch_.write(backend_, [](size_t) {}));
  RETURN_IF_ERROR(pick_batch_.write(pick_, [](size_t) {}));
  for (const Pending& one : pending) svc_batch_.put(to_key(one.key), one.table.row);
  std::vector<bool> refused(pending.size());
  const absl::Status status = svc_batch_.write(svc_, [&refused](size_t i) { refused[i] = true; });
  for (size_t i = 0; i < pending.size(); ++i) {
    if (refused[i])
      abandon(pending[i], now);
    else
      commit(pending[i], now);
  }
  // Backends that went.
  RETURN_IF_ERROR(backend_batch_.write(backend_, [](size_t) {}));
  return status;
}

void ServiceTable::remove_unnamed(const std::vector<ServiceEntry>& services, MonotonicNs now) {
  if (known_.empty() && passes_.empty()) return;
  absl::flat_hash_set<ServiceKey> named;
  for (const ServiceEntry& entry : services) named.insert(entry.key);
  std::vector<ServiceKey> unnamed;
  for (const auto& [key, table] : known_) {
    if (!named.contains(key)) unnamed.push_back(key);
  }
  for (const auto& [key, id] : passes_) {
    if (!named.contains(key)) unnamed.push_back(key);
  }
  for (const ServiceKey& key : unnamed) remove(key, now);
}

absl::Status ServiceTable::apply(const std::vector<ServiceEntry>& services,
                                 const std::vector<ServiceKey>& gone, bool full) {
  const MonotonicNs now = SystemClock().now();
  // Removals first: a full map makes room before it is asked for more.
  for (const ServiceKey& key : gone) remove(key, now);
  if (full) remove_unnamed(services, now);
  absl::Status first;
  std::vector<Pending> pending;
  const auto write_pending = [&] {
    absl::Status written = write(pending, now);
    if (first.ok()) first = std::move(written);
    pending.clear();
  };
  for (const ServiceEntry& entry : services) {
    if (is_current(entry)) continue;
    absl::StatusOr<Pending> prepared = prepare(entry, now);
    if (prepared.ok())
      pending.push_back(*std::move(prepared));
    else if (first.ok())
      first = prepared.status();
    if (pending.size() == kSlice) write_pending();
  }
  write_pending();
  publish_counts();
  return first;
}

void ServiceTable::publish_counts() {
  count_ = known_.size() + passes_.size();
  backends_used_ = backends_.used();
  picks_used_ = picks_.used();
}

void ServiceTable::forgive(uint32_t service, const SocketAddress& address) {
  for (const auto& [key, table] : known_) {
    if (table.row.id != service) continue;
    for (const Backend& backend : table.backends) {
      if (backend.address != address) continue;
      // An array refuses no index below its size.
      weft_health anew{};
      anew.generation = backend.generation;
      health_.put(backend.index, anew).IgnoreError();
    }
  }
}

std::vector<BackendLatency> ServiceTable::latencies(uint32_t service) const {
  std::vector<BackendLatency> out;
  for (const auto& [key, table] : known_) {
    if (table.row.id != service) continue;
    for (const Backend& backend : table.backends) {
      const auto health = health_.find(backend.index);
      if (health && health->generation == backend.generation && health->latency_us != 0)
        out.push_back({.address = backend.address, .latency_us = health->latency_us});
    }
  }
  return out;
}

}  // namespace weft::agent
