// The decision loop; see reconciler.h. Called by Agent (life), ControlPlane (changes), HandoverServer and the
// admin service.
#include "agent/mesh/reconciler.h"

#include <malloc.h>

#include <algorithm>
#include <cctype>

#include "base/log.h"
#include "base/status_macros.h"
#include "bpf/abi/constants.h"

namespace weft::agent {

namespace {

// A change of so many is worth a walk through the heap afterwards.
constexpr size_t kManyResources = 10000;

// Their sets are named after the port; a VirtualService of a namespace of that name says nothing of one.
std::set<uint16_t> gateway_ports(const MeshModel& model) {
  constexpr char kPrefix[] = "gateway/";
  std::set<uint16_t> out;
  for (auto it = model.routes().lower_bound(kPrefix); it != model.routes().end(); ++it) {
    if (!it->first.starts_with(kPrefix)) break;
    if (it->second.has_gateway()) out.insert(static_cast<uint16_t>(it->second.gateway().port()));
  }
  return out;
}

}  // namespace

absl::StatusOr<std::pair<std::string, std::string>> parse_workload_name(const std::string& text) {
  const auto is_name = [](const std::string& part) {
    return !part.empty() && part.size() <= 253 && std::all_of(part.begin(), part.end(), [](unsigned char c) {
      return std::isalnum(c) != 0 || c == '-' || c == '.' || c == '_';
    });
  };
  const size_t slash = text.find('/');
  const std::string ns = slash == std::string::npos ? "default" : text.substr(0, slash);
  const std::string name = slash == std::string::npos ? text : text.substr(slash + 1);
  if (is_name(ns) && is_name(name)) return std::make_pair(ns, name);
  return absl::InvalidArgumentError(
      str_cat("'", text, "' is not a workload; expected NAMESPACE/NAME; next: weft get workloads"));
}

Reconciler::Reconciler(Options options, Parts parts)
    : options_(std::move(options)),
      parts_(std::move(parts)),
      store_(options_.store_path),
      planner_(options_.node_name),
      gateways_(parts_.feed, options_.gateways),
      sandboxes_(options_.pods_by_cgroup, parts_.probe, boottime_now()),
      pods_(parts_.dataplane, gateways_, parts_.probe,
            PodTable::Callbacks{
                [this](const std::string& uid) { return ids_.find(Subject::Kind::kWorkload, uid); },
                [this](const std::string& ns, const std::string& name) { return uid_of(ns, name); },
                [this](const std::string& uid) { return sandboxes_.why_unknown(uid); }}),
      enforcement_(parts_.dataplane) {}

Reconciler::~Reconciler() { stop(); }

absl::Status Reconciler::start() {
  ASSIGN_OR_RETURN(stored_, store_.load());
  leftovers_ = stored_.captured;
  pods_.set_enrollments(stored_.enrollments);
  thread_ = std::thread([this] { run(); });
  watcher_ = std::thread([this] { watch_backends(); });
  return absl::OkStatus();
}

void Reconciler::stop() {
  watching_ = false;
  if (watcher_.joinable()) watcher_.join();
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

bool Reconciler::post(std::function<void()> task) {
  {
    const std::lock_guard lock(mutex_);
    if (stopping_) return false;
    queue_.push_back(std::move(task));
  }
  wake_.notify_all();
  return true;
}

void Reconciler::run() {
  while (true) {
    std::function<void()> task;
    {
      std::unique_lock lock(mutex_);
      const auto has_news = [this] { return stopping_ || !queue_.empty(); };
      // Before the first change nobody knows which pods are wanted: no timer yet.
      if (applied_at_.has_value()) {
        const MonotonicNs now = clock_.now();
        const MonotonicNs next =
            std::min({pods_.next_deadline(now), std::max(ejection_.next(UINT64_MAX), now),
                      std::max(gateways_.next_retry(), now), std::max(next_admission(), now)});
        wake_.wait_for(lock, std::chrono::nanoseconds(next - now), has_news);
      } else {
        wake_.wait(lock, has_news);
      }
      if (queue_.empty() && stopping_) return;
      if (!queue_.empty()) {
        task = std::move(queue_.front());
        queue_.pop_front();
      }
    }
    if (task)
      task();
    else
      reconcile_pods();
    gateways_.retry(clock_.now());
  }
}

Reconciler::View Reconciler::view() const {
  return View{model_,
              pods_,
              ids_,
              planner_,
              sandboxes_.starts(),
              findings_,
              gateways_.failed(),
              generation_,
              applied_at_,
              kernel_problem_.empty() ? policy_problem_ : kernel_problem_};
}

void Reconciler::apply(control_plane::Change change) {
  // Shared because a task is copyable; the first change of a large mesh is large.
  post([this, change = std::make_shared<control_plane::Change>(std::move(change))] {
    const size_t resources = change->upserted.size() + change->removed.size();
    apply_now(std::move(*change));
    // What it took to plan a whole mesh is free again, scattered over the heap between what stays: glibc
    // gives such pages back only when it is told to.
    if (resources >= kManyResources) ::malloc_trim(0);
  });
}

// Policies and rules about tokens themselves, and the identities and addresses of the pods of this node.
bool Reconciler::concerns_policy(const control_plane::Change& change, const Touched& touched) const {
  const auto is_policy = [](std::string_view type_url) {
    return type_url == control_plane::kAuthorizationType || type_url == control_plane::kAuthenticationType;
  };
  for (const control_plane::Resource& resource : change.upserted) {
    if (is_policy(resource.type_url())) return true;
  }
  for (const auto& [type_url, name] : change.removed) {
    if (is_policy(type_url)) return true;
  }
  return std::any_of(pod_uids_.begin(), pod_uids_.end(),
                     [&touched](const std::string& uid) { return touched.workloads.contains(uid); });
}

// Additions reach the proxy before the kernel sends it traffic that needs them; removals the reverse.
void Reconciler::apply_now(control_plane::Change change) {
  const Touched touched = model_.apply(change);
  findings_ = change.findings;
  generation_ = change.generation;
  sandboxes_.set_pods(std::move(change.local_pods));
  locate_pods();
  begin_admissions();
  std::vector<uint32_t> gone = refresh_mesh_ids(touched);
  const std::vector<uint32_t> gone_pods = refresh_pod_ids();
  gone.insert(gone.end(), gone_pods.begin(), gone_pods.end());
  policy_changed_ = policy_changed_ || concerns_policy(change, touched);
  KernelChange kernel = planner_.plan(model_, ids_, touched, gone);
  kernel.full = !applied_at_.has_value();
  control_plane::Change removals{.generation = change.generation, .upserted = {}, .removed = {}};
  std::swap(removals.removed, change.removed);
  parts_.publish(change);
  gateways_.want(gateway_ports(model_));
  write_kernel(kernel);
  forget(gone);
  const bool first = !applied_at_.has_value();
  applied_at_ = std::chrono::steady_clock::now();
  reconcile_pods();
  if (!removals.removed.empty()) parts_.publish(removals);
  if (first) forget_unknown_flows();
  log::info("config_applied", {{"generation", generation_},
                               {"workloads", model_.workload_count()},
                               {"services", model_.service_count()},
                               {"routes", model_.routes().size()}});
}

std::vector<uint32_t> Reconciler::refresh_mesh_ids(const Touched& touched) {
  std::vector<uint32_t> gone;
  for (const control_plane::Resource& changed : touched.workloads) {
    const std::string_view uid = changed.name();
    if (const MeshWorkload* workload = model_.workload(uid))
      ids_.add(Subject::Kind::kWorkload, workload->resource);
    else if (!pod_uids_.contains(std::string(uid)))
      gone.push_back(ids_.remove(Subject::Kind::kWorkload, uid));
  }
  for (const control_plane::Resource& changed : touched.services) {
    const std::string_view key = changed.name();
    if (const MeshService* service = model_.service(key))
      ids_.add(Subject::Kind::kService, service->resource);
    else
      gone.push_back(ids_.remove(Subject::Kind::kService, key));
  }
  std::erase(gone, WEFT_ID_UNKNOWN);
  return gone;
}

std::vector<uint32_t> Reconciler::refresh_pod_ids() {
  std::vector<uint32_t> gone;
  const std::set<std::string> before = std::exchange(pod_uids_, {});
  for (const Subject& subject : pods_.subjects()) {
    if (model_.workload(subject.key) == nullptr) ids_.add(subject);
    pod_uids_.insert(subject.key);
  }
  for (const std::string& uid : before) {
    if (pod_uids_.contains(uid) || model_.workload(uid) != nullptr) continue;
    gone.push_back(ids_.remove(Subject::Kind::kWorkload, uid));
  }
  std::erase(gone, WEFT_ID_UNKNOWN);
  return gone;
}

void Reconciler::forget(const std::vector<uint32_t>& ids) {
  for (const uint32_t id : ids) {
    parts_.dataplane.forget(id);
    ejection_.forget(id);
  }
}

void Reconciler::write_kernel(const KernelChange& change) {
  const absl::Status written = parts_.dataplane.apply(change);
  kernel_problem_ = written.ok() ? "" : std::string(written.message());
  if (!written.ok()) log::error("kernel_maps_not_written", {{"error", written.message()}});
}

// Pinned flow rows may speak of workloads that went away while no agent ran.
void Reconciler::forget_unknown_flows() {
  const absl::StatusOr<std::vector<FlowRow>> rows = parts_.dataplane.flows();
  if (!rows.ok()) return;
  for (const FlowRow& row : *rows) {
    for (const uint32_t id : {row.key.source, row.key.destination}) {
      if (id != WEFT_ID_UNKNOWN && id != WEFT_ID_OVERFLOW && !ids_.contains(id)) parts_.dataplane.forget(id);
    }
  }
}

void Reconciler::watch_backends() {
  // The wait ends with a report; its length is how fast stop() is noticed.
  constexpr std::chrono::milliseconds kWait{200};
  while (watching_) {
    for (const FailingBackend& failing : parts_.dataplane.wait_failing(kWait))
      post([this, failing] { eject(failing); });
  }
}

void Reconciler::set_share(uint32_t service, const SocketAddress& backend, uint32_t percent) {
  write_kernel(planner_.set_share(model_, ids_, service, backend, percent));
}

// All backends of a service may be slow, as when it is far away: then none of them is to blame. Dials that
// were under way when the backend was sent to rest end later.
bool Reconciler::is_slow_one(const FailingBackend& failing) const {
  if (ejection_.is_resting(failing.service, failing.address)) return false;
  std::vector<uint32_t> siblings;
  for (const BackendLatency& one : parts_.dataplane.connect_latencies(failing.service)) {
    if (one.address != failing.address) siblings.push_back(one.latency_us);
  }
  return Ejection::is_far_worse(failing.latency_us, std::move(siblings));
}

void Reconciler::eject(const FailingBackend& failing) {
  const MeshService* service = model_.service(ids_.service_key(failing.service));
  if (service == nullptr || (failing.failures == 0 && !is_slow_one(failing))) return;
  const size_t backends = service->members.size();
  const uint32_t share = ejection_.fail(failing.service, failing.address, backends, clock_.now());
  log::warn(share == 0 ? "backend_ejected" : "backend_failing", {{"service", service->key()},
                                                                 {"backend", failing.address.to_string()},
                                                                 {"failures", failing.failures},
                                                                 {"latency_us", failing.latency_us}});
  if (share == 0)
    set_share(failing.service, failing.address, share);
  else
    parts_.dataplane.forgive(failing.service, failing.address);
}

void Reconciler::reconcile_pods() {
  for (const Ejection::Share& share : ejection_.advance(clock_.now())) {
    parts_.dataplane.forgive(share.service, share.backend);
    set_share(share.service, share.backend, share.percent);
    log::info("backend_share", {{"backend", share.backend.to_string()}, {"percent", share.percent}});
  }
  forget_dead_proxies();
  for (const auto& [key, pod] : pods_.pods()) {
    const MeshWorkload* workload = model_.workload(pod.uid);
    pods_.set_tunnels(pod.uid, workload != nullptr && workload->tunnels,
                      workload != nullptr && workload->native_tunnel);
  }
  pods_.reconcile(clock_.now());
  sandboxes_.count_starts(pods_, boottime_now());
  enforce_policies();
  if (sandboxes_known_ && !leftovers_.empty())
    pods_.release_leftovers(std::exchange(leftovers_, {}), clock_.now());
  save();
  settle_admissions();
}

// How a pod fails depends on whether a policy applies to it, so its row may change once more.
void Reconciler::enforce_policies() {
  std::vector<CapturedNamespace> captured = pods_.captured_namespaces();
  if (!policy_changed_ && captured == enforced_for_) return;
  policy_changed_ = false;
  enforced_for_ = std::move(captured);
  Enforcement::plan_inspection(model_, pods_);
  pods_.reconcile(clock_.now());
  policy_problem_ = enforcement_.enforce(model_, ids_, pods_);
  pods_.reconcile(clock_.now());
}

void Reconciler::save() {
  StoredPods now{stored_.enrollments, pods_.captured_namespaces()};
  if (now == stored_) return;
  const absl::Status status = store_.save(now);
  if (!status.ok()) log::error("enrollments_not_saved", {{"error", status.message()}});
  stored_ = std::move(now);
}

std::string Reconciler::uid_of(const std::string& ns, const std::string& name) const {
  const std::optional<istio::workload::Workload> workload = model_.find_workload(ns, name);
  // The form of Istio's uids: cluster/group/kind/namespace/name.
  return workload ? workload->uid() : str_cat("Kubernetes//Pod/", ns, "/", name);
}

absl::StatusOr<Reconciler::Enrolled> Reconciler::enroll(const std::string& workload,
                                                        const std::string& netns_path, bool dry_run) {
  ASSIGN_OR_RETURN(const auto parsed, parse_workload_name(workload));
  if (!netns_path.empty() && netns_path[0] != '/') {
    return absl::InvalidArgumentError("the network namespace must be an absolute path; next: ip netns list");
  }
  const auto promise = std::make_shared<std::promise<absl::StatusOr<Enrolled>>>();
  std::future<absl::StatusOr<Enrolled>> future = promise->get_future();
  const bool posted = post([this, promise, ns = parsed.first, name = parsed.second, netns_path, dry_run] {
    promise->set_value(enroll_now(ns, name, netns_path, dry_run));
  });
  if (!posted) return absl::UnavailableError("the agent is stopping; next: weft status");
  absl::StatusOr<Enrolled> enrolled = future.get();
  if (!enrolled.ok() || dry_run) return enrolled;
  const absl::Status served = parts_.feed.wait_served(enrolled->netns_cookie, options_.proxy_deadline);
  if (absl::IsUnavailable(served)) {
    enrolled->steps.push_back(
        "no proxy is connected: connections wait three seconds for one, then the fail mode decides");
    return enrolled;
  }
  if (!served.ok())
    return absl::InternalError(str_cat("captured, but not served: ", served.message(), "; next: weft check"));
  enrolled->steps.push_back("the proxy serves it");
  return enrolled;
}

absl::StatusOr<Reconciler::Enrolled> Reconciler::enroll_now(const std::string& ns, const std::string& name,
                                                            const std::string& given_path, bool dry_run) {
  const std::string key = str_cat(ns, "/", name);
  const std::string netns_path = given_path.empty() ? pods_.manifest_netns(key) : given_path;
  if (netns_path.empty()) {
    return absl::FailedPreconditionError(str_cat("no manifest says where ", key,
                                                 " is (annotation weft.dev/netns); next: weft enroll ", key,
                                                 " --netns /run/netns/NAME"));
  }
  if (dry_run) {
    const absl::StatusOr<NetnsIdentity> identity = parts_.probe(netns_path);
    if (!identity.ok()) return annotate(str_cat("enroll ", key), identity.status());
    return Enrolled{0,
                    {str_cat("would capture outbound connections of ", netns_path, " as ", key),
                     "would add one routing rule, one local route and the capture listeners inside it",
                     "would hand the listeners to the proxy"}};
  }
  const std::vector<Enrollment> before = stored_.enrollments;
  std::vector<Enrollment> after = before;
  std::erase_if(after, [&](const Enrollment& e) { return e.ns == ns && e.name == name; });
  after.push_back(Enrollment{ns, name, netns_path});
  pods_.set_enrollments(after);
  forget(refresh_pod_ids());
  pods_.reconcile(clock_.now());
  enforce_policies();
  const Pod* pod = pods_.find(key);
  if (pod != nullptr && pod->state == Pod::State::kCaptured && pod->captured_path == netns_path) {
    stored_.enrollments = std::move(after);
    // The stored copy differs now from the file whatever the namespaces are.
    const absl::Status saved = store_.save(StoredPods{stored_.enrollments, pods_.captured_namespaces()});
    if (!saved.ok()) return annotate("remember the enrolment", saved);
    save();
    return Enrolled{pod->netns_cookie, pod->steps};
  }
  const std::string reason = pod == nullptr ? "it is not wanted" : pod->reason;
  pods_.set_enrollments(before);
  forget(refresh_pod_ids());
  reconcile_pods();
  return absl::FailedPreconditionError(
      str_cat(key, " cannot be captured: ", reason, "; next: ip netns list"));
}

absl::StatusOr<std::vector<std::string>> Reconciler::unenroll(const std::string& workload, bool dry_run) {
  const auto promise = std::make_shared<std::promise<absl::StatusOr<std::vector<std::string>>>>();
  auto future = promise->get_future();
  const bool posted =
      post([this, promise, workload, dry_run] { promise->set_value(unenroll_now(workload, dry_run)); });
  if (!posted) return absl::UnavailableError("the agent is stopping; next: weft status");
  return future.get();
}

absl::StatusOr<std::vector<std::string>> Reconciler::unenroll_now(const std::string& workload, bool dry_run) {
  std::string key = workload;
  if (!workload.empty() && workload[0] == '/') {
    for (const auto& [pod_key, pod] : pods_.pods()) {
      if (pod.captured_path == workload || pod.netns_path == workload) key = pod_key;
    }
  } else {
    ASSIGN_OR_RETURN(const auto parsed, parse_workload_name(workload));
    key = str_cat(parsed.first, "/", parsed.second);
  }
  const Pod* pod = pods_.find(key);
  if (pod == nullptr)
    return absl::NotFoundError(str_cat(workload, " is not enrolled; next: weft get workloads"));
  if (!pod->from_cli) {
    return absl::FailedPreconditionError(
        str_cat(key,
                " is enrolled by its manifest; next: remove the label weft.dev/mesh or "
                "istio.io/dataplane-mode from the pod or its namespace"));
  }
  if (dry_run) return std::vector<std::string>{str_cat("would stop capturing ", pod->netns_path)};
  std::erase_if(stored_.enrollments, [&](const Enrollment& e) { return str_cat(e.ns, "/", e.name) == key; });
  const std::string path = pod->netns_path;
  pods_.set_enrollments(stored_.enrollments);
  pods_.reconcile(clock_.now());
  const absl::Status saved = store_.save(StoredPods{stored_.enrollments, pods_.captured_namespaces()});
  if (!saved.ok()) return annotate("forget the enrolment", saved);
  save();
  forget(refresh_pod_ids());
  pod = pods_.find(key);
  if (pod != nullptr && pods_.in_manifest(key))
    return std::vector<std::string>{str_cat(key, " stays captured: its manifest asks for it")};
  if (pod != nullptr) return absl::InternalError(str_cat(key, " could not be released; next: weft check"));
  const bool open = pods_.is_leaving(path);
  return std::vector<std::string>{
      str_cat("stopped capturing ", path),
      open ? "its open connections go on; rule, route and listeners are removed when the last has closed"
           : "removed its rule, route and listeners"};
}

}  // namespace weft::agent
