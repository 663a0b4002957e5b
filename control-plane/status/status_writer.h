// Writes back to the API server what is wrong with objects and what became of them: Istio's
// status.validationMessages, conditions and parents of the Gateway API, an Event for each new error, and the
// authorities of the webhook. Of several replicas one writes (Lease). What is as it should be is not written.
// Has a thread; whoever holds changes never waits for it.
#pragma once

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "control-plane/kubernetes/api_caller.h"
#include "control-plane/kubernetes/backoff.h"
#include "control-plane/status/lease.h"
#include "control-plane/status/object_status.h"

namespace weft::control_plane {

class StatusWriter {
 public:
  struct Options {
    Lease::Options lease;
    // Between two looks at the lease.
    std::chrono::milliseconds look{5'000};
    // Before what failed is tried again: twice as long each time, up to the second.
    std::chrono::milliseconds retry{1'000};
    std::chrono::milliseconds longest_retry{60'000};
    // Between two looks at what nobody watches: GatewayClasses, and the webhook's configuration.
    std::chrono::milliseconds unwatched{30'000};
    // IPs at which Gateways are reached, for their status; empty: not said.
    std::vector<std::string> gateway_addresses = {};
    // ValidatingWebhookConfiguration that gets the authorities of tell_authorities(); empty: none.
    std::string webhook_configuration = {};
  };
  struct Counts {
    bool leads = false;
    uint64_t written = 0;  // objects' status
    uint64_t events = 0;
    uint64_t failed = 0;
    // Why the lease could not be asked for at the last look, with " (next: …)"; empty: it could.
    std::string problem = {};
  };

  StatusWriter(ApiAccess access, Options options);
  // Gives the lease back and joins.
  ~StatusWriter();

  // All findings that there are, and all that the Gateway API's objects are told (null: nothing). Any thread;
  // returns at once.
  void tell(const std::vector<Finding>& findings, std::shared_ptr<const GatewayApiStatus> gateway_api);
  // PEM of whom the API server is to trust when it asks the webhook. Any thread; returns at once.
  void tell_authorities(std::string pem);
  Counts counts() const;

 private:
  enum class Written : uint8_t {
    kDone,
    kFailed,   // this one
    kNoServer  // and others would too
  };

  void run();
  // Whether this process leads and is to go on; asks the lease when its look is due. Before each call.
  bool leads();
  void look();
  void show_problem();
  // All of a leader's work that is due. False: something failed.
  bool work();
  // Once for each leadership, a kind at a time: finds every object whose status is not as it should be,
  // whoever wrote it. False: not to its end.
  bool sweep();
  bool sweep(const KubernetesKind& kind);
  void note_due(const KubernetesKind& kind, const nlohmann::json& items);
  bool write_due();
  Written write(const ObjectName& name);
  Written failed(const absl::Status& status);
  bool write_unwatched();
  // Of GatewayClasses that name Weft's controller.
  bool write_classes();
  bool write_authorities();
  absl::Status patch_status(const std::string& path, const nlohmann::json& object,
                            const nlohmann::json& status);
  void tell_event(const nlohmann::json& object, const Finding& finding);
  std::vector<Finding> findings_of(const ObjectName& name) const;
  std::optional<nlohmann::json> status_now(const ObjectName& name, const nlohmann::json& object) const;
  void count_failure(const absl::Status& status);
  // Until there is something to do. False: the end.
  bool pause();

  const Options options_;
  ApiCaller api_;

  // The writer's thread.
  Lease lease_;
  absl::Time next_look_ = absl::InfinitePast();
  absl::Time next_unwatched_ = absl::InfinitePast();
  absl::Time not_before_ = absl::InfinitePast();  // after a failure
  absl::Time shown_ = absl::InfinitePast();       // the lease's problem, in the log
  absl::Time failure_shown_ = absl::InfinitePast();
  Backoff backoff_;
  std::minstd_rand random_;
  std::set<const KubernetesKind*> unswept_;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  ObjectFindings wanted_;
  std::shared_ptr<const GatewayApiStatus> gateway_api_;
  // Differ from what was written last, as far as we know. Only while this process leads: whoever begins to
  // lead looks at all objects.
  std::set<ObjectName> due_;
  std::string authorities_;
  bool told_ = false;
  bool stopping_ = false;
  Counts counts_;
  std::thread thread_;  // last
};

}  // namespace weft::control_plane
