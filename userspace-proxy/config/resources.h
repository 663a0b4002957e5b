// The mesh resources as the builder reads them: validated, compiled, no protobuf left. Made by validate.h,
// kept by ResourceStore, folded by snapshot_builder.h. Plain immutable values; nothing here refers to another
// resource.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/address.h"
#include "base/spiffe_id.h"
#include "userspace-proxy/config/snapshot.h"
#include "userspace-proxy/policy/external_provider.h"
#include "userspace-proxy/policy/token_rule.h"
#include "userspace-proxy/tls/server_terms.h"

namespace weft::proxy {

// Sorted by key.
using Labels = std::vector<std::pair<std::string, std::string>>;

struct ServiceSpec {
  struct Port {
    uint16_t number = 0;
    uint16_t target = 0;  // 0: each workload says
    Protocol protocol = Protocol::kSniff;
  };
  std::string key;  // "<namespace>/<hostname>", as Workload.services spells it
  std::string name;
  std::string ns;
  std::string host;  // lower case
  std::vector<IpAddress> addresses;
  std::vector<IpRange> ranges;  // of addresses: nobody can dial a whole range
  std::vector<Port> ports;
  bool prefer_v6 = false;              // of endpoints that have both families
  bool passthrough = false;            // no endpoints: traffic goes to where it was dialled
  bool entry = false;                  // no Service: what a namespace has added to the mesh
  bool by_endpoint = false;            // it has no address: clients dial its endpoints
  std::vector<std::string> export_to;  // client namespaces; empty: all
};

struct WorkloadSpec : std::enable_shared_from_this<WorkloadSpec> {
  // {service port, target port}
  using Ports = std::vector<std::pair<uint16_t, uint16_t>>;
  std::string uid;
  std::string name;
  std::string ns;
  std::optional<IpAddress> v4, v6;
  bool healthy = true;
  uint32_t weight = 1;
  Labels labels;
  Locality locality;
  std::string node;
  std::map<std::string, Ports> services;  // by ServiceSpec::key
  SpiffeId identity;
  bool hbone = false;  // takes tunnels on port 15008
  bool host_network = false;
  bool registry_only = false;         // it may reach declared destinations only
  bool declared_by_services = false;  // it declares no address of its own to those
  std::vector<std::string> policies;  // "<namespace>/<name>" of those that select it
};

struct DestinationSpec {
  std::string host;  // lower case
  uint16_t port = 0;
  std::string subset;
  uint32_t weight = 1;
  std::shared_ptr<const DestinationAction> action;  // null: none
  bool invalid = false;                             // without a host, then
};

struct MirrorSpec {
  DestinationSpec destination;
  uint32_t ppm = 0;
};

struct RouteSpec {
  std::string name;
  std::vector<HttpMatcher> matches;
  std::vector<DestinationSpec> destinations;
  std::shared_ptr<const RouteAction> action;  // null: none
  std::vector<MirrorSpec> mirrors;            // none without action
  DialIdentityPtr dials_as;                   // of a gateway's set; null: nobody
};

struct L4RouteSpec {
  std::string name;
  std::vector<L4Matcher> matches;
  std::vector<DestinationSpec> destinations;
  DialIdentityPtr dials_as;  // as of RouteSpec
};

// Of clients of a gateway: resources by their names.
struct GatewayPolicyNames {
  std::vector<std::string> authorizations, authentications;
  DialIdentityPtr asks_as = {};  // where those ask providers

  bool empty() const { return authorizations.empty() && authentications.empty(); }
  auto operator<=>(const GatewayPolicyNames&) const = default;
};

struct RouteSetSpec : std::enable_shared_from_this<RouteSetSpec> {
  std::string resource;  // its name in delta ADS
  std::string name;
  std::string ns;
  std::vector<std::string> hosts;      // lower case; wildcards as ".suffix"
  std::vector<std::string> export_to;  // empty: all
  std::vector<RouteSpec> routes;
  std::vector<L4RouteSpec> tls, tcp;
  // Of the Gateway API: found by the address of the service that `hosts` names, on this port or on all (0).
  bool by_address = false;
  uint16_t port = 0;
  bool consumer = false;
  // Instead of all that: of a gateway's port.
  struct Gateway {
    uint16_t port = 0;
    GatewayPort::Kind kind = GatewayPort::Kind::kHttp;
    bool any_host = false;
    std::string server;  // of a port for TLS: whose requests the routes are for
    GatewayPolicyNames policies;
    std::vector<SpiffeId> identities;  // of the port's gateways, in one of its sets
    // Of a port for TLS: for which server names, lower case, wildcards as ".suffix", empty: any.
    struct Server {
      std::vector<std::string> hosts;
      // Null: passed through. Its certificates and roots are those of the Secrets that are named beside it.
      std::shared_ptr<const ServerTerms> terms;
      std::vector<std::string> certificates;
      std::string roots;
      std::vector<L4RouteSpec> tcp;  // of what is decrypted and no HTTP
      GatewayPolicyNames policies;   // of connections
    };
    std::vector<Server> servers;
  };
  std::optional<Gateway> gateway;
  std::shared_ptr<const RouteIndex> index;  // of `routes`; null: the list is short
  int64_t created = 0;
};

struct PolicySpec {
  struct Subset {
    std::string name;
    Labels labels;
    TrafficPolicySpec traffic;
  };
  std::string name;
  std::string ns;
  std::string host;  // lower case; a wildcard as ".suffix"
  std::vector<std::string> export_to;
  std::vector<Subset> subsets;
  std::optional<TrafficPolicySpec> traffic;
  int64_t created = 0;
};

// Of a workload: those that select it, in order.
struct AuthenticationSpec {
  std::string ns;
  bool gateways_only = false;  // no workload has it
  bool every_namespace = false;
  Labels selector;  // none: all
  std::vector<TokenRulePtr> rules;
};

// PEM; what the Secret does not have is empty. Never printed.
struct SecretSpec {
  TlsKeyPair pair;
  std::string roots, crls;
};

// What holds for the whole mesh; without the resource everything is as here.
struct MeshSpec {
  std::vector<ExternalProviderPtr> providers;
  std::optional<PathNormalisation> path_normalisation;  // absent: the proxy's own option
  uint32_t connect_timeout_ms = 10'000;
  std::optional<LocalityBalancing> locality;  // of clusters whose rule says nothing about it
  // Of routes that a service has without any resource; null: they only forward.
  std::shared_ptr<const RouteAction> default_action;
};

// Everything held, ordered so that the same resources always make the same snapshot.
struct Resources {
  template <typename T>
  using Table = std::map<std::string, std::shared_ptr<const T>>;  // by resource name
  Table<ServiceSpec> services;
  Table<WorkloadSpec> workloads;
  Table<RouteSetSpec> route_sets;
  Table<PolicySpec> policies;
  Table<SecretSpec> secrets;
  Table<istio::security::Authorization> authorizations;
  Table<AuthenticationSpec> authentications;
  MeshSpec mesh;
  // Of the proxy's own options, where `mesh` says nothing.
  PathNormalisation path_normalisation = PathNormalisation::kBase;
};

}  // namespace weft::proxy
