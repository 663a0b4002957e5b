// Rows of `weft get`, made from the model and the pods. Pure; called by the admin service on the reconciler's
// thread.
#pragma once

#include "agent/mesh/reconciler.h"
#include "proto/weft/admin/v1/admin.pb.h"

namespace weft::agent {

admin::v1::ServiceList list_services(const Reconciler::View& view, const admin::v1::ListRequest& request);
admin::v1::EndpointList list_endpoints(const Reconciler::View& view, const admin::v1::ListRequest& request);
admin::v1::WorkloadList list_workloads(const Reconciler::View& view, const admin::v1::ListRequest& request);
admin::v1::RouteList list_routes(const Reconciler::View& view, const admin::v1::ListRequest& request);

// "prefix /api, header x-user=jason or path /"; "any".
std::string match_text(const mesh::v1::HttpRoute& route);

}  // namespace weft::agent
