// m_svc, m_pick and m_backend as a difference writer: services come in as they should be, only what changed
// reaches the kernel, and a reader in the kernel sees the old table or the new one. Dataplane thread only,
// but for the counts.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/status/status.h"
#include "agent/dataplane/dataplane.h"
#include "agent/dataplane/row_pool.h"
#include "base/packed_map.h"
#include "bpf/abi/constants.h"
#include "bpf/abi/service.h"
#include "bpf/user/batch.h"
#include "bpf/user/map.h"

namespace weft::agent {

class ServiceTable {
 public:
  // Starts from what the maps hold, so that picks go on while an agent is replaced and clients keep the
  // backends that they are bound to.
  ServiceTable(int svc_fd, int pick_fd, int backend_fd, int health_fd);

  // `full`: services that are not named go. An error names the first service that could not be written; its
  // old table, if it had one, stays in force, and the others are written all the same.
  absl::Status apply(const std::vector<ServiceEntry>& services, const std::vector<ServiceKey>& gone,
                     bool full);

  size_t count() const { return count_.load(std::memory_order_relaxed); }
  size_t backends() const { return backends_used_.load(std::memory_order_relaxed); }
  size_t picks() const { return picks_used_.load(std::memory_order_relaxed); }
  // How long connects to the service's backends take; see Dataplane::connect_latencies.
  std::vector<BackendLatency> latencies(uint32_t service) const;
  // Failures and latency of this backend so far are forgotten.
  void forgive(uint32_t service, const SocketAddress& address);
  // What is wanted, what was written, and the rows of m_svc, m_backend and m_pick.
  DriftRow drift(const std::vector<ServiceEntry>& wanted) const;

 private:
  struct Backend {
    SocketAddress address;
    uint32_t id = 0;
    uint32_t weight = 0;
    uint32_t index = 0;
    uint32_t generation = 0;
  };
  struct Table {
    weft_svc row{};
    absl::InlinedVector<Backend, 1> backends;
  };
  // One service on its way into the kernel.
  struct Pending {
    ServiceKey key;
    Table table;
    std::vector<Backend> gone;
  };

  void adopt();
  // Takes the rows of services that nobody names any more out of the kernel.
  void remove_unnamed(const std::vector<ServiceEntry>& services, MonotonicNs now);
  bool holds(const ServiceKey& key) const { return passes_.contains(key) || known_.contains(key); }
  bool is_current(const ServiceEntry& entry) const;
  Table read_table(const weft_svc& row);
  bool same(const Table& table, const ServiceEntry& entry) const;
  absl::StatusOr<Pending> prepare(const ServiceEntry& entry, MonotonicNs now);
  absl::Status place_backends(const ServiceEntry& entry, const Table* before, Pending& pending,
                              MonotonicNs now);
  absl::Status place_picks(Pending& pending, MonotonicNs now);
  static weft_backend backend_row(const Backend& backend);
  void write_backend(const Backend& backend);
  void retire(const Backend& backend, MonotonicNs now);
  void abandon(Pending& pending, MonotonicNs now);
  void commit(Pending& pending, MonotonicNs now);
  void remove(const ServiceKey& key, MonotonicNs now);
  absl::Status write(std::vector<Pending>& pending, MonotonicNs now);
  void publish_counts();
  void audit_row(const ServiceKey& key, const weft_svc& row, DriftRow* out) const;
  void audit_table(const ServiceKey& key, const Table& table, DriftRow* out) const;

  bpf::Map<weft_svc_key, weft_svc> svc_;
  bpf::Map<uint32_t, weft_pick> pick_;
  bpf::Map<uint32_t, weft_backend> backend_;
  bpf::Map<uint32_t, weft_health> health_;
  bpf::Batch<weft_svc_key, weft_svc> svc_batch_;
  bpf::Batch<uint32_t, weft_pick> pick_batch_;
  bpf::Batch<uint32_t, weft_backend> backend_batch_;
  PackedMap<ServiceKey, Table> known_;
  // Those that are dialled as they are have no table, only the service's id. There is one for each endpoint.
  PackedMap<ServiceKey, uint32_t> passes_;
  RowPool picks_{WEFT_MAX_PICKS};
  RowPool backends_{WEFT_MAX_BACKENDS};
  uint32_t next_tag_ = 1;
  uint32_t next_generation_ = 1;
  std::atomic<size_t> count_ = 0;
  std::atomic<size_t> backends_used_ = 0;
  std::atomic<size_t> picks_used_ = 0;
};

}  // namespace weft::agent
