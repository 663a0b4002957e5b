// The kernel half of the node: BPF programs, maps, pins, and what capture needs inside a pod's network
// namespace. The agent calls it from its reconciler thread only; reads of counters are safe from any thread.
// Nothing above this header knows libbpf.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/dataplane/connection.h"
#include "agent/dataplane/drift.h"
#include "agent/dataplane/map_text.h"
#include "agent/dataplane/policy_table.h"
#include "agent/dataplane/rival.h"
#include "base/address.h"
#include "base/fd.h"
#include "bpf/abi/capture.h"
#include "bpf/abi/flow.h"
#include "bpf/abi/stats.h"

namespace weft::agent {

struct CidrExclusion {
  IpAddress ip;
  uint32_t prefix_length = 0;  // of the address family as written: 8 for 10.0.0.0/8
};

struct NamespacePlan {
  std::string netns_path;
  uint32_t workload_id = 0;
  // When the proxy does not answer: true refuses connections that need it, false lets them pass and counts.
  bool fail_closed = false;
  // Other nodes open HBONE tunnels to it: it gets listeners for them besides, at the end of the list.
  bool tunnels = false;
  // Its application speaks HBONE itself: what comes to that port is not touched.
  bool native_tunnel = false;
  // The proxy judges plain connections to it: it gets listeners for those, too.
  bool inspected = false;
  // Its connections to the proxy of this node, and the proxy's to it, may go past TCP (bpf/shortcut.bpf.c).
  bool shortcut = false;
  std::vector<uint16_t> exclude_ports;
  std::vector<CidrExclusion> exclude_cidrs;
};

// An enrolled namespace: what is handed to the proxy. `listeners` is empty when the listeners live only in a
// running proxy (after an agent restart); Dataplane::adopt_listeners completes it. They are duplicates: the
// dataplane keeps its own until the namespace is unenrolled, and gives new duplicates to every enroll() of
// it.
struct EnrolledNamespace {
  uint64_t netns_cookie = 0;
  uint32_t slot = 0;
  UniqueFd netns;
  std::vector<UniqueFd> listeners;
  // What was done, one sentence each, for `weft enroll`.
  std::vector<std::string> steps;
};

// What inspect() found in an enrolled namespace.
struct NamespaceHealth {
  // Which address family is not captured now and why; empty: all of them are.
  std::string missing;
  // What was found broken and has been put right, one sentence each.
  std::vector<std::string> repaired;
};

struct DestinationEntry {
  SocketAddress address;  // port 0: the workload that owns the address, the source of inbound flows
  uint32_t id = 0;
};

// What an application dials: IPPROTO_TCP or IPPROTO_UDP at an address.
struct ServiceKey {
  SocketAddress address;
  uint8_t protocol = 6;

