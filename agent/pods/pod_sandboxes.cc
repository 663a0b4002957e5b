// See pod_sandboxes.h. Called by the reconciler.
#include "agent/pods/pod_sandboxes.h"

#include <time.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/log.h"

namespace weft::agent {
namespace {

constexpr std::array<MonotonicNs, WEFT_HISTOGRAM_BUCKETS - 1> kBoundsUs{
#define X(us) us,
    WEFT_HISTOGRAM_BOUNDS_US(X)
#undef X
};

size_t bucket_of(MonotonicNs duration) {
  const auto bound = std::lower_bound(kBoundsUs.begin(), kBoundsUs.end(), duration / 1000);
  return static_cast<size_t>(bound - kBoundsUs.begin());
}

}  // namespace

MonotonicNs boottime_now() {
  timespec ts{};
  clock_gettime(CLOCK_BOOTTIME, &ts);
  return static_cast<MonotonicNs>(ts.tv_sec) * kNsPerSecond + static_cast<MonotonicNs>(ts.tv_nsec);
}

void PodSandboxes::set_pods(std::vector<control_plane::LocalPod> pods) {
  pods_ = std::move(pods);
  std::set<std::string> here;
  for (const control_plane::LocalPod& pod : pods_) {
    if (pod.kubelet_uid.empty()) continue;
    here.insert(pod.kubelet_uid);
    if (!pod.wants_capture) outside_.insert(pod.kubelet_uid);
  }
  const auto gone = [&here](const std::string& uid) { return !here.contains(uid); };
  std::erase_if(outside_, gone);
  std::erase_if(known_, [&gone](const auto& entry) { return gone(entry.first); });
}

std::vector<control_plane::LocalPod> PodSandboxes::located() const {
  std::vector<control_plane::LocalPod> out = pods_;
  for (control_plane::LocalPod& pod : out) {
    if (by_cgroup_) pod.netns_path.clear();
    const auto known = known_.find(pod.kubelet_uid);
    if (known != known_.end() && !known->second.sandbox.netns_path.empty())
      pod.netns_path = known->second.sandbox.netns_path;
  }
  return out;
}

std::set<std::string> PodSandboxes::wanted() const {
  std::set<std::string> out;
  for (const control_plane::LocalPod& pod : pods_) {
    if (pod.wants_capture && !pod.kubelet_uid.empty()) out.insert(pod.kubelet_uid);
  }
  return out;
}

bool PodSandboxes::found(const std::string& kubelet_uid, const absl::StatusOr<Sandbox>& sandbox) {
  if (!by_cgroup_ || find(kubelet_uid) == nullptr) return false;
  Known& known = known_[kubelet_uid];
  const absl::StatusOr<NetnsIdentity> there = probe_(known.sandbox.netns_path);
  const bool holds = there.ok() && *there == known.sandbox.identity;
  if (!sandbox.ok()) {
    const bool news = known.waiting_for != sandbox.status().message();
    known.waiting_for = std::string(sandbox.status().message());
    if (holds) return false;
    const bool lost = !known.sandbox.netns_path.empty();
    known.sandbox = {};
    return lost || news;
  }
  if (sandbox->identity == known.taken) return false;
  if (holds && sandbox->identity == known.sandbox.identity) {
    // By whatever other path: going over to that would be a release.
    known.sandbox.started = sandbox->started;
    return false;
  }
  // The runtime said whose namespace it is: what was found instead is a guess.
  if (holds && known.held) return false;
  known = Known{.sandbox = *sandbox, .held = false, .counted = false, .taken = {}, .waiting_for = {}};
  return true;
}

void PodSandboxes::given(const std::string& kubelet_uid, const std::string& netns_path,
                         const NetnsIdentity& identity) {
  for (auto& [uid, other] : known_) {
    if (uid != kubelet_uid && other.sandbox.identity == identity) other = {};
  }
  known_[kubelet_uid] = Known{.sandbox = {.netns_path = netns_path, .identity = identity, .started = 0},
                              .held = true,
                              .counted = false,
                              .taken = {},
                              .waiting_for = {}};
}

bool PodSandboxes::taken(const NetnsIdentity& identity) {
  bool changed = false;
  for (auto& [uid, known] : known_) {
    if (known.sandbox.netns_path.empty() || known.sandbox.identity != identity) continue;
    known = Known{.sandbox = {},
                  .held = false,
                  .counted = false,
                  .taken = identity,
                  .waiting_for = "its runtime has taken its network namespace away"};
    changed = true;
  }
  return changed;
}

const control_plane::LocalPod* PodSandboxes::find(const std::string& kubelet_uid) const {
  const auto at = std::find_if(pods_.begin(), pods_.end(), [&](const control_plane::LocalPod& pod) {
    return pod.kubelet_uid == kubelet_uid;
  });
  return at == pods_.end() ? nullptr : &*at;
}

std::string PodSandboxes::why_unknown(const std::string& workload_uid) const {
  if (!by_cgroup_) return "";
  for (const control_plane::LocalPod& pod : pods_) {
    if (pod.uid != workload_uid) continue;
    if (pod.kubelet_uid.empty()) return "its manifest has no metadata.uid to find its cgroup by";
    const auto known = known_.find(pod.kubelet_uid);
    if (known == known_.end() || known->second.waiting_for.empty()) return "it is being looked for";
    return known->second.waiting_for;
  }
  return "";
}

void PodSandboxes::count_starts(const PodTable& pods, MonotonicNs now) {
  for (const control_plane::LocalPod& local : pods_) {
    const auto at = known_.find(local.kubelet_uid);
    if (at == known_.end() || at->second.counted || at->second.sandbox.netns_path.empty()) continue;
    Known& known = at->second;
    const Pod* pod = pods.find(str_cat(local.ns, "/", local.name));
    if (pod == nullptr || pod->state != Pod::State::kCaptured || pod->identity != known.sandbox.identity)
      continue;
    known.counted = true;
    const MonotonicNs started = known.sandbox.started;
    if (known.held) {
      ++starts_.held;
    } else if (started < started_ || outside_.contains(local.kubelet_uid)) {
      ++starts_.running;
    } else {
      const MonotonicNs window = now > started ? now - started : 0;
      ++starts_.window.at(bucket_of(window));
      starts_.window_sum += window;
      starts_.window_longest = std::max(starts_.window_longest, window);
      log::info("pod_found", {{"pod", pod->key()}, {"window_ms", window / kNsPerMs}});
    }
  }
}

}  // namespace weft::agent
