// trafficPolicy of a DestinationRule, of a subset and of a port (Istio's networking API): load balancer,
// connection pool, outlier detection, TLS, retry budget. Called by parse_destination_rule.cc; reports through
// the reader.
#pragma once

#include "control-plane/resource/field_reader.h"
#include "proto/weft/mesh/v1/mesh.pb.h"

namespace weft::control_plane {

// The field "trafficPolicy" of `owner`; false when it is absent or was reported.
bool parse_traffic_policy(const FieldReader& owner, mesh::v1::TrafficPolicy& out);

// The field "loadBalancer" of a policy; likewise.
bool parse_load_balancer(const FieldReader& policy, mesh::v1::LoadBalancing& out);
// The field "localityLbSetting".
bool parse_locality(const FieldReader& owner, mesh::v1::LocalityBalancing& out);
// The field "connectionPool".
bool parse_connection_pool(const FieldReader& policy, mesh::v1::ConnectionPool& out);

}  // namespace weft::control_plane
