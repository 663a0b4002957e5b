// A ControlPlane that is elsewhere: weft-control tells by delta ADS what changed, as the embedded ones tell
// it in this process. While it is away what it told last stays in force, the report says so, and the next
// stream asks only for what has changed. The agent's door to this folder.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "control-plane/control_plane.h"
#include "control-plane/remote/control_channel.h"

namespace weft::control_plane {

struct RemoteOptions {
  ControlAccess access;
  std::string node_name;
  // It opens ports for clients outside the mesh, so it needs what only those are told.
  bool gateway = false;
  // weft-control must have told everything once after so long.
  std::chrono::milliseconds first_limit{60'000};
  std::chrono::milliseconds backoff_min{500};
  // With a jitter of half of it: after an outage every agent is back within seconds.
  std::chrono::milliseconds backoff_max{5'000};
  // Asked while that is awaited; true: the process is to end. May be empty.
  std::function<bool()> give_up;
};

struct RemoteReport {
  bool connected = false;
  // Why the configuration may be old, ending with " (next: …)"; empty: it is not.
  std::vector<std::string> problems;
  // Counts since the start.
  uint64_t streams = 0;    // that answered
  uint64_t failures = 0;   // attempts and streams that ended
  uint64_t resources = 0;  // received
  uint64_t removals = 0;
  uint64_t bytes = 0;
};

class RemoteControlPlane : public ControlPlane {
 public:
  virtual RemoteReport report() const = 0;  // any thread
  // The revocation lists that weft-control told last, PEM; empty: none. kUnavailable: it has told of none
  // yet, because it cannot read its own; what was revoked before stays so. Any thread.
  virtual absl::StatusOr<std::string> revocations() const = 0;
};

// Calls `subscriber` with the first change, which is everything, before it returns; all calls come from one
// thread of the control plane. Changes have no findings: those are told where the objects are. Errors:
// DeadlineExceeded with why weft-control was not reached, Cancelled.
absl::StatusOr<std::unique_ptr<RemoteControlPlane>> start_remote(RemoteOptions options,
                                                                 ControlPlane::Subscriber subscriber);

// Has weft-control sign a request (PEM) of a workload of this node, as CertificateService::Sign asks: PEM
// each, the leaf, the intermediates, the bundle of roots. Errors are weft-control's own, or why it was not
// reached.
absl::StatusOr<std::vector<std::string>> sign_remotely(ControlChannel& channel, const std::string& request,
                                                       const std::string& identity, absl::Duration lifetime);

}  // namespace weft::control_plane
