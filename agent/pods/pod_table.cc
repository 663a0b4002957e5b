// Enrolment as a diff between wanted and captured pods; see pod_table.h. Called by the reconciler only. Never
// opens or enters a namespace itself: that is Dataplane's part.
#include "agent/pods/pod_table.h"

#include <algorithm>
#include <utility>

#include "agent/pods/held_fds.h"
#include "agent/pods/manifest_pod.h"
#include "base/log.h"

namespace weft::agent {
namespace {

constexpr MonotonicNs kFirstBackoff = 100 * kNsPerMs;
constexpr MonotonicNs kLastBackoff = 5 * kNsPerSecond;
// How often captured pods are looked at for a namespace that was replaced or removed behind our back.
constexpr MonotonicNs kInspectEvery = 2 * kNsPerSecond;
// While an address family is not captured yet: duplicate address detection takes a second or two. And while a
// former agent's proxy has not come back to this one: with it the listeners would go, and every connect be
// refused.
constexpr MonotonicNs kInspectSoon = 200 * kNsPerMs;
// How often the open connections of a namespace that leaves are counted.
constexpr MonotonicNs kCountEvery = 500 * kNsPerMs;

bool held_by_proxy_alone(const Pod& pod) {
  return pod.state == Pod::State::kCaptured && pod.fds->listeners.empty();
}

bool same_exclusions(const Pod& a, const Pod& b) {
  const auto same_cidr = [](const CidrExclusion& x, const CidrExclusion& y) {
    return x.ip == y.ip && x.prefix_length == y.prefix_length;
  };
  return a.exclude_ports == b.exclude_ports &&
         std::equal(a.exclude_cidrs.begin(), a.exclude_cidrs.end(), b.exclude_cidrs.begin(),
                    b.exclude_cidrs.end(), same_cidr);
}

Announcement announcement_of(const Pod& pod) {
  return {
      .netns_cookie = pod.netns_cookie, .workload_uid = pod.uid, .fds = pod.fds, .confined = pod.confined};
}

}  // namespace

PodTable::PodTable(Dataplane& dataplane, ProxyFeed& feed, NetnsProbe probe, Callbacks callbacks)
    : dataplane_(dataplane), feed_(feed), probe_(std::move(probe)), callbacks_(std::move(callbacks)) {}

void PodTable::set_manifest(const std::vector<control_plane::LocalPod>& pods) {
  manifest_ = pods;
  refresh_wanted();
}

void PodTable::set_enrollments(std::vector<Enrollment> enrollments) {
  enrollments_ = std::move(enrollments);
  refresh_wanted();
}

void PodTable::refresh_wanted() {
  const std::set<std::string> before = std::exchange(wanted_, {});
  for (const control_plane::LocalPod& local : manifest_) {
    if (local.wants_capture) want(pod_from_manifest(local));
  }
  for (const Enrollment& enrollment : enrollments_) {
    Pod pod{.ns = enrollment.ns, .name = enrollment.name};
    for (const control_plane::LocalPod& local : manifest_) {
      if (local.ns == pod.ns && local.name == pod.name) pod = pod_from_manifest(local);
    }
    if (pod.uid.empty()) pod.uid = callbacks_.uid_of(pod.ns, pod.name);
    pod.netns_path = enrollment.netns_path;
    pod.from_cli = true;
    want(std::move(pod));
  }
  // Who leaves is released at once, not at its next inspection.
  for (const std::string& key : before) {
    if (!wanted_.contains(key)) pods_.at(key).next_try = 0;
  }
}

void PodTable::want(Pod wanted) {
  const std::string key = wanted.key();
  wanted_.insert(key);
  const auto it = pods_.find(key);
  if (it == pods_.end()) {
    pods_.emplace(key, std::move(wanted));
    return;
  }
  Pod& pod = it->second;
  if (pod.uid != wanted.uid || pod.netns_path != wanted.netns_path || pod.fail_mode != wanted.fail_mode ||
      pod.shortcut != wanted.shortcut || !same_exclusions(pod, wanted)) {
    pod.changed = pod.state == Pod::State::kCaptured;
    pod.next_try = 0;
    pod.backoff = 0;
  }
  // What it waits for may be another thing by now.
  if (pod.state == Pod::State::kPending && wanted.netns_path.empty()) pod.next_try = 0;
  pod.fail_mode = wanted.fail_mode;
  pod.shortcut = wanted.shortcut;
  pod.from_cli = wanted.from_cli;
  pod.uid = std::move(wanted.uid);
  pod.netns_path = std::move(wanted.netns_path);
  pod.exclude_ports = std::move(wanted.exclude_ports);
  pod.exclude_cidrs = std::move(wanted.exclude_cidrs);
  if (std::exchange(pod.confined, wanted.confined) == wanted.confined) return;
  // Its listeners stay; what else changes the plan is announced when that is done.
  const bool served = pod.state == Pod::State::kCaptured && pod.captured_uid == pod.uid;
  if (served && !pod.fds->listeners.empty()) announce(pod);
}

void PodTable::set_has_policy(const std::string& uid, bool has_policy) {
  for (auto& [key, pod] : pods_) {
    if (pod.uid != uid || pod.has_policy == has_policy) continue;
    const bool before = pod.fails_closed();
    pod.has_policy = has_policy;
    if (pod.fails_closed() == before) continue;
    pod.changed = pod.state == Pod::State::kCaptured;
    pod.next_try = 0;
  }
}

void PodTable::set_tunnels(const std::string& uid, bool tunnels, bool native) {
  for (auto& [key, pod] : pods_) {
    if (pod.uid != uid || (pod.tunnels == tunnels && pod.native_tunnel == native)) continue;
    pod.tunnels = tunnels;
    pod.native_tunnel = native;
    pod.changed = pod.state == Pod::State::kCaptured;
    pod.next_try = 0;
  }
}

void PodTable::set_inspected(const std::string& uid, bool inspected) {
  for (auto& [key, pod] : pods_) {
    if (pod.uid != uid || pod.inspected == inspected) continue;
    pod.inspected = inspected;
    pod.changed = pod.state == Pod::State::kCaptured;
    pod.next_try = 0;
  }
}

void PodTable::reconcile(MonotonicNs now) {
  for (size_t i = 0; i < leaving_.size();) {
    if (leaving_[i].next_look <= now && finish_leaving(leaving_[i].captured)) {
      leaving_.erase(leaving_.begin() + static_cast<ptrdiff_t>(i));
      continue;
    }
    if (leaving_[i].next_look <= now) leaving_[i].next_look = now + kCountEvery;
    ++i;
  }
  for (auto it = pods_.begin(); it != pods_.end();) {
    Pod& pod = it->second;
    if (wanted_.contains(it->first)) {
      ++it;
      continue;
    }
    const bool gone = pod.state == Pod::State::kPending || (pod.next_try <= now && release(pod, now));
    if (gone)
      it = pods_.erase(it);
    else
      ++it;
  }
  for (auto& [key, pod] : pods_) {
    if (!wanted_.contains(key)) continue;
    if (held_by_proxy_alone(pod)) restore_listeners(pod);
    if (pod.next_try > now) continue;
    if (pod.state == Pod::State::kCaptured) inspect(pod, now);
    if (pod.state == Pod::State::kPending && pod.next_try <= now) enroll(pod, now);
  }
}

// A captured pod whose namespace file changed lost its namespace; one whose plan changed is enrolled again
// over itself.
void PodTable::inspect(Pod& pod, MonotonicNs now) {
  pod.next_try = now + kInspectEvery;
  const absl::StatusOr<NetnsIdentity> identity = probe_(pod.captured_path);
  const bool moved = pod.changed && pod.captured_path != pod.netns_path;
  if (moved || !identity.ok() || *identity != pod.identity) {
    if (!moved) log::info("pod_namespace_replaced", {{"pod", pod.key()}, {"netns", pod.captured_path}});
    if (release(pod, now)) pod.next_try = now;
    return;
  }
  if (pod.changed)
    enroll(pod, now);
  else
    examine(pod, now);
}

// What others may have broken meanwhile: rules flushed, addresses changed, the last listener closed.
void PodTable::examine(Pod& pod, MonotonicNs now) {
  const absl::StatusOr<NamespaceHealth> health = dataplane_.inspect(pod.netns_cookie, pod.captured_path);
  const std::string problem = health.ok() ? health->missing : std::string(health.status().message());
  if (problem != pod.problem && !problem.empty())
    log::warn("pod_captured_in_part", {{"pod", pod.key()}, {"problem", problem}});
  pod.problem = problem;
  if (!problem.empty()) pod.next_try = now + kInspectSoon;
  if (health.ok()) {
    for (const std::string& repaired : health->repaired)
      log::warn("pod_repaired", {{"pod", pod.key()}, {"what", repaired}});
  }
  restore_listeners(pod);
}

void PodTable::restore_listeners(Pod& pod) {
  if (dataplane_.has_listener(pod.netns_cookie)) return;
  pod.fds = without_listeners(*pod.fds);
  const absl::Status status = ensure_listeners(pod);
  if (!status.ok()) {
    log::warn("pod_without_listener", {{"pod", pod.key()}, {"error", status.message()}});
    return;
  }
  log::warn("pod_repaired", {{"pod", pod.key()}, {"what", "opened its capture listeners again"}});
  announce(pod);
}

NamespacePlan PodTable::plan_of(const Pod& pod) const {
  return NamespacePlan{.netns_path = pod.netns_path,
                       .workload_id = callbacks_.id_of(pod.uid),
                       .fail_closed = pod.fails_closed(),
                       .tunnels = pod.tunnels && !pod.native_tunnel,
                       .native_tunnel = pod.tunnels && pod.native_tunnel,
                       .inspected = pod.inspected,
                       .shortcut = pod.shortcut,
                       .exclude_ports = pod.exclude_ports,
                       .exclude_cidrs = pod.exclude_cidrs};
}

void PodTable::enroll(Pod& pod, MonotonicNs now) {
  if (pod.netns_path.empty()) {
    const std::string why = callbacks_.why_unknown ? callbacks_.why_unknown(pod.uid) : "";
    postpone(pod, now,
             !why.empty() ? why
                          : str_cat("its network namespace is unknown; next: weft enroll ", pod.key(),
                                    " --netns PATH"));
    return;
  }
  const absl::StatusOr<NetnsIdentity> identity = probe_(pod.netns_path);
  if (!identity.ok()) {
    postpone(pod, now, str_cat("waiting for ", pod.netns_path, " (", identity.status().message(), ")"));
    return;
  }
  for (const auto& [key, other] : pods_) {
    if (&other == &pod || other.state != Pod::State::kCaptured || other.identity != *identity) continue;
    postpone(pod, now,
             str_cat("its network namespace is already captured as ", key, "; next: weft unenroll ", key));
    return;
  }
  absl::StatusOr<EnrolledNamespace> enrolled = dataplane_.enroll(plan_of(pod));
  if (!enrolled.ok()) {
    postpone(pod, now, std::string(enrolled.status().message()));
    return;
  }
  take_over(pod, std::move(*enrolled), *identity);
  pod.next_try = now + kInspectEvery;
}

// The namespace is captured: remember it and tell the proxy, once per (namespace, name).
void PodTable::take_over(Pod& pod, EnrolledNamespace enrolled, const NetnsIdentity& identity) {
  std::erase_if(leaving_, [&](const Leaving& l) { return l.captured.netns_cookie == enrolled.netns_cookie; });
  const bool known = pod.netns_cookie == enrolled.netns_cookie && pod.captured_uid == pod.uid;
  if (!known && pod.netns_cookie != 0) feed_.remove(pod.netns_cookie, [](const absl::Status&) {});
  if (pod.fds == nullptr || pod.netns_cookie != enrolled.netns_cookie)
    pod.fds = std::make_shared<NamespaceFds>();
  // The proxy takes the whole list anew when there are more, those for what comes in.
  const bool more = !pod.fds->listeners.empty() && enrolled.listeners.size() > pod.fds->listeners.size();
  if (more) pod.fds = without_listeners(*pod.fds);
  if (!pod.fds->netns.valid()) pod.fds->netns = std::move(enrolled.netns);
  if (!enrolled.listeners.empty() && pod.fds->listeners.empty())
    pod.fds->listeners = std::move(enrolled.listeners);
  pod.state = Pod::State::kCaptured;
  pod.changed = false;
  pod.reason.clear();
  pod.problem.clear();
  pod.netns_cookie = enrolled.netns_cookie;
  pod.captured_path = pod.netns_path;
  pod.identity = identity;
  pod.steps = std::move(enrolled.steps);
  pod.backoff = 0;
  pod.captured_uid = pod.uid;
  log::info("pod_captured", {{"pod", pod.key()}, {"netns", pod.netns_path}, {"cookie", pod.netns_cookie}});
  if ((known && !more) || pod.fds->listeners.empty()) return;  // a running proxy holds them and will say so
  announce(pod);
}

void PodTable::announce(const Pod& pod) {
  feed_.add(announcement_of(pod), [key = pod.key()](const absl::Status& status) {
    if (!status.ok() && !absl::IsUnavailable(status)) {
      log::warn("proxy_refused_pod", {{"pod", key}, {"error", status.message()}});
    }
  });
}

bool PodTable::release(Pod& pod, MonotonicNs now) {
  if (!let_go(pod.netns_cookie, pod.captured_path, now)) {
    pod.backoff = std::clamp(pod.backoff * 2, kFirstBackoff, kLastBackoff);
    pod.next_try = now + pod.backoff;
    return false;
  }
  log::info("pod_released", {{"pod", pod.key()}, {"cookie", pod.netns_cookie}});
  pod.state = Pod::State::kPending;
  pod.reason = "released";
  pod.problem.clear();
  pod.changed = false;
  pod.netns_cookie = 0;
  pod.captured_uid.clear();
  pod.fds.reset();
  pod.backoff = 0;
  return true;
}

// The kernel stops capturing first. What was captured until then is served to its end: rule, route, lookup
// and the proxy's listeners stay until the last such connection has closed, however long that takes.
bool PodTable::let_go(uint64_t cookie, const std::string& path, MonotonicNs now) {
  const absl::Status status = dataplane_.stop_capture(cookie);
  if (!status.ok()) {
    log::warn("unenroll_failed", {{"netns", path}, {"error", status.message()}});
    return false;
  }
  const CapturedNamespace captured{cookie, path};
  if (!finish_leaving(captured)) leaving_.push_back(Leaving{captured, now + kCountEvery});
  return true;
}

// True when nothing of the namespace is left.
bool PodTable::finish_leaving(const CapturedNamespace& leaving) {
  const absl::StatusOr<uint64_t> open =
      dataplane_.captured_connections(leaving.netns_cookie, leaving.netns_path);
  // Not found: the namespace is gone, and its connections with it.
  if (!open.ok() && !absl::IsNotFound(open.status())) {
    log::warn("connections_not_counted", {{"netns", leaving.netns_path}, {"error", open.status().message()}});
    return false;
  }
  if (open.ok() && *open > 0) return false;
  const absl::Status status = dataplane_.unenroll(leaving.netns_cookie, leaving.netns_path);
  if (!status.ok()) {
    log::warn("unenroll_failed", {{"netns", leaving.netns_path}, {"error", status.message()}});
    return false;
  }
  feed_.remove(leaving.netns_cookie, [](const absl::Status&) {});
  log::info("namespace_released", {{"netns", leaving.netns_path}, {"cookie", leaving.netns_cookie}});
  return true;
}

void PodTable::postpone(Pod& pod, MonotonicNs now, std::string reason) {
  if (pod.reason != reason) log::info("pod_pending", {{"pod", pod.key()}, {"reason", reason}});
  pod.reason = std::move(reason);
  pod.backoff = std::clamp(pod.backoff * 2, kFirstBackoff, kLastBackoff);
  pod.next_try = now + pod.backoff;
}

MonotonicNs PodTable::next_deadline(MonotonicNs now) const {
  MonotonicNs next = now + kLastBackoff;
  for (const auto& [key, pod] : pods_) {
    next = std::min(next, pod.next_try);
    if (held_by_proxy_alone(pod)) next = std::min(next, now + kInspectSoon);
  }
  for (const Leaving& leaving : leaving_) next = std::min(next, leaving.next_look);
  return std::max(next, now);
}

const Pod* PodTable::owner_of(uint64_t cookie) const {
  for (const auto& [key, pod] : pods_) {
    if (pod.state == Pod::State::kCaptured && pod.netns_cookie == cookie) return &pod;
  }
  return nullptr;
}

// Neither we nor a proxy may hold a listener any more (both were restarted at once): enrolling again makes
// new ones.
absl::Status PodTable::ensure_listeners(Pod& pod) {
  if (!pod.fds->listeners.empty()) return absl::OkStatus();
  absl::StatusOr<EnrolledNamespace> enrolled = dataplane_.enroll(plan_of(pod));
  if (!enrolled.ok()) return enrolled.status();
  if (enrolled->netns.valid()) pod.fds->netns = std::move(enrolled->netns);
  pod.fds->listeners = std::move(enrolled->listeners);
  if (pod.fds->listeners.empty()) return absl::UnavailableError("no capture listener");
  return absl::OkStatus();
}

void PodTable::proxy_ready(uint64_t connection, std::vector<HeldNamespace> held) {
  std::set<uint64_t> kept;
  std::vector<uint64_t> keep;
  for (HeldNamespace& ns : held) {
    const Pod* owner = owner_of(ns.netns_cookie);
    if (owner == nullptr || kept.contains(ns.netns_cookie) || ns.fds->listeners.empty()) continue;
    Pod& pod = pods_.at(owner->key());
    if (pod.fds->listeners.empty()) {
      const absl::Status adopted = dataplane_.adopt_listeners(ns.netns_cookie, duplicates(ns.fds->listeners));
      if (!adopted.ok()) {
        log::warn("listeners_not_adopted", {{"pod", pod.key()}, {"error", adopted.message()}});
        continue;
      }
      pod.fds->listeners = std::move(ns.fds->listeners);
      // It may have none for what comes in, if its agent knew of no need. What there is is known now:
      // enrolling adds them.
      if (pod.inspected || (pod.tunnels && !pod.native_tunnel)) {
        pod.changed = true;
        pod.next_try = 0;
      }
    }
    // It got another name, or other rights, meanwhile: the same listeners are announced again below.
    if (pod.uid != ns.workload_uid || pod.confined != ns.confined) continue;
    kept.insert(ns.netns_cookie);
    keep.push_back(ns.netns_cookie);
  }
  // Namespaces that leave are served until their last connection has ended.
  for (const Leaving& leaving : leaving_) {
    const uint64_t cookie = leaving.captured.netns_cookie;
    const bool holds = std::any_of(held.begin(), held.end(),
                                   [&](const HeldNamespace& ns) { return ns.netns_cookie == cookie; });
    if (holds && !kept.contains(cookie)) keep.push_back(cookie);
  }
  std::vector<Announcement> add;
  for (auto& [key, pod] : pods_) {
    if (pod.state != Pod::State::kCaptured || kept.contains(pod.netns_cookie)) continue;
    const absl::Status status = ensure_listeners(pod);
    if (!status.ok())
      log::warn("pod_without_listener", {{"pod", key}, {"error", status.message()}});
    else
      add.push_back(announcement_of(pod));
  }
  feed_.snapshot(connection, std::move(add), std::move(keep));
}

void PodTable::proxy_gone() {
  for (auto& [key, pod] : pods_) {
    if (pod.state != Pod::State::kCaptured || dataplane_.has_listener(pod.netns_cookie)) continue;
    pod.fds = without_listeners(*pod.fds);
    const absl::Status status = ensure_listeners(pod);
    if (!status.ok()) log::warn("pod_without_listener", {{"pod", key}, {"error", status.message()}});
  }
}

const Pod* PodTable::find(const std::string& key) const {
  const auto it = pods_.find(key);
  return it == pods_.end() ? nullptr : &it->second;
}

bool PodTable::in_manifest(const std::string& key) const {
  return std::any_of(manifest_.begin(), manifest_.end(), [&key](const control_plane::LocalPod& local) {
    return local.wants_capture && str_cat(local.ns, "/", local.name) == key;
  });
}

std::string PodTable::manifest_netns(const std::string& key) const {
  for (const control_plane::LocalPod& local : manifest_) {
    if (str_cat(local.ns, "/", local.name) == key) return local.netns_path;
  }
  return "";
}

void PodTable::release_leftovers(const std::vector<CapturedNamespace>& leftovers, MonotonicNs now) {
  for (const CapturedNamespace& leftover : leftovers) {
    if (owner_of(leftover.netns_cookie) != nullptr) continue;
    const bool released = let_go(leftover.netns_cookie, leftover.netns_path, now);
    log::info("leftover_released", {{"netns", leftover.netns_path},
                                    {"cookie", leftover.netns_cookie},
                                    {"status", released ? "ok" : "failed"}});
  }
}

std::vector<CapturedNamespace> PodTable::captured_namespaces() const {
  std::vector<CapturedNamespace> out;
  for (const auto& [key, pod] : pods_) {
    if (pod.state == Pod::State::kCaptured)
      out.push_back(CapturedNamespace{pod.netns_cookie, pod.captured_path});
  }
  for (const Leaving& leaving : leaving_) out.push_back(leaving.captured);
  return out;
}

std::vector<Subject> PodTable::subjects() const {
  std::vector<Subject> out;
  for (const auto& [key, pod] : pods_)
    out.push_back(Subject{Subject::Kind::kWorkload, pod.uid, pod.name, pod.ns});
  return out;
}

bool PodTable::is_leaving(const std::string& netns_path) const {
  return std::any_of(leaving_.begin(), leaving_.end(),
                     [&](const Leaving& l) { return l.captured.netns_path == netns_path; });
}

uint32_t PodTable::captured() const {
  return static_cast<uint32_t>(std::count_if(pods_.begin(), pods_.end(), [](const auto& entry) {
    return entry.second.state == Pod::State::kCaptured;
  }));
}

}  // namespace weft::agent
