// A ControlPlane whose objects come from a Kubernetes API server. The agent's door to this folder.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "control-plane/control_plane.h"
#include "control-plane/kubernetes/api_access.h"
#include "control-plane/kubernetes/source_report.h"

namespace weft::control_plane {

struct KubernetesOptions {
  std::string node_name;
  // Empty: in a pod, by its ServiceAccount.
  std::string kubeconfig;
  std::string context;  // empty: the file's current one
  // NAMESPACE/NAME of the DaemonSet that this process runs for; empty: none.
  std::string own_daemonset = {};
  // The server must have told everything once after so long.
  std::chrono::milliseconds first_limit{60'000};
  // A kind that the server does not know is missing when it says so three times; the first two pauses are
  // about once and twice this.
  std::chrono::milliseconds first_look{1'000};
  // Asked while that is awaited; true: the process is to end. May be empty.
  std::function<bool()> give_up;
  FetchKeys fetch_keys;
  // As of ControlPlane::Options.
  std::vector<std::string> certificate_folders = {};
  // Of Weft's own pods: on nodes where those run captured pods take tunnels; none: pods that say so do.
  std::set<std::string> own_namespaces = {};
};

// What the API server says of the DaemonSet that this process runs for. Any thread.
class OwnInstallation {
 public:
  virtual ~OwnInstallation() = default;
  // The server said that it was there and is gone: nobody comes after this process. False on any doubt.
  virtual bool uninstalled() const = 0;
  // Asks the server once more; until it answers, again within KubernetesSource::Options::own_longest_retry,
  // and half of it.
  virtual void ask_anew() = 0;
  // It has answered since then: what uninstalled() says is no older.
  virtual bool answered() const = 0;
};

class KubernetesControlPlane : public ControlPlane, public OwnInstallation {
 public:
  // Any thread.
  virtual SourceReport report() const = 0;
};

// Calls `subscriber` with the first change, which is everything, before it returns; all calls come from the
// control plane's own threads. Errors: the access is not usable (see api_access.h), InvalidArgument (no
// NAMESPACE/NAME), DeadlineExceeded with what the server answered, Cancelled.
absl::StatusOr<std::unique_ptr<KubernetesControlPlane>> start_kubernetes(KubernetesOptions options,
                                                                         ControlPlane::Subscriber subscriber);

// Whether the DaemonSet that an agent runs for is being uninstalled, for an agent whose configuration comes
// from elsewhere: of the API server nothing else is read than that DaemonSet and its namespace.
class DaemonSetWatch : public OwnInstallation {
 public:
  // Any thread: why an uninstall might not be noticed, each ending with " (next: …)".
  virtual std::vector<std::string> problems() const = 0;
};

// As this pod; does not wait for the server. `own_daemonset`: NAMESPACE/NAME. Errors: this is no pod,
// InvalidArgument (no NAMESPACE/NAME).
absl::StatusOr<std::unique_ptr<DaemonSetWatch>> watch_own_daemonset(const std::string& own_daemonset);
// With another access; for tests.
absl::StatusOr<std::unique_ptr<DaemonSetWatch>> watch_own_daemonset(ApiAccess access,
                                                                    const std::string& own_daemonset);

}  // namespace weft::control_plane
