// weft-control, put together: a control plane for all nodes, served to agents over TLS, with a certificate
// service, metrics and health. main.cc brings the control plane; tests bring one from memory. Replicas know
// nothing of each other: equal objects give equal resources and versions, so that an agent may go on at any
// of them.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <grpcpp/server.h>

#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "base/address.h"
#include "base/http_server.h"
#include "control-plane/control_plane.h"
#include "control-plane/discovery/ads_service.h"
#include "control-plane/discovery/node_findings.h"
#include "control-plane/discovery/node_pods.h"
#include "control-plane/identity/certificate_authority.h"
#include "control-plane/identity/certificate_service.h"
#include "control-plane/join/join_service.h"
#include "control-plane/kubernetes/kubernetes_control_plane.h"
#include "control-plane/serve/callers.h"
#include "control-plane/serve/gateway_identities.h"
#include "control-plane/serve/node_workloads.h"
#include "control-plane/serve/server_certificate.h"
#include "control-plane/serve/webhook_server.h"
#include "control-plane/status/status_writer.h"

namespace weft::control_plane {

class ControlServer {
 public:
  struct Options {
    SocketAddress address;
    SocketAddress metrics_address;
    SocketAddress health_address;
    ServerCertificate::Options certificate;
    Callers::Options callers;
    // A connection is ended after so long, give or take a tenth: agents prove anew who they are, and spread
    // over replicas that came later.
    absl::Duration connection_age = absl::Minutes(30);
    // Of the validating webhook, with the same certificate; absent: there is none.
    std::optional<SocketAddress> webhook_address = std::nullopt;
    // That may serve Gateways, and are given the keys for it when their agents say that they do; "*": all.
    std::set<std::string> gateway_nodes = {};
  };
  struct Parts {
    std::unique_ptr<CertificateAuthority> authority;
    // Empty: no token counts.
    Callers::Review review;
    // Tells about all nodes (kAllNodes).
    std::function<absl::StatusOr<std::unique_ptr<ControlPlane>>(ControlPlane::Subscriber)>
        start_control_plane;
    // What its source says about itself; any thread, also while it starts. Empty: nothing.
    std::function<SourceReport()> source_report;
    // The revocation lists of now, PEM, read at each tick(): while they cannot be read agents are told
    // nothing, and what they hold stays in force. Empty: none.
    std::function<absl::StatusOr<std::string>()> revocations;
    // Makes machines without Kubernetes nodes of the mesh. Null: none can join.
    std::shared_ptr<JoinDesk> join;
    // Writes findings to the objects. Null: nobody does.
    std::unique_ptr<StatusWriter> status;
  };

  // Serves nobody before the control plane has told everything once. On an error everything that was started
  // is stopped again.
  static absl::StatusOr<std::unique_ptr<ControlServer>> start(Options options, Parts parts);
  // Refuses new calls and ends running ones; agents go on with what they know.
  ~ControlServer();

  // What is due from time to time; some times a minute, for a revocation list takes effect by it.
  void tick(absl::Time now);

  SocketAddress address() const { return address_; }
  SocketAddress metrics_address() const { return metrics_->address(); }
  SocketAddress health_address() const { return health_->address(); }
  // Of the options that have one.
  SocketAddress webhook_address() const { return webhook_->address(); }

 private:
  ControlServer(Options options, Parts parts);
  absl::Status start_all();
  absl::Status listen();
  absl::Status start_webhook();
  void tell_authorities();
  void on_change(const Change& change);
  bool serves_gateways(const std::string& node) const;
  bool may_be(const std::string& node, const SpiffeId& id) const;
  void tell_findings(const Change& change, Change& served);
  void look_for_revocations();
  HttpReply serve_metrics(std::string_view path) const;
  HttpReply serve_health(std::string_view path) const;

  const Options options_;
  const Parts parts_;
  const std::shared_ptr<Callers> callers_;
  NodeWorkloads workloads_;
  GatewayIdentities gateways_;
  NodePods pods_;  // the control plane's threads, one at a time
  NodeFindings findings_;
  std::vector<Finding> findings_told_;
  std::shared_ptr<const GatewayApiStatus> status_told_;
  absl::Mutex applying_;                    // around what streams are told, so that generations come in order
  std::optional<std::string> revocations_;  // as told last; nullopt: nothing yet; tick's thread
  std::unique_ptr<AdsService> ads_;
  std::unique_ptr<CertificateService> certificates_;
  std::unique_ptr<JoinService> joins_;  // null: nobody joins
  std::unique_ptr<ServerCertificate> certificate_;
  SocketAddress address_;
  std::atomic<uint64_t> generation_ = 0;
  std::atomic<uint64_t> rejected_ = 0;
  std::unique_ptr<HttpServer> metrics_;
  std::unique_ptr<HttpServer> health_;
  std::unique_ptr<WebhookServer> webhook_;
  std::unique_ptr<ControlPlane> control_plane_;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace weft::control_plane
