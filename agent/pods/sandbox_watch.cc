// See sandbox_watch.h. inotify(7); cgroup.events changes when the first process comes into a cgroup and when
// the last one leaves it (cgroups(7)).
#include "agent/pods/sandbox_watch.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <deque>
#include <filesystem>

#include "agent/pods/pod_cgroup.h"
#include "base/log.h"
#include "base/status_macros.h"

namespace weft::agent {
namespace {

namespace fs = std::filesystem;

// A container is in the node's namespace for a moment before it enters the sandbox, and no event says when.
constexpr MonotonicNs kFirstPause = 2 * kNsPerMs;
constexpr MonotonicNs kLastPause = 200 * kNsPerMs;
// Should an event be lost, or no watch be left.
constexpr MonotonicNs kLookAgain = 2 * kNsPerSecond;
constexpr MonotonicNs kWalkAgain = 30 * kNsPerSecond;
constexpr MonotonicNs kWalkSoon = kNsPerSecond;
// The kubelet's folder is at the top, or a few steps down with --cgroup-root.
constexpr int kDeepestFolder = 4;
constexpr size_t kMostFolders = 4096;

MonotonicNs now_ns() { return SystemClock().now(); }

std::vector<std::string> folders_in(const std::string& folder, uid_t owner) {
  std::vector<std::string> out;
  std::error_code error;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    struct stat info{};
    if (::lstat(at->path().c_str(), &info) == 0 && S_ISDIR(info.st_mode) && info.st_uid == owner)
      out.push_back(at->path());
  }
  return out;
}

std::string name_of(const std::string& path) { return fs::path(path).filename(); }

bool same(const absl::StatusOr<Sandbox>& a, const absl::StatusOr<Sandbox>& b) {
  if (a.ok() != b.ok()) return false;
  return a.ok() ? *a == *b : a.status() == b.status();
}

}  // namespace

absl::StatusOr<std::unique_ptr<SandboxWatch>> SandboxWatch::start(Options options, Subscriber subscriber) {
  std::unique_ptr<SandboxWatch> watch(new SandboxWatch(std::move(options), std::move(subscriber)));
  watch->wake_.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!watch->wake_.valid()) return errno_status("eventfd", errno);
  watch->inotify_.reset(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  if (!watch->inotify_.valid()) {
    return absl::ResourceExhaustedError(
        str_cat("watch cgroups: ", std::strerror(errno), "; next: raise fs.inotify.max_user_instances"));
  }
  watch->thread_ = std::thread([raw = watch.get()] { raw->run(); });
  return watch;
}

SandboxWatch::~SandboxWatch() {
  stopping_ = true;
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(wake_.get(), &one, sizeof(one));
  if (thread_.joinable()) thread_.join();
}

void SandboxWatch::want(std::set<std::string> uids) {
  {
    const std::lock_guard lock(mutex_);
    if (wished_ == uids) return;
    wished_ = std::move(uids);
    ++wishes_;
  }
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(wake_.get(), &one, sizeof(one));
}

void SandboxWatch::run() {
  while (!stopping_) {
    take_wishes();
    // Without a wish nothing is looked for.
    if (!pods_.empty()) look_around();
    {
      const std::lock_guard lock(mutex_);
      wishes_done_ = wishes_taken_;
    }
    looked_.notify_all();
    std::array<pollfd, 2> events{{{wake_.get(), POLLIN, 0}, {inotify_.get(), POLLIN, 0}}};
    const MonotonicNs now = now_ns();
    const MonotonicNs next = next_look(now);
    // Rounded up: a pause of less than a millisecond would turn on the spot.
    const int wait = pods_.empty() ? -1 : static_cast<int>((next - now + kNsPerMs - 1) / kNsPerMs);
    ::poll(events.data(), events.size(), wait);
    take_events();
  }
}

bool SandboxWatch::wait_looked(std::chrono::milliseconds deadline) {
  std::unique_lock lock(mutex_);
  return looked_.wait_for(lock, deadline, [this, asked = wishes_] { return wishes_done_ >= asked; });
}

void SandboxWatch::look_around() {
  if (next_walk_ <= now_ns()) find_folders();
  if (folders_stirred_) find_groups();
  const MonotonicNs now = now_ns();
  for (auto& [uid, pod] : pods_) {
    if (pod.stirred || pod.next_look <= now) look(uid, pod, now);
  }
}

MonotonicNs SandboxWatch::next_look(MonotonicNs now) const {
  MonotonicNs next = next_walk_;
  for (const auto& [uid, pod] : pods_) next = std::min(next, pod.next_look);
  return std::max(next, now);
}

void SandboxWatch::take_wishes() {
  uint64_t count = 0;
  [[maybe_unused]] const ssize_t got = ::read(wake_.get(), &count, sizeof(count));
  std::set<std::string> wished;
  {
    const std::lock_guard lock(mutex_);
    if (wishes_taken_ == wishes_) return;
    wishes_taken_ = wishes_;
    wished = wished_;
  }
  for (auto it = pods_.begin(); it != pods_.end();) {
    if (wished.contains(it->first)) {
      ++it;
      continue;
    }
    move_to(it->second, it->first, "");
    it = pods_.erase(it);
  }
  for (const std::string& uid : wished) folders_stirred_ |= pods_.try_emplace(uid).second;
}

void SandboxWatch::take_events() {
  alignas(inotify_event) std::array<char, 16 * 1024> buffer;
  while (true) {
    const ssize_t got = ::read(inotify_.get(), buffer.data(), buffer.size());
    if (got <= 0) return;
    for (ssize_t at = 0; at < got;) {
      inotify_event event{};
      std::memcpy(&event, buffer.data() + at, sizeof(event));
      at += static_cast<ssize_t>(sizeof(event)) + event.len;
      take_event(event.wd, event.mask);
    }
  }
}