  auto operator<=>(const ServiceKey&) const = default;
  template <typename H>
  friend H AbslHashValue(H h, const ServiceKey& key) {
    return H::combine(std::move(h), key.address, key.protocol);
  }
};

struct BackendEntry {
  SocketAddress address;
  uint32_t id = 0;      // of its workload
  uint32_t weight = 0;  // relative; 0: no new connections
};

struct ServiceEntry {
  enum class Path : uint8_t {
    kProxy,   // the proxy takes it; the backends are for workloads that may bypass a dead one
    kDirect,  // the kernel picks a backend
    kPass,    // the address is an endpoint itself and is dialled as it is
  };
  ServiceKey key;
  uint32_t id = 0;
  Path path = Path::kProxy;
  bool tunnelled = false;         // of kProxy: no client goes past a dead proxy, in plain
  uint32_t affinity_seconds = 0;  // 0: every connection is balanced anew
  uint32_t eject_after = 0;       // failed connects in a row that are reported; 0: never
  std::vector<BackendEntry> backends;
};

// Differences, so that a change costs what it changes.
struct KernelChange {
  std::vector<DestinationEntry> destinations;
  std::vector<SocketAddress> gone_destinations;
  std::vector<ServiceEntry> services;
  std::vector<ServiceKey> gone_services;
  // The entries are all there are: whatever else the maps hold goes.
  bool full = false;
};

// Who may connect to an enrolled namespace.
struct InboundPolicy {
  // Nothing but the node's own probes: the rules are unknown or do not fit the kernel.
  bool deny_all = false;
  // Connections go to the plaintext listener, because some rule needs more than L4.
  bool inspect = false;
  std::optional<PolicyTable> rules;  // absent: nothing is forbidden
};

// An open connection as the policy sees it.
struct InboundConnection {
  SocketAddress local;
  SocketAddress remote;
  uint32_t source_workload = 0;  // as recorded when it was accepted; 0: unknown
};

// A backend of a direct service that refused or ignored many connects in a row, or has been slow to accept
// them for long.
struct FailingBackend {
  uint32_t service = 0;
  SocketAddress address;
  uint32_t failures = 0;    // in a row; 0: it is slow
  uint32_t latency_us = 0;  // of its connects when it is slow
};

// How long connects to a backend take, smoothed.
struct BackendLatency {
  SocketAddress address;
  uint32_t latency_us = 0;
};

struct BypassRow {
  uint32_t workload_id = 0;
  bool inbound = false;
  uint64_t bypassed = 0;
  uint64_t refused = 0;
};

struct FlowRow {
  weft_flow_key key{};
  weft_flow total{};  // summed over CPUs
};

struct ProgramStatus {
  std::string name;
  std::string hook;    // "cgroup/connect4"
  std::string target;  // cgroup path or namespace
  bool attached = false;
  std::string problem;  // what is not as it was left; empty: nothing
};

// Counted by the kernel while kernel.bpf_stats_enabled is 1.
struct ProgramRuns {
  std::string name;
  uint64_t runs = 0;
  uint64_t run_ns = 0;
};

struct MapStatus {
  std::string name;
  uint64_t entries = 0;
  uint64_t capacity = 0;
};

struct NamedNetns {
  std::string name;  // "shop/web"
  std::string path;
};

// An enrolled namespace as it should be.
struct PlannedNamespace {
  std::string name;  // "shop/web"
  uint64_t netns_cookie = 0;
  NamespacePlan plan;
  InboundPolicy policy;
};

// All that the kernel should hold.
struct PlannedKernel {
  KernelChange entries;
  std::vector<PlannedNamespace> namespaces;
};

class Dataplane {
 public:
  struct Options {
    std::string pin_root = "/sys/fs/bpf/weft";
    // The cgroup whose processes are captured; empty: the cgroup2 root, wherever it is mounted.
    std::string cgroup;
    // Capture listeners per namespace, one SO_REUSEPORT group; at least the number of proxy workers.
    uint32_t listeners_per_namespace = 1;
    // Pods that ask for it may have the shortcut: whoever runs the node trusts them then (docs/shortcut.md).
    bool shortcut = false;
    // Whether the kernel can do it; why not, if not. Empty: it is tried. Tests say it.
    std::function<std::string()> try_shortcut = {};
  };

  // Probes the kernel, loads the programs (or adopts pinned maps and links and replaces the programs),
  // attaches, pins. Errors name the missing feature and the next command.
  static absl::StatusOr<std::unique_ptr<Dataplane>> open(const Options& options);
  // Leaves everything attached and pinned: traffic goes on without the agent.
  virtual ~Dataplane() = default;

  // Route, rule, listeners, sk_lookup link, map rows; idempotent for a namespace that is already enrolled.
  virtual absl::StatusOr<EnrolledNamespace> enroll(const NamespacePlan& plan) = 0;
  // New connections are left alone from now on; those that are captured go on, because everything they need
  // stays until unenroll(). enroll() undoes it.
  virtual absl::Status stop_capture(uint64_t netns_cookie) = 0;
  // Captured connections that are still open there. NotFound: the path no longer leads to the namespace.
  virtual absl::StatusOr<uint64_t> captured_connections(uint64_t netns_cookie,
                                                        const std::string& netns_path) = 0;
  // Puts right what somebody else took away since (rules flushed, an address changed or became usable, the
  // lookup program detached). Called every few seconds for each enrolled namespace.
  virtual absl::StatusOr<NamespaceHealth> inspect(uint64_t netns_cookie, const std::string& netns_path) = 0;
  // Takes all of enroll() out again; fine when the namespace itself is already gone.
  virtual absl::Status unenroll(uint64_t netns_cookie, const std::string& netns_path) = 0;
  // Listener descriptors that a running proxy handed back become the namespace's: captured connections go to
  // them from now on, whoever held the one that they went to before.
  virtual absl::Status adopt_listeners(uint64_t netns_cookie, std::vector<UniqueFd> listeners) = 0;
  // True when the namespace's slot holds a live listener (the proxy or we have it).
  virtual bool has_listener(uint64_t netns_cookie) const = 0;

