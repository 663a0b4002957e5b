// The resources in force, by ADS type and name: a good one replaces the old, a bad one is refused and the old
// stays. Used by the configuration client on its thread; knows nothing of streams.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "proto/xds/discovery.pb.h"
#include "userspace-proxy/config/resources.h"

namespace weft::proxy {

inline constexpr std::string_view kAddressType = "type.googleapis.com/istio.workload.Address";
inline constexpr std::string_view kRouteSetType = "type.googleapis.com/weft.mesh.v1.RouteSet";
inline constexpr std::string_view kDestinationPolicyType =
    "type.googleapis.com/weft.mesh.v1.DestinationPolicy";
inline constexpr std::string_view kSecretType =
    "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";
inline constexpr std::string_view kAuthenticationType =
    "type.googleapis.com/weft.mesh.v1.RequestAuthentication";
inline constexpr std::string_view kMeshConfigType = "type.googleapis.com/weft.mesh.v1.MeshConfig";
inline constexpr std::string_view kAuthorizationType = "type.googleapis.com/istio.security.Authorization";

class ResourceStore {
 public:
  // `serves`: requests are served by what is here, so that rate limits have room for their keys.
  explicit ResourceStore(PathNormalisation path_normalisation = PathNormalisation::kBase, bool serves = true)
      : limiters_(serves) {
    resources_.path_normalisation = path_normalisation;
  }

  // The reason becomes a NACK line; the last good version of that name stays in force.
  absl::Status apply(std::string_view type, const envoy::service::discovery::v3::Resource& resource);
  void remove(std::string_view type, const std::string& name);

  const Resources& resources() const { return resources_; }
  // Name to version of what is in force, for initial_resource_versions.
  std::map<std::string, std::string> versions(std::string_view type) const;
  // "<message> <name>" to reason, of resources whose newest version is refused.
  const std::map<std::string, std::string>& rejected() const { return rejected_; }

 private:
  absl::Status insert(std::string_view type, const envoy::service::discovery::v3::Resource& resource);

  Resources resources_;
  LimiterTable limiters_;
  DialIdentityTable identities_;
  std::map<std::string, std::map<std::string, std::string>, std::less<>> versions_;
  std::map<std::string, std::string> rejected_;
};

}  // namespace weft::proxy
