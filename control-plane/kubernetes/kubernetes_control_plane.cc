// See kubernetes_control_plane.h: KubernetesSource → Pipeline.
#include "control-plane/kubernetes/kubernetes_control_plane.h"

#include <utility>

#include "base/status_macros.h"
#include "base/strings.h"
#include "control-plane/kubernetes/kubernetes_source.h"
#include "control-plane/kubernetes/object_place.h"
#include "control-plane/pipeline.h"

namespace weft::control_plane {
namespace {

absl::Status name_own(const std::string& text, KubernetesSource::Options& source) {
  if (text.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(ObjectPlace place, parse_place("--daemonset", text));
  source.own_namespace = std::move(place.ns);
  source.own_daemonset = std::move(place.name);
  return absl::OkStatus();
}

class WatchingControlPlane final : public KubernetesControlPlane {
 public:
  WatchingControlPlane(const KubernetesOptions& options, Subscriber subscriber)
      : pipeline_(options.node_name, options.fetch_keys, std::move(subscriber), options.certificate_folders,
                  options.own_namespaces) {}
  // The source's thread may wait for look-ups.
  ~WatchingControlPlane() override { pipeline_.stop(); }

  absl::Status run(const KubernetesOptions& options) {
    absl::StatusOr<ApiAccess> access = options.kubeconfig.empty()
                                           ? in_cluster_access()
                                           : read_kubeconfig(options.kubeconfig, options.context);
    RETURN_IF_ERROR(annotate("access to the Kubernetes API", access.status()));
    KubernetesSource::Options source;
    source.timing.first_look = options.first_look;
    RETURN_IF_ERROR(name_own(options.own_daemonset, source));
    ASSIGN_OR_RETURN(source_,
                     KubernetesSource::start(*std::move(access), source, [this](Store::Changes changes) {
                       pipeline_.update(std::move(changes));
                     }));
    if (source_->wait_for_first(options.first_limit, options.give_up)) return absl::OkStatus();
    if (options.give_up && options.give_up()) return absl::CancelledError("told to stop");
    const SourceReport report = source_->report();
    return absl::DeadlineExceededError(
        report.problems.empty() ? "the Kubernetes API server has not told everything in time; next: see "
                                  "whether it answers: kubectl get --raw /readyz"
                                : report.problems.front());
  }

  SourceReport report() const override { return source_->report(); }
  bool uninstalled() const override { return source_->uninstalled(); }
  void ask_anew() override { source_->ask_anew(); }
  bool answered() const override { return source_->answered(); }

 private:
  Pipeline pipeline_;
  // Last: its thread ends while all that it uses is there.
  std::unique_ptr<KubernetesSource> source_;
};

class OwnWatch final : public DaemonSetWatch {
 public:
  explicit OwnWatch(std::unique_ptr<KubernetesSource> source) : source_(std::move(source)) {}
  std::vector<std::string> problems() const override { return source_->report().problems; }
  bool uninstalled() const override { return source_->uninstalled(); }
  void ask_anew() override { source_->ask_anew(); }
  bool answered() const override { return source_->answered(); }

 private:
  const std::unique_ptr<KubernetesSource> source_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<DaemonSetWatch>> watch_own_daemonset(ApiAccess access,
                                                                    const std::string& own_daemonset) {
  KubernetesSource::Options options;
  options.own_only = true;
  RETURN_IF_ERROR(name_own(own_daemonset, options));
  ASSIGN_OR_RETURN(std::unique_ptr<KubernetesSource> source,
                   KubernetesSource::start(std::move(access), options, [](const Store::Changes&) {}));
  return std::make_unique<OwnWatch>(std::move(source));
}

absl::StatusOr<std::unique_ptr<DaemonSetWatch>> watch_own_daemonset(const std::string& own_daemonset) {
  absl::StatusOr<ApiAccess> access = in_cluster_access();
  RETURN_IF_ERROR(annotate("--daemonset", access.status()));
  return watch_own_daemonset(*std::move(access), own_daemonset);
}

absl::StatusOr<std::unique_ptr<KubernetesControlPlane>> start_kubernetes(
    KubernetesOptions options, ControlPlane::Subscriber subscriber) {
  auto control_plane = std::make_unique<WatchingControlPlane>(options, std::move(subscriber));
  RETURN_IF_ERROR(control_plane->run(options));
  return control_plane;
}

}  // namespace weft::control_plane
