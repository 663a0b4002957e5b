// The agent of one node, put together: reconciler, feeds, admin, metrics. main.cc brings the kernel half and
// the control plane (tests bring fakes); start() and stop() are the order of life, top to bottom. Never
// touches traffic.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "agent/admin/admin_service.h"
#include "agent/admin/authorization_list.h"
#include "agent/admin/certificate_list.h"
#include "agent/admin/edge_list.h"
#include "agent/cni/installer.h"
#include "agent/cni/server.h"
#include "agent/feed/grpc_unix_server.h"
#include "agent/feed/handover_server.h"
#include "agent/feed/observe_hub.h"
#include "agent/feed/revocation_service.h"
#include "agent/feed/telemetry_service.h"
#include "agent/mesh/reconciler.h"
#include "agent/metrics/exporter.h"
#include "agent/metrics/rejections.h"
#include "agent/pods/sandbox_watch.h"
#include "base/fd.h"
#include "base/http_server.h"
#include "control-plane/control_plane.h"
#include "control-plane/discovery/ads_service.h"
#include "control-plane/identity/certificate_service.h"
#include "control-plane/kubernetes/kubernetes_control_plane.h"
#include "control-plane/policy_manifest.h"
#include "control-plane/remote/remote_control_plane.h"

namespace weft::agent {

class Agent {
 public:
  struct Options {
    std::string node_name;
    std::string config_source;
    std::string run_dir = "/run/weft";
    SocketAccess proxy_access;
    SocketAddress metrics_address;
    SocketAddress health_address;
    GatewayFeed::Options gateways = {};
  };
  struct Parts {
    std::unique_ptr<Dataplane> dataplane;
    std::unique_ptr<control_plane::AdsService> ads;
    std::function<absl::StatusOr<std::unique_ptr<control_plane::ControlPlane>>(
        control_plane::ControlPlane::Subscriber)>
        start_control_plane;
    // What the control plane's source says about itself; any thread, also while it starts. Empty: nothing.
    std::function<control_plane::SourceReport()> source_report;
    // Signs for the pods of this node. Null: `sign_elsewhere` does.
    std::unique_ptr<control_plane::CertificateAuthority> authority;
    // Empty too: pods get no certificates.
    control_plane::CertificateService::Sign sign_elsewhere;
    // False: whoever signs does so for pods of the node alone.
    bool signs_for_gateways = true;
    // The revocation lists for this node's proxy, PEM; empty: the authority's, or none. Any thread.
    std::function<absl::StatusOr<std::string>()> revocations;
    // What weft-control's client counts; empty: the configuration comes from elsewhere. Any thread.
    std::function<control_plane::RemoteReport()> remote_report;
    // What a manifest's policies are compiled to, for `weft authz shadow`.
    control_plane::ReadPolicies read_policies;
    NetnsProbe probe = probe_netns;
    // Where the cgroups of pods are; nullopt: manifests say where pods are, by annotation.
    std::optional<SandboxWatch::Options> find_pods = {};
    // Where the CNI plugin is to be installed; nullopt: nowhere. Socket and file of its configuration are of
    // the run dir.
    std::optional<CniInstaller::Options> cni = {};
  };

  // On an error everything that was started is stopped again.
  static absl::StatusOr<std::unique_ptr<Agent>> start(Options options, Parts parts);
  // Leaves capture in place: traffic goes on without the agent.
  ~Agent();

  // Nothing is captured from now on; what is goes on to its end. Nobody is answered any more.
  void stop_capturing();
  // Namespaces that are captured, or have captured connections that are still open.
  size_t captured();

  SocketAddress metrics_address() const { return metrics_->address(); }
  SocketAddress health_address() const { return health_->address(); }

 private:
  Agent(Options options, Parts parts);
  absl::Status start_all();
  void end_questions();
  absl::Status start_pods();
  void take_change(const control_plane::Change& change);
  HttpReply serve_metrics(std::string_view path);
  HttpReply serve_health(std::string_view path);
  MetricsInput gather_metrics();
  std::string run_path(std::string_view name) const;
  bool is_pod(const SpiffeId& id);
  bool is_gateway(const SpiffeId& id);
  std::vector<grpc::Service*> proxy_services();
  std::vector<grpc::Service*> admin_services();
  std::vector<std::string> rejected() const;
  uint64_t acked() const;
  control_plane::SourceReport source_report() const;

  Options options_;
  Parts parts_;
  ObserveHub hub_;
  UniqueFd heartbeat_;
  HandoverServer handover_;
  // Null: pods are not looked for. Ends after the reconciler's thread, which tells it what to look for.
  std::unique_ptr<SandboxWatch> sandbox_watch_;
  Reconciler reconciler_;
  TelemetryService telemetry_;
  std::unique_ptr<control_plane::CertificateService> certificates_;
  std::unique_ptr<RevocationService> revocations_;
  std::unique_ptr<CertificateList> certificate_list_;
  std::unique_ptr<AuthorizationList> authorization_list_;
  std::unique_ptr<EdgeList> edge_list_;
  std::unique_ptr<CniServer> cni_server_;
  std::unique_ptr<CniInstaller> cni_installer_;
  std::unique_ptr<AdminService> admin_;
  std::unique_ptr<control_plane::ControlPlane> control_plane_;
  std::unique_ptr<GrpcUnixServer> proxy_server_;
  std::unique_ptr<GrpcUnixServer> admin_server_;
  std::unique_ptr<HttpServer> metrics_;
  std::unique_ptr<HttpServer> health_;
  std::atomic<double> last_ack_seconds_{0};
  Rejections refused_manifests_;
  Rejections refused_by_proxy_;
};

}  // namespace weft::agent
