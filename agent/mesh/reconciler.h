// The agent's one decision thread: it owns the model, the ids and the pods, takes changes from the control
// plane, requests from the operator and news of the proxy from one queue, and brings kernel and proxy in
// line. Nothing else writes to Dataplane.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "agent/cni/message.h"
#include "agent/feed/gateway_feed.h"
#include "agent/mesh/ejection.h"
#include "agent/mesh/id_registry.h"
#include "agent/mesh/kernel_plan.h"
#include "agent/mesh/model.h"
#include "agent/pods/pod_sandboxes.h"
#include "agent/pods/pod_table.h"
#include "agent/policy/enforcement.h"
#include "base/fd.h"

namespace weft::agent {

class Reconciler {
 public:
  struct Options {
    // enrollments.json of the run directory.
    std::string store_path;
    // Whose endpoints count as near.
    std::string node_name;
    // How long an enrolment waits for the proxy's answer.
    std::chrono::milliseconds proxy_deadline{5000};
    // The node's ports for clients outside the mesh.
    GatewayFeed::Options gateways = {};
    // Namespaces of pods are found by their cgroups; annotations that name them do not count.
    bool pods_by_cgroup = false;
    // How long a CNI plugin waits for a pod that is not known or not captured yet, before it is refused;
    // shorter than the plugin's own patience.
    std::chrono::milliseconds admission_deadline{8000};
  };
  struct Parts {
    Dataplane& dataplane;
    ProxyFeed& feed;
    // Folds a change into the resources that the proxy is served.
    std::function<void(const control_plane::Change&)> publish;
    NetnsProbe probe;
    // Tells the sandbox watch which pods are wanted; may be absent.
    std::function<void(std::set<std::string>)> look_for = {};
  };
  // What readers see; valid inside read() only.
  struct View {
    const MeshModel& model;
    const PodTable& pods;
    const IdRegistry& ids;
    const KernelPlanner& planner;
    const PodStarts& pod_starts;
    const std::vector<control_plane::Finding>& findings;
    // Ports of gateways that could not be opened, and why.
    const std::map<uint16_t, std::string>& closed_ports;
    uint64_t generation = 0;
    // When the last change was applied; nullopt before the first.
    std::optional<std::chrono::steady_clock::time_point> applied_at;
    // What went wrong in the kernel at the last try; empty: nothing.
    std::string kernel_problem;
  };
  struct Enrolled {
    uint64_t netns_cookie = 0;
    std::vector<std::string> steps;
  };

  Reconciler(Options options, Parts parts);
  ~Reconciler();
  // Reads the stored enrolments and starts the thread.
  absl::Status start();
  // Finishes what is queued, then ends; the kernel state stays as it is.
  void stop();

  // Any thread. Each returns at once.
  void apply(control_plane::Change change);
  void proxy_ready(uint64_t connection, uint32_t pid, ProxyAbilities abilities,
                   std::vector<HeldNamespace> held);
  void proxy_gone();
  void beat();
  // Returns when it is done: pods that run already have been found as far as they can be, so that what an
  // earlier agent captured besides is nobody's.
  void sandboxes_known();
  void sandbox_found(const std::string& kubelet_uid, const absl::StatusOr<Sandbox>& sandbox);

  // What the runtime asks for a pod that starts or ends (agent/cni/message.h); any thread. The reply comes on
  // the reconciler's, once.
  void admit(CniRequest request, std::function<void(CniAnswer)> reply);

  // Any thread but the reconciler's and the feed's; they wait for the outcome.
  absl::StatusOr<Enrolled> enroll(const std::string& workload, const std::string& netns_path, bool dry_run);
  absl::StatusOr<std::vector<std::string>> unenroll(const std::string& workload, bool dry_run);

