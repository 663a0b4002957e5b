// Watches the cgroups of this node for the pods that are wanted, and says where the network namespace of each
// is as soon as it has one, and again when it gets another (a sandbox that was restarted). Woken by inotify
// (folders of pods, cgroup.events of each wanted pod), so that a pod is found within milliseconds; looks
// again every few seconds besides, should an event be lost. A thread of its own; reads only.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "agent/pods/sandbox.h"
#include "base/fd.h"

namespace weft::agent {

class SandboxWatch {
 public:
  struct Options {
    // A folder of cgroup2 somewhere below which the kubelet's are.
    std::string cgroup_root;
    SandboxPlaces places = {};
    // Whose cgroups count. The kubelet's are root's; a user to whom a subtree was given (cgroups(7),
    // "Delegation") names folders in it as he likes.
    uid_t owner = 0;
  };
  // On the watch's thread: what is known now of a wanted pod, when it differs from what was said before. An
  // error says what it is waiting for.
  using Subscriber = std::function<void(const std::string& uid, const absl::StatusOr<Sandbox>&)>;

  // kResourceExhausted: no inotify instance, with the sysctl to raise.
  static absl::StatusOr<std::unique_ptr<SandboxWatch>> start(Options options, Subscriber subscriber);
  ~SandboxWatch();

  // Any thread: all pods to look for, by the kubelet's uid.
  void want(std::set<std::string> uids);
  // Any other thread: until every pod that was wanted when it was called has been looked for once and the
  // subscriber told. False: not in time.
  bool wait_looked(std::chrono::milliseconds deadline);

 private:
  struct Tracked {
    std::string cgroup;  // empty: not there
    int events = -1;     // inotify watch of its cgroup.events
    absl::StatusOr<Sandbox> known = absl::UnknownError("");
    bool stirred = true;
    MonotonicNs next_look = 0;
    MonotonicNs pause = 0;
  };

  SandboxWatch(Options options, Subscriber subscriber)
      : options_(std::move(options)), subscriber_(std::move(subscriber)) {}
  void run();
  void take_wishes();
  void look_around();
  void take_events();
  void take_event(int watch, uint32_t mask);
  void find_folders();
  void find_groups();
  void move_to(Tracked& pod, const std::string& uid, const std::string& cgroup);
  void look(const std::string& uid, Tracked& pod, MonotonicNs now);
  void tell(const std::string& uid, Tracked& pod, absl::StatusOr<Sandbox> known);
  bool still_there(const Tracked& pod) const;
  MonotonicNs next_look(MonotonicNs now) const;

  Options options_;
  Subscriber subscriber_;
  UniqueFd inotify_;
  UniqueFd wake_;
  std::thread thread_;
  std::atomic<bool> stopping_ = false;
  std::mutex mutex_;
  std::condition_variable looked_;
  // Under mutex_: what is wanted, how often that has changed, and which of these changes have been seen to.
  std::set<std::string> wished_;
  uint64_t wishes_ = 0;
  uint64_t wishes_done_ = 0;

  // The thread's own.
  uint64_t wishes_taken_ = 0;
  std::map<std::string, Tracked> pods_;
  std::map<int, std::string> pod_of_watch_;
  std::map<std::string, int> folders_;  // in which pods stand, and their watches
  bool folders_stirred_ = true;
  MonotonicNs next_walk_ = 0;
  bool watches_exhausted_ = false;
};

}  // namespace weft::agent
