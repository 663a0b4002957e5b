// A Dataplane without a kernel: remembers what it was told and hands out real descriptors (pipes), so that
// handover can be tested over real sockets. Used by the agent's unit tests from one thread at a time.
#pragma once

#include <sys/eventfd.h>

#include <condition_variable>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "agent/dataplane/dataplane.h"
#include "agent/feed/proxy_feed.h"

namespace weft::agent {

class FakeDataplane : public Dataplane {
 public:
  absl::StatusOr<EnrolledNamespace> enroll(const NamespacePlan& plan) override {
    const std::lock_guard lock(mutex);
    calls.push_back("enroll " + plan.netns_path);
    if (!fail_enroll.empty()) return absl::InternalError(fail_enroll);
    plans[plan.netns_path] = plan;
    EnrolledNamespace out;
    out.netns_cookie = cookies.contains(plan.netns_path) ? cookies[plan.netns_path] : 100 + plans.size();
    cookies[plan.netns_path] = out.netns_cookie;
    out.netns.reset(::eventfd(0, EFD_CLOEXEC));
    if (!held_by_proxy.contains(out.netns_cookie)) out.listeners.emplace_back(::eventfd(0, EFD_CLOEXEC));
    out.steps = {"captured " + plan.netns_path};
    enrolled.insert(out.netns_cookie);
    return out;
  }
  absl::Status stop_capture(uint64_t cookie) override {
    const std::lock_guard lock(mutex);
    calls.push_back("stop " + std::to_string(cookie));
    return absl::OkStatus();
  }
  absl::StatusOr<uint64_t> captured_connections(uint64_t cookie, const std::string&) override {
    return captured_counts.contains(cookie) ? captured_counts[cookie] : 0;
  }
  absl::StatusOr<NamespaceHealth> inspect(uint64_t, const std::string&) override { return health; }
  absl::Status unenroll(uint64_t cookie, const std::string& path) override {
    const std::lock_guard lock(mutex);
    calls.push_back("unenroll " + path);
    enrolled.erase(cookie);
    cookies.erase(path);
    return absl::OkStatus();
  }
  absl::Status adopt_listeners(uint64_t cookie, std::vector<UniqueFd> listeners) override {
    const std::lock_guard lock(mutex);
    calls.push_back("adopt " + std::to_string(cookie) + " x" + std::to_string(listeners.size()));
    return absl::OkStatus();
  }
  bool has_listener(uint64_t cookie) const override { return !without_listener.contains(cookie); }
  absl::Status apply(const KernelChange& change) override {
    const std::lock_guard lock(mutex);
    calls.push_back("destinations");
    kernel_changes.push_back(change);
    return absl::OkStatus();
  }
  absl::Status set_policy(uint64_t cookie, const InboundPolicy& policy) override {
    const std::lock_guard lock(mutex);
    policies[cookie] = policy;
    return absl::OkStatus();
  }
  absl::StatusOr<uint64_t> close_connections(
      uint64_t cookie, const std::string&,
      const std::function<bool(const InboundConnection&)>& forbidden) override {
    const std::lock_guard lock(mutex);
    uint64_t ended = 0;
    for (const InboundConnection& connection : inbound[cookie]) ended += forbidden(connection) ? 1 : 0;
    closed += ended;
    return ended;
  }
  absl::Status open_connections(uint64_t cookie, const std::string&,
                                const std::function<void(const OpenConnection&)>& visit) const override {
    const auto found = connections.find(cookie);
    if (found == connections.end()) return absl::OkStatus();
    for (const OpenConnection& connection : found->second) visit(connection);
    return absl::OkStatus();
  }
  uint32_t owner(const SocketAddress& address) const override {
    const auto found = owners.find(address);
    return found == owners.end() ? 0 : found->second;
  }
  std::vector<BypassRow> bypasses() const override { return bypass_rows; }
  std::vector<FailingBackend> wait_failing(std::chrono::milliseconds timeout) override {
    std::unique_lock lock(mutex);
    ++failing_waits;
    failing_came.notify_all();
    failing_came.wait_for(lock, timeout, [this] { return !failing.empty(); });
    return std::exchange(failing, {});
  }
  // Until reports that were there have been taken and the reader asks again.
  void wait_taken() {
    std::unique_lock lock(mutex);
    failing_came.wait(lock, [this] { return failing.empty(); });
    const uint64_t asked = failing_waits;
    failing_came.wait(lock, [this, asked] { return failing_waits > asked; });
  }
  std::vector<BackendLatency> connect_latencies(uint32_t) const override { return latencies; }
  void forgive(uint32_t, const SocketAddress& backend) override {
    const std::lock_guard lock(mutex);
    calls.push_back("forgive " + backend.to_string());
  }
  UniqueFd heartbeat() const override { return UniqueFd(); }
  absl::Status watch_proxy() override { return absl::OkStatus(); }
  absl::Status set_proxy(uint32_t tgid) override {
    const std::lock_guard lock(mutex);
    calls.push_back("set_proxy " + std::to_string(tgid));
    return absl::OkStatus();
  }
  void forget_proxy(uint32_t tgid) override {
    const std::lock_guard lock(mutex);
    calls.push_back("forget_proxy " + std::to_string(tgid));
  }
  absl::Status beat_proxy() override { return absl::OkStatus(); }
  absl::StatusOr<std::vector<FlowRow>> flows() const override { return flow_rows; }
  std::vector<uint64_t> stats() const override { return counters; }
  std::vector<ProgramStatus> programs() const override { return program_rows; }
  std::vector<ProgramRuns> program_runs() const override { return {}; }
  std::vector<Rival> rivals(const std::vector<NamedNetns>&) const override { return rival_rows; }
  std::vector<MapStatus> maps() const override { return map_rows; }
  absl::StatusOr<MapText> dump_map(const std::string& name, size_t) const override {
    if (name != map_text_name) return absl::NotFoundError("no map " + name + "; next: weft bpf maps");
    return map_text;
  }
  std::string shortcut_problem() const override { return no_shortcut; }
  std::vector<DriftRow> drift(const PlannedKernel&) const override { return drift_rows; }
  void forget(uint32_t id) override {
    const std::lock_guard lock(mutex);
    forgotten.push_back(id);
  }
  std::vector<std::string> seen() {
    const std::lock_guard lock(mutex);
    return calls;
  }