  // Effective for new connections when it returns. A part that cannot be written leaves its former rows in
  // force; the error names the first.
  virtual absl::Status apply(const KernelChange& change) = 0;
  // Replaces the policy of an enrolled namespace in one step. When it cannot be written the namespace denies
  // everything, and the error says so: a full map never means yes.
  virtual absl::Status set_policy(uint64_t netns_cookie, const InboundPolicy& policy) = 0;
  // Closes (RST to both ends) the established inbound connections that `forbidden` names; how many.
  virtual absl::StatusOr<uint64_t> close_connections(
      uint64_t netns_cookie, const std::string& netns_path,
      const std::function<bool(const InboundConnection&)>& forbidden) = 0;
  // Every open TCP connection of an enrolled namespace, in no order. Any thread. NotFound: the path no longer
  // leads to the namespace.
  virtual absl::Status open_connections(uint64_t netns_cookie, const std::string& netns_path,
                                        const std::function<void(const OpenConnection&)>& visit) const = 0;
  // Whose address this is: the id that connections to it are measured under, the port's before the
  // workload's; 0: nobody's. Any thread.
  virtual uint32_t owner(const SocketAddress& address) const = 0;
  virtual std::vector<BypassRow> bypasses() const = 0;

  // Any one thread: waits at most so long for reports, then returns them; empty when there was none.
  virtual std::vector<FailingBackend> wait_failing(std::chrono::milliseconds timeout) = 0;
  // Of the direct service's backends that were connected to since they were forgiven; one row for each port
  // of a backend. Dataplane thread.
  virtual std::vector<BackendLatency> connect_latencies(uint32_t service) const = 0;
  // The backend starts anew: its failures and latency so far are forgotten. Dataplane thread.
  virtual void forgive(uint32_t service, const SocketAddress& backend) = 0;

  // A duplicate of the map that a proxy maps and writes its beat to; invalid when there is none.
  virtual UniqueFd heartbeat() const = 0;
  // From now on a proxy that does not beat counts as down, after the usual time.
  virtual absl::Status watch_proxy() = 0;

  // The kernel leaves this process's sockets alone from now on, and beat_proxy() means it. Former proxies,
  // which may still drain, stay known until forget_proxy().
  virtual absl::Status set_proxy(uint32_t tgid) = 0;
  virtual void forget_proxy(uint32_t tgid) = 0;
  virtual absl::Status beat_proxy() = 0;

  virtual absl::StatusOr<std::vector<FlowRow>> flows() const = 0;
  // Indexed by enum weft_stat.
  virtual std::vector<uint64_t> stats() const = 0;
  virtual std::vector<ProgramStatus> programs() const = 0;
  virtual std::vector<ProgramRuns> program_runs() const = 0;
  // Programs of others on the hooks of the captured cgroup and those above it, and in these enrolled
  // namespaces. Any thread.
  virtual std::vector<Rival> rivals(const std::vector<NamedNetns>& namespaces) const = 0;
  virtual std::vector<MapStatus> maps() const = 0;
  // Why no connection takes the shortcut, whatever plans ask for; empty: those may that ask. Any thread.
  virtual std::string shortcut_problem() const = 0;
  // The first `limit` rows of a map in words, all of them counted. Any thread. NotFound names the maps.
  virtual absl::StatusOr<MapText> dump_map(const std::string& name, size_t limit) const = 0;
  // How what is wanted, what was written and what the kernel holds differ: namespaces (rows, listeners, rules
  // and routes inside them), policies, services, destinations, programs. Reads every row, so for an
  // operator's question only. Dataplane thread.
  virtual std::vector<DriftRow> drift(const PlannedKernel& wanted) const = 0;
  // Removes the rows of an id that is no longer used (source or destination), and those that connections
  // still open make again, until enroll() or apply() names the id.
  virtual void forget(uint32_t id) = 0;
};

// The cgroup2 mount point (unified or hybrid), from /proc/self/mountinfo.
absl::StatusOr<std::string> find_cgroup2_root();

// Removes every trace of Weft from this node: links, pins, and in each namespace the pins know (and this one)
// rules and routes marked as ours. Idempotent; needs no running agent. Returns what was removed, one sentence
// each.
absl::StatusOr<std::vector<std::string>> cleanup(const std::string& pin_root,
                                                 const std::vector<std::string>& netns_paths);

// Kernel checks of `weft check --pre`: one per K-id, by trying (loading and attaching in a scratch place).
struct KernelCheck {
  std::string id;  // "K-02"
  std::string description;
  enum class Result { kSuccess, kWarning, kError } result = Result::kSuccess;
  std::string error;
  std::string hint;
};
std::vector<KernelCheck> check_kernel(const Dataplane::Options& options);
// K-07: programs of others on the hooks of this cgroup and those above it, one check for each; those pinned
// below the pin root are ours.
std::vector<KernelCheck> check_rivals(const Dataplane::Options& options);
// K-08, of the PID namespace that the caller is in; an agent may be in another one.
KernelCheck check_process_ids();

}  // namespace weft::agent