void SandboxWatch::take_event(int watch, uint32_t mask) {
  if ((mask & IN_Q_OVERFLOW) != 0) {
    next_walk_ = 0;
    for (auto& [uid, pod] : pods_) pod.stirred = true;
    return;
  }
  const bool over = (mask & IN_IGNORED) != 0;
  if (const auto pod = pod_of_watch_.find(watch); pod != pod_of_watch_.end()) {
    Tracked& tracked = pods_.at(pod->second);
    tracked.stirred = true;
    if (!over) return;
    tracked.events = -1;
    pod_of_watch_.erase(pod);
    folders_stirred_ = true;  // the cgroup has gone
    return;
  }
  const auto folder = std::find_if(folders_.begin(), folders_.end(),
                                   [watch](const auto& entry) { return entry.second == watch; });
  if (folder == folders_.end()) return;  // of a watch that was given up
  folders_stirred_ = true;
  if (!over) return;
  folders_.erase(folder);
  next_walk_ = 0;
}

// Downwards from the root, level by level; below a folder of pods only its QoS classes are of interest.
void SandboxWatch::find_folders() {
  std::deque<std::pair<std::string, int>> open{{options_.cgroup_root, 0}};
  size_t seen = 0;
  while (!open.empty() && ++seen <= kMostFolders) {
    const auto [folder, depth] = open.front();
    open.pop_front();
    const bool of_pods = holds_pods(name_of(folder));
    if (of_pods) {
      // Again for one that is watched: the same watch.
      const int watch =
          ::inotify_add_watch(inotify_.get(), folder.c_str(), IN_CREATE | IN_DELETE | IN_ONLYDIR);
      if (watch < 0 && errno == ENOSPC && !std::exchange(watches_exhausted_, true))
        log::warn("cgroup_watches_exhausted", {{"next", "raise fs.inotify.max_user_watches"}});
      folders_[folder] = watch;
    }
    for (std::string& inner : folders_in(folder, options_.owner)) {
      const std::string name = name_of(inner);
      // The kubelet's before whatever else there is, should it be very much.
      if (of_pods && holds_pods(name))
        open.emplace_front(std::move(inner), depth + 1);
      else if (!of_pods && depth < kDeepestFolder && !pod_uid_of_cgroup(name))
        open.emplace_back(std::move(inner), depth + 1);
    }
  }
  folders_stirred_ = true;
  next_walk_ = now_ns() + (folders_.empty() ? kWalkSoon : kWalkAgain);
}

void SandboxWatch::find_groups() {
  folders_stirred_ = false;
  std::map<std::string, std::string> found;
  for (auto it = folders_.begin(); it != folders_.end();) {
    std::error_code error;
    if (!fs::is_directory(it->first, error)) {
      it = folders_.erase(it);
      next_walk_ = 0;
      continue;
    }
    for (const std::string& inner : folders_in(it->first, options_.owner)) {
      const std::optional<std::string> uid = pod_uid_of_cgroup(name_of(inner));
      if (uid && pods_.contains(*uid)) found.try_emplace(*uid, inner);
      // A class that came after the walk.
      if (!uid && holds_pods(name_of(inner)) && !folders_.contains(inner)) next_walk_ = 0;
    }
    ++it;
  }
  for (auto& [uid, pod] : pods_) {
    const auto at = found.find(uid);
    move_to(pod, uid, at == found.end() ? "" : at->second);
  }
}

void SandboxWatch::move_to(Tracked& pod, const std::string& uid, const std::string& cgroup) {
  if (pod.cgroup != cgroup) pod.stirred = true;
  if (pod.cgroup != cgroup && pod.events >= 0) {
    pod_of_watch_.erase(pod.events);
    ::inotify_rm_watch(inotify_.get(), std::exchange(pod.events, -1));
  }
  pod.cgroup = cgroup;
  if (cgroup.empty() || pod.events >= 0) return;
  pod.events = ::inotify_add_watch(inotify_.get(), (cgroup + "/cgroup.events").c_str(), IN_MODIFY);
  if (pod.events >= 0) pod_of_watch_[pod.events] = uid;
}

bool SandboxWatch::still_there(const Tracked& pod) const {
  if (!pod.known.ok()) return false;
  const absl::StatusOr<NetnsIdentity> now = options_.places.probe(pod.known->netns_path);
  return now.ok() && *now == pod.known->identity;
}

void SandboxWatch::look(const std::string& uid, Tracked& pod, MonotonicNs now) {
  const bool was_stirred = std::exchange(pod.stirred, false);
  pod.next_look = now + kLookAgain;
  if (!was_stirred && still_there(pod)) return;
  absl::StatusOr<Sandbox> found = absl::NotFoundError("the kubelet has made no cgroup for it yet");
  move_to(pod, uid, std::string(pod.cgroup));  // should it have no watch yet
  if (!pod.cgroup.empty()) found = find_sandbox(pod.cgroup, options_.places);
  // The namespace outlives its processes while the runtime keeps its file; it is another's only when it
  // differs.
  if (still_there(pod) && (!found.ok() || found->identity == pod.known->identity)) return;
  if (absl::IsUnavailable(found.status())) {
    pod.pause = std::clamp(pod.pause * 2, kFirstPause, kLastPause);
    pod.next_look = now + pod.pause;
  } else {
    pod.pause = 0;
  }
  tell(uid, pod, std::move(found));
}

void SandboxWatch::tell(const std::string& uid, Tracked& pod, absl::StatusOr<Sandbox> known) {
  if (same(pod.known, known)) return;
  pod.known = std::move(known);
  subscriber_(uid, pod.known);
}

}  // namespace weft::agent
