// The Admin service of <run-dir>/agent.sock (proto/weft/admin): asks the reconciler, the proxy and the
// kernel, and answers. gRPC threads call it; it keeps no state of its own.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "agent/admin/checks.h"
#include "agent/feed/observe_hub.h"
#include "agent/feed/proxy_status.h"
#include "agent/mesh/reconciler.h"
#include "proto/weft/admin/v1/admin.grpc.pb.h"

namespace weft::agent {

// The two code lists are the same numbers (google.rpc.Code).
grpc::Status to_grpc(const absl::Status& status);

class AdminService final : public admin::v1::Admin::Service {
 public:
  struct Parts {
    std::string node_name;
    std::string config_source;
    Reconciler& reconciler;
    const Dataplane& dataplane;
    ProxyStatus& proxy;
    ObserveHub& hub;
    // Cookies that the proxy acknowledged.
    std::function<std::set<uint64_t>()> served;
    // The newest generation that a proxy acknowledged in delta ADS.
    std::function<uint64_t()> acked;
    // What the proxy refused in delta ADS: name to reason.
    std::function<std::vector<std::string>()> rejected;
    // What the source of the configuration is stuck with.
    std::function<std::vector<std::string>()> source_problems;
    // Why the runtime does not use the CNI plugin; nullopt: it is not ours to install.
    std::function<std::optional<std::string>()> cni_problem = {};
  };
  explicit AdminService(Parts parts);

  // Ends running Observe and WatchRequests calls; later ones are refused.
  void shutdown() {
    const std::lock_guard lock(stop_mutex_);
    stopping_ = true;
    stopped_.notify_all();
  }

  grpc::Status GetStatus(grpc::ServerContext*, const admin::v1::GetStatusRequest*,
                         admin::v1::NodeStatus* reply) override;
  grpc::Status Check(grpc::ServerContext*, const admin::v1::CheckRequest*,
                     admin::v1::CheckReport* reply) override;
  grpc::Status ListServices(grpc::ServerContext*, const admin::v1::ListRequest*,
                            admin::v1::ServiceList* reply) override;
  grpc::Status ListEndpoints(grpc::ServerContext*, const admin::v1::ListRequest*,
                             admin::v1::EndpointList* reply) override;
  grpc::Status ListWorkloads(grpc::ServerContext*, const admin::v1::ListRequest*,
                             admin::v1::WorkloadList* reply) override;
  grpc::Status ListRoutes(grpc::ServerContext*, const admin::v1::ListRequest*,
                          admin::v1::RouteList* reply) override;
  grpc::Status Observe(grpc::ServerContext* context, const admin::v1::ObserveRequest* request,
                       grpc::ServerWriter<proxy::v1::Exchange>* writer) override;
  grpc::Status Enroll(grpc::ServerContext*, const admin::v1::EnrollRequest* request,
                      admin::v1::EnrollResponse* reply) override;
  grpc::Status Unenroll(grpc::ServerContext*, const admin::v1::UnenrollRequest*,
                        admin::v1::UnenrollResponse* reply) override;
  grpc::Status GetKernel(grpc::ServerContext* context, const admin::v1::GetKernelRequest* request,
                         admin::v1::KernelState* reply) override;
  grpc::Status ListConnections(grpc::ServerContext* context, const admin::v1::ConnectionsRequest* request,
                               admin::v1::ConnectionList* reply) override;
  grpc::Status DumpMap(grpc::ServerContext* context, const admin::v1::DumpMapRequest* request,
                       admin::v1::MapDump* reply) override;
  grpc::Status Diff(grpc::ServerContext* context, const admin::v1::DiffRequest* request,
                    admin::v1::DiffReport* reply) override;
  grpc::Status Trace(grpc::ServerContext* context, const admin::v1::TraceRequest* request,
                     admin::v1::TraceReport* reply) override;
  grpc::Status WatchRequests(grpc::ServerContext* context, const admin::v1::WatchRequestsRequest* request,
                             grpc::ServerWriter<admin::v1::RequestCounts>* writer) override;

 private:
  struct Explained;

  bool gather(NodeFacts* facts, admin::v1::NodeStatus* status);
  // The mesh of now as the proxy would fold it, made once for all who ask until it changes; nullptr: the
  // agent is stopping.
  std::shared_ptr<const Explained> explained();
  grpc::Status explain_routes(admin::v1::RouteList* list);
  template <typename List, typename F>
  grpc::Status list(const admin::v1::ListRequest& request, List* reply, F rows);

  Parts parts_;
  std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
  std::atomic<bool> stopping_{false};
  std::mutex stop_mutex_;
  std::condition_variable stopped_;
  std::mutex explained_mutex_;
  std::shared_ptr<const Explained> explained_;
};

}  // namespace weft::agent
