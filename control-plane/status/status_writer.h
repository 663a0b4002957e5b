// Writes back to the API server what is wrong with objects: Istio's status.validationMessages, and an Event
// for each new error. Of several replicas one writes (Lease). What is as it should be is not written. Has a
// thread; whoever holds changes never waits for it.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "control-plane/kubernetes/api_caller.h"
#include "control-plane/status/lease.h"
#include "control-plane/status/object_messages.h"

namespace weft::control_plane {

class StatusWriter {
 public:
  struct Options {
    Lease::Options lease;
    // Between two looks at the lease, and at most between two attempts at what failed.
    std::chrono::milliseconds look{5'000};
  };
  struct Counts {
    bool leads = false;
    uint64_t written = 0;  // objects' status
    uint64_t events = 0;
    uint64_t failed = 0;
  };

  StatusWriter(ApiAccess access, Options options);
  // Gives the lease back and joins.
  ~StatusWriter();

  // All findings that there are. Any thread; returns at once.
  void tell(const std::vector<Finding>& findings);
  Counts counts() const;

 private:
  enum class Written : uint8_t { kDone, kAgain };

  void run();
  bool look();
  // What an earlier writer wrote and nobody would take back: of every object that has messages of ours.
  bool find_stale();
  bool find_stale(const KubernetesKind& kind);
  void write_due();
  Written write(const ObjectName& name, const std::vector<Finding>& findings);
  void tell_event(const nlohmann::json& object, const Finding& finding);
  void count_failure(const absl::Status& status);

  const Options options_;
  ApiCaller api_;
  Lease lease_;
  absl::Time next_look_ = absl::InfinitePast();  // writer's thread

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  ObjectFindings wanted_;
  std::set<ObjectName> due_;  // differ from what was written last, as far as we know
  bool told_ = false;
  bool stopping_ = false;
  Counts counts_;
  std::thread thread_;  // last
};

}  // namespace weft::control_plane
