// weft-control, put together: a control plane for all nodes, served to agents over TLS, with a certificate
// service, metrics and health. main.cc brings the control plane; tests bring one from memory. Replicas know
// nothing of each other: equal objects give equal resources and versions, so that an agent may go on at any
// of them.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>

#include <grpcpp/server.h>

#include "absl/status/statusor.h"
#include "base/address.h"
#include "base/http_server.h"
#include "control-plane/control_plane.h"
#include "control-plane/discovery/ads_service.h"
#include "control-plane/discovery/node_pods.h"
#include "control-plane/identity/certificate_authority.h"
#include "control-plane/identity/certificate_service.h"
#include "control-plane/join/join_service.h"
#include "control-plane/kubernetes/kubernetes_control_plane.h"
#include "control-plane/serve/callers.h"
#include "control-plane/serve/node_workloads.h"
#include "control-plane/serve/server_certificate.h"
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
    // Makes machines without Kubernetes nodes of the mesh. Null: none can join.
    std::unique_ptr<JoinDesk> join;
    // Writes findings to the objects. Null: nobody does.
    std::unique_ptr<StatusWriter> status;
  };

  // Serves nobody before the control plane has told everything once. On an error everything that was started
  // is stopped again.
  static absl::StatusOr<std::unique_ptr<ControlServer>> start(Options options, Parts parts);
  // Refuses new calls and ends running ones; agents go on with what they know.
  ~ControlServer();

  // What is due from time to time; some times an hour at least.
  void tick(absl::Time now);

  SocketAddress address() const { return address_; }
  SocketAddress metrics_address() const { return metrics_->address(); }
  SocketAddress health_address() const { return health_->address(); }

 private:
  ControlServer(Options options, Parts parts);
  absl::Status start_all();
  absl::Status listen();
  void on_change(const Change& change);
  HttpReply serve_metrics(std::string_view path) const;
  HttpReply serve_health(std::string_view path) const;

  const Options options_;
  const Parts parts_;
  Callers callers_;
  NodeWorkloads workloads_;
  NodePods pods_;  // the control plane's threads, one at a time
  std::unique_ptr<AdsService> ads_;
  std::unique_ptr<CertificateService> certificates_;
  std::unique_ptr<JoinService> joins_;  // null: nobody joins
  std::unique_ptr<ServerCertificate> certificate_;
  SocketAddress address_;
  std::atomic<uint64_t> generation_ = 0;
  std::atomic<uint64_t> rejected_ = 0;
  std::unique_ptr<HttpServer> metrics_;
  std::unique_ptr<HttpServer> health_;
  std::unique_ptr<ControlPlane> control_plane_;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace weft::control_plane