  // Runs `f` with the current state on the reconciler's thread and returns its result; nullopt when stopped.
  template <typename F>
  std::optional<std::invoke_result_t<F, const View&>> read(F f) {
    using Result = std::invoke_result_t<F, const View&>;
    const auto promise = std::make_shared<std::promise<Result>>();
    std::future<Result> future = promise->get_future();
    if (!post([this, promise, f] { promise->set_value(f(view())); })) return std::nullopt;
    return future.get();
  }

 private:
  // A pod whose start waits for us.
  struct Admission {
    CniRequest request;
    std::function<void(CniAnswer)> reply;
    MonotonicNs deadline = 0;
    // What it waits for until `key` is the pod's and `identity` its namespace's.
    std::string reason;
    std::string key = {};
    NetnsIdentity identity = {};
  };

  bool post(std::function<void()> task);
  void run();
  View view() const;
  void apply_now(control_plane::Change change);
  // Ids follow the model and the pods; what is nobody's any more.
  std::vector<uint32_t> refresh_mesh_ids(const Touched& touched);
  std::vector<uint32_t> refresh_pod_ids();
  void forget(const std::vector<uint32_t>& ids);
  void write_kernel(const KernelChange& change);
  void enforce_policies();
  bool is_slow_one(const FailingBackend& failing) const;
  void eject(const FailingBackend& failing);
  void set_share(uint32_t service, const SocketAddress& backend, uint32_t percent);
  void watch_backends();
  bool concerns_policy(const control_plane::Change& change, const Touched& touched) const;
  void forget_unknown_flows();
  void locate_pods();
  void begin_admissions();
  std::optional<CniAnswer> begin(Admission& admission);
  CniAnswer check_pod(const CniRequest& request) const;
  void release_sandbox(const CniRequest& request);
  const control_plane::LocalPod* local_pod(const CniRequest& request) const;
  // Answers those that are captured, or have waited for too long.
  void settle_admissions();
  MonotonicNs next_admission() const;
  void reconcile_pods();
  void watch_proxy(uint32_t pid);
  void forget_dead_proxies();
  void save();
  std::string uid_of(const std::string& ns, const std::string& name) const;
  absl::StatusOr<Enrolled> enroll_now(const std::string& ns, const std::string& name,
                                      const std::string& netns_path, bool dry_run);
  absl::StatusOr<std::vector<std::string>> unenroll_now(const std::string& workload, bool dry_run);

  Options options_;
  Parts parts_;
  EnrollmentStore store_;
  SystemClock clock_;

  // The reconciler's thread only, after start().
  MeshModel model_;
  IdRegistry ids_;
  KernelPlanner planner_;
  Ejection ejection_;
  GatewayFeed gateways_;
  PodSandboxes sandboxes_;
  PodTable pods_;
  Enforcement enforcement_;
  // What was captured when policies were enforced last; they are again when it differs.
  std::vector<CapturedNamespace> enforced_for_;
  bool policy_changed_ = true;
  std::string policy_problem_;
  // Uids of pods that have an id because they are wanted, whether the mesh knows them or not.
  std::set<std::string> pod_uids_;
  // pid and pidfd of every proxy that introduced itself and has not ended; the newest is last.
  std::vector<std::pair<uint32_t, UniqueFd>> proxies_;
  StoredPods stored_;
  std::vector<CapturedNamespace> leftovers_;
  bool sandboxes_known_ = false;
  std::vector<Admission> admissions_;
  std::vector<control_plane::Finding> findings_;
  uint64_t generation_ = 0;
  std::optional<std::chrono::steady_clock::time_point> applied_at_;
  std::string kernel_problem_;

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> queue_;
  bool stopping_ = false;
  std::thread thread_;
  // Waits for reports of failing backends and posts them.
  std::atomic<bool> watching_ = true;
  std::thread watcher_;
};

// "shop/web" or "web" (namespace default); kInvalidArgument with what was expected.
absl::StatusOr<std::pair<std::string, std::string>> parse_workload_name(const std::string& text);

}  // namespace weft::agent