  std::mutex mutex;
  std::vector<std::string> calls;
  std::string fail_enroll;
  std::map<std::string, NamespacePlan> plans;
  std::map<std::string, uint64_t> cookies;
  std::set<uint64_t> enrolled;
  std::map<uint64_t, uint64_t> captured_counts;
  std::map<uint64_t, InboundPolicy> policies;
  std::map<uint64_t, std::vector<InboundConnection>> inbound;
  uint64_t closed = 0;  // of inbound, so far
  std::map<uint64_t, std::vector<OpenConnection>> connections;
  std::map<SocketAddress, uint32_t> owners;
  std::vector<BypassRow> bypass_rows;
  std::vector<FailingBackend> failing;
  std::vector<BackendLatency> latencies;
  std::condition_variable failing_came;
  uint64_t failing_waits = 0;
  NamespaceHealth health;
  std::set<uint64_t> held_by_proxy;     // enroll returns no listeners for these
  std::set<uint64_t> without_listener;  // has_listener is false for these
  std::vector<KernelChange> kernel_changes;
  std::vector<FlowRow> flow_rows;
  std::vector<uint64_t> counters = std::vector<uint64_t>(WEFT_STAT_COUNT, 0);
  std::vector<ProgramStatus> program_rows{{"mesh_connect4", "cgroup/connect4", "/cg", true}};
  std::vector<Rival> rival_rows;
  std::vector<MapStatus> map_rows{{"m_flow", 10, 100}};
  std::string no_shortcut = "not in a test";
  std::string map_text_name = "m_dest";
  MapText map_text;
  std::vector<DriftRow> drift_rows;
  std::vector<uint32_t> forgotten;
};

// A feed that accepts everything at once.
class FakeFeed : public ProxyFeed {
 public:
  void snapshot(uint64_t, std::vector<Announcement> add, std::vector<uint64_t> keep) override {
    for (const Announcement& a : add) log.push_back(said(a));
    for (const uint64_t cookie : keep) log.push_back("keep " + std::to_string(cookie));
    log.push_back("end");
  }
  void add(Announcement announcement, Done done) override {
    log.push_back(said(announcement));
    done(absl::OkStatus());
  }
  void remove(uint64_t cookie, Done done) override {
    log.push_back("remove " + std::to_string(cookie));
    done(absl::OkStatus());
  }
  absl::Status wait_served(uint64_t, std::chrono::milliseconds) override { return served; }

  std::vector<std::string> log;
  absl::Status served = absl::OkStatus();

 private:
  static std::string said(const Announcement& a) {
    return "add " + a.workload_uid + (a.confined ? " confined" : "");
  }
};

}  // namespace weft::agent
