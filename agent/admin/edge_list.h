// The Edges service of <run-dir>/agent.sock: who talks to whom, from what the kernel and the proxy counted.
// gRPC threads call it.
#pragma once

#include <vector>

#include "agent/dataplane/dataplane.h"
#include "agent/feed/proxy_status.h"
#include "agent/mesh/id_registry.h"
#include "agent/mesh/model.h"
#include "agent/mesh/reconciler.h"
#include "proto/weft/admin/v1/edges.grpc.pb.h"
#include "proto/weft/proxy/v1/telemetry.pb.h"

namespace weft::agent {

// Rows of the kernel's table and series of the proxy as edges. `node`: whose rows these are. Pure.
std::vector<admin::v1::Edge> edges_of(const std::vector<FlowRow>& flows, const proxy::v1::Metrics& metrics,
                                      const IdRegistry& ids, const MeshModel& model, const std::string& node);

class EdgeList final : public admin::v1::Edges::Service {
 public:
  // All outlive it.
  EdgeList(std::string node_name, Reconciler& reconciler, const Dataplane& dataplane, ProxyStatus& proxy)
      : node_name_(std::move(node_name)), reconciler_(reconciler), dataplane_(dataplane), proxy_(proxy) {}

  grpc::Status List(grpc::ServerContext*, const admin::v1::ListEdgesRequest* request,
                    admin::v1::EdgeList* reply) override;

 private:
  const std::string node_name_;
  Reconciler& reconciler_;
  const Dataplane& dataplane_;
  ProxyStatus& proxy_;
};

}  // namespace weft::agent
