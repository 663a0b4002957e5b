// See kubernetes_control_plane.h: KubernetesSource → Pipeline.
#include "control-plane/kubernetes/kubernetes_control_plane.h"

#include <utility>

#include "base/status_macros.h"
#include "control-plane/kubernetes/kubernetes_source.h"
#include "control-plane/pipeline.h"

namespace weft::control_plane {
namespace {

class WatchingControlPlane final : public KubernetesControlPlane {
 public:
  WatchingControlPlane(const std::string& node_name, Subscriber subscriber)
      : pipeline_(node_name, std::move(subscriber)) {}

  absl::Status run(const KubernetesOptions& options) {
    absl::StatusOr<ApiAccess> access = options.kubeconfig.empty()
                                           ? in_cluster_access()
                                           : read_kubeconfig(options.kubeconfig, options.context);
    RETURN_IF_ERROR(annotate("access to the Kubernetes API", access.status()));
    KubernetesSource::Options source;
    source.timing.first_look = options.first_look;
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

 private:
  Pipeline pipeline_;
  // Last: its thread ends while all that it uses is there.
  std::unique_ptr<KubernetesSource> source_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<KubernetesControlPlane>> start_kubernetes(
    KubernetesOptions options, ControlPlane::Subscriber subscriber) {
  auto control_plane = std::make_unique<WatchingControlPlane>(options.node_name, std::move(subscriber));
  RETURN_IF_ERROR(control_plane->run(options));
  return control_plane;
}

}  // namespace weft::control_plane
