// The Dataplane on a real kernel: owns the programs, the namespace rows and our copies of the listeners. Made
// by Dataplane::open; see dataplane.h for who may call what. Never parses configuration and never decides who
// is enrolled.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "agent/dataplane/dataplane.h"
#include "agent/dataplane/destinations.h"
#include "agent/dataplane/exclusions.h"
#include "agent/dataplane/failing_reports.h"
#include "agent/dataplane/inbound.h"
#include "agent/dataplane/listener.h"
#include "agent/dataplane/map_dump.h"
#include "agent/dataplane/measurements.h"
#include "agent/dataplane/service_table.h"
#include "agent/dataplane/socket_record.h"
#include "bpf/abi/constants.h"
#include "bpf/user/map.h"
#include "bpf/user/programs.h"

namespace weft::agent {

class KernelDataplane final : public Dataplane {
 public:
  KernelDataplane(const Options& options, std::string cgroup, std::unique_ptr<bpf::Programs> programs);

  // Attaches to the cgroup and takes over the namespaces that a former agent left enrolled, all or nothing:
  // after an error the programs that were in force before still are.
  absl::Status start();

  absl::StatusOr<EnrolledNamespace> enroll(const NamespacePlan& plan) override;
  absl::Status stop_capture(uint64_t netns_cookie) override;
  absl::StatusOr<uint64_t> captured_connections(uint64_t netns_cookie,
                                                const std::string& netns_path) override;
  absl::StatusOr<NamespaceHealth> inspect(uint64_t netns_cookie, const std::string& netns_path) override;
  absl::Status unenroll(uint64_t netns_cookie, const std::string& netns_path) override;
  absl::Status adopt_listeners(uint64_t netns_cookie, std::vector<UniqueFd> listeners) override;
  bool has_listener(uint64_t netns_cookie) const override;
  absl::Status apply(const KernelChange& change) override;
  absl::Status set_policy(uint64_t netns_cookie, const InboundPolicy& policy) override;
  absl::StatusOr<uint64_t> close_connections(
      uint64_t netns_cookie, const std::string& netns_path,
      const std::function<bool(const InboundConnection&)>& forbidden) override;
  absl::Status open_connections(uint64_t netns_cookie, const std::string& netns_path,
                                const std::function<void(const OpenConnection&)>& visit) const override;
  uint32_t owner(const SocketAddress& address) const override { return destinations_.owner(address); }
  std::vector<BypassRow> bypasses() const override { return inbound_.bypasses(); }
  std::vector<FailingBackend> wait_failing(std::chrono::milliseconds timeout) override {
    return failing_.wait(timeout);
  }
  std::vector<BackendLatency> connect_latencies(uint32_t service) const override {
    return services_.latencies(service);
  }
  void forgive(uint32_t service, const SocketAddress& backend) override {
    services_.forgive(service, backend);
  }
  UniqueFd heartbeat() const override;
  absl::Status watch_proxy() override;
  absl::Status set_proxy(uint32_t tgid) override;
  void forget_proxy(uint32_t tgid) override;
  absl::Status beat_proxy() override;
  absl::StatusOr<std::vector<FlowRow>> flows() const override { return measurements_.flows(); }
  std::vector<uint64_t> stats() const override { return measurements_.stats(); }
  std::vector<ProgramStatus> programs() const override;
  std::vector<ProgramRuns> program_runs() const override;
  std::vector<Rival> rivals(const std::vector<NamedNetns>& namespaces) const override;
  std::vector<MapStatus> maps() const override;
  std::string shortcut_problem() const override { return programs_->shortcut_problem(); }
  absl::StatusOr<MapText> dump_map(const std::string& name, size_t limit) const override {
    return weft::agent::dump_map(*programs_, name, limit);
  }
  std::vector<DriftRow> drift(const PlannedKernel& wanted) const override;
  void forget(uint32_t id) override {
    measurements_.forget(id);
    inbound_.forget(id);
  }

 private:
  // What one enrolment has done so far, newest last; undone in reverse unless it is kept.
  class Undo;

  std::optional<uint32_t> free_slot() const;
  bool slot_is_live(uint32_t slot) const;
  // True when the slot was empty and holds a listener of ours now.
  bool refill_slot(uint64_t cookie, uint32_t slot);
  absl::Status open_listeners(uint64_t cookie, uint32_t slot, int netns_fd, Undo& undo,
                              std::vector<std::string>& steps);
  absl::Status open_inbound(const NamespacePlan& plan, uint64_t cookie, uint32_t slot, int netns_fd,
                            std::vector<std::string>& steps);
  absl::Status open_inbound(const InboundListeners& group, uint64_t cookie, uint32_t slot, int netns_fd,
                            std::vector<std::string>& steps);
  absl::Status put_inbound(const InboundListeners& group, uint32_t slot,
                           const std::vector<UniqueFd>& listeners);
  absl::Status put_inbound(uint32_t slot, const std::vector<UniqueFd>& listeners);
  absl::Status write_rows(const NamespacePlan& plan, uint64_t cookie, uint32_t slot,
                          const std::optional<weft_netns>& before, Undo& undo);
  absl::StatusOr<std::vector<UniqueFd>> share_listeners(uint64_t cookie) const;
  // Capture off, then everything that hangs on the row, the namespace itself not needed.
  void drop_rows(uint64_t cookie, const weft_netns& row);
  absl::Status take_over();
  absl::Status refuse_blocked_hooks() const;
  DriftRow namespace_drift(const std::vector<PlannedNamespace>& wanted) const;
  std::vector<std::string> differences(const PlannedNamespace& wanted, const weft_netns& row) const;
  DriftRow policy_drift(const std::vector<PlannedNamespace>& wanted) const;
  DriftRow program_drift() const;
  absl::Status adopt_namespaces();
  void drop_dead_proxies();

  const Options options_;
  const std::string cgroup_;
  // programs() may be asked by an admin thread while the dataplane thread attaches.
  mutable std::mutex programs_mutex_;
  std::unique_ptr<bpf::Programs> programs_;
  bpf::Map<uint64_t, weft_netns> netns_;
  bpf::Map<uint32_t, uint64_t> slots_;
  bpf::Map<uint32_t, uint64_t> inbound_slots_;
  bpf::Map<uint32_t, weft_proxy> proxy_;
  uint32_t newest_proxy_ = 0;
  Exclusions exclusions_;
  Destinations destinations_;
  ServiceTable services_;
  Inbound inbound_;
  FailingReports failing_;
  SocketRecords records_;
  bpf::Map<uint32_t, weft_beat> beat_;
  Measurements measurements_;
  std::map<uint64_t, std::vector<UniqueFd>> listeners_;
  // Namespaces without a row whose open connections still need their slot: cookie -> slot.
  std::map<uint64_t, uint32_t> leaving_;
};

}  // namespace weft::agent
