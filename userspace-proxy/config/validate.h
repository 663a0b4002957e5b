// From protobuf to checked values: every rule that a resource must keep by itself. A failure is a NACK line,
// so messages name the field and what was expected. Called by ResourceStore on the configuration thread;
// knows no other resource.
#pragma once

#include "absl/status/statusor.h"
#include "proto/istio/workload.pb.h"
#include "proto/weft/mesh/v1/mesh.pb.h"
#include "proto/weft/mesh/v1/mesh_config.pb.h"
#include "userspace-proxy/config/resources.h"

namespace weft::proxy {

absl::StatusOr<ServiceSpec> validate(const istio::workload::Service& service);
absl::StatusOr<WorkloadSpec> validate(const istio::workload::Workload& workload);
// Rate limits that are in the table keep their buckets; others come to it. Identities are those of the table.
absl::StatusOr<RouteSetSpec> validate(const weft::mesh::v1::RouteSet& set, LimiterTable& limiters,
                                      DialIdentityTable& identities);
inline absl::StatusOr<RouteSetSpec> validate(const weft::mesh::v1::RouteSet& set, LimiterTable& limiters) {
  DialIdentityTable identities;
  return validate(set, limiters, identities);
}
inline absl::StatusOr<RouteSetSpec> validate(const weft::mesh::v1::RouteSet& set) {
  LimiterTable limiters;
  return validate(set, limiters);
}
absl::StatusOr<PolicySpec> validate(const weft::mesh::v1::DestinationPolicy& policy);
absl::StatusOr<MeshSpec> validate(const weft::mesh::v1::MeshConfig& config);

// As validate() compiles the matches of a RouteSet; for tests of matching.
absl::StatusOr<HttpMatcher> compile_match(const weft::mesh::v1::HttpMatch& match);

// `unset` is what an empty StringMatch means there: kPresent for headers and parameters, kAny otherwise.
absl::StatusOr<StringMatcher> compile_string(const weft::mesh::v1::StringMatch& match,
                                             StringMatcher::Kind unset, bool ignore_case = false);

// Lower case; a leading "*." becomes ".". Errors on an empty name, "*" inside, or more than 253 characters.
absl::StatusOr<std::string> normalise_host(std::string_view host, bool wildcard_allowed);

}  // namespace weft::proxy
