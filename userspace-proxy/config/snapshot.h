// Everything a worker needs to decide, deeply const: built and validated on the control thread, posted whole,
// swapped at the top of each worker's loop (design §4). Indices instead of pointers, so a snapshot is one
// relocatable block of facts and the workers' own mutable state (pools, balancer cursors, counters) is kept
// beside it in arrays of the same indices.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/hash/hash.h"
#include "base/address.h"
#include "base/ip_range.h"
#include "base/strings.h"
#include "userspace-proxy/config/cluster_policy.h"
#include "userspace-proxy/config/shared_table.h"
#include "userspace-proxy/http/message.h"
#include "userspace-proxy/http/path.h"
#include "userspace-proxy/route/action.h"
#include "userspace-proxy/route/l4_matcher.h"
#include "userspace-proxy/route/matcher.h"
#include "userspace-proxy/route/path_index.h"
#include "userspace-proxy/tls/dial_identity.h"
#include "userspace-proxy/tls/server_terms.h"

namespace istio::security {
class Authorization;
}

namespace weft::proxy {

inline constexpr uint32_t kNone = 0xffffffff;

// kTls: the client speaks first; what it says is passed on as it is.
enum class Protocol : uint8_t { kSniff, kTcp, kHttp, kHttp2, kTls };

struct ExternalProvider;
struct WorkloadSpec;
class PolicySet;
class RequestAuthentication;

// The policies that connections to one workload must satisfy: of the mesh, of its namespace, and those that
// it names, in order of their names. Null: one that it names and nobody knows.
using AuthorizationList = std::vector<std::shared_ptr<const istio::security::Authorization>>;

struct Endpoint {
  SocketAddress address;
  uint32_t weight = 1;
  std::string workload;  // "product-v1"
  std::string ns;
  uint32_t locality = kNone;  // index into Snapshot::localities
  // Its values of the policy's priority_labels; empty without such.
  std::vector<std::string> priority_values;
  // Its workload when that takes HBONE tunnels; else null.
  std::shared_ptr<const WorkloadSpec> tunnel;
};

// The endpoints of one (service, port, subset) as one client namespace sees them.
struct Cluster {
  // "product-service.default.svc.cluster.local|80|v1": stable across snapshots, so workers carry state over
  // by name.
  std::string name;
  std::string service;  // "product-service"
  std::string ns;
  std::string subset;
  LoadBalancer load_balancer = LoadBalancer::kLeastRequest;
  uint32_t connect_timeout_ms = 10'000;
  ClusterProtocol protocol = ClusterProtocol::kAsClient;
  std::vector<Endpoint> endpoints;
  std::shared_ptr<const ClusterPolicy> policy;  // null: defaults
  // Of an entry that declares names and no address: its clients are where they dialled, wherever that is.
  bool anywhere = false;
};

struct WeightedCluster {
  uint32_t cluster = kNone;  // kNone: unknown host or subset, answered 503 no_cluster
  uint32_t weight = 1;
  std::string label;                                // "v2" or the host, for explanations
  std::shared_ptr<const DestinationAction> action;  // null: none
  bool invalid = false;                             // its reference is refused: answered 500 invalid_backend
};

// A copy of so many of a million requests goes there.
struct RouteMirror {
  uint32_t cluster = kNone;
  uint32_t ppm = 0;
};

struct Route {
  std::string name;
  std::span<const HttpMatcher> matches;  // any; empty: always. See VirtualHost::owner
  std::vector<WeightedCluster> clusters;
  uint32_t total_weight = 0;
  std::shared_ptr<const RouteAction> action;  // null: the route only forwards
  std::vector<RouteMirror> mirrors;           // none without action
  // Of a gateway: whom it proves to be where it dials; null: nobody. See VirtualHost::owner.
  const DialIdentity* dials_as = nullptr;
};

// Of a long list of routes: all their matches in order, and which of them may hold for a path. Made by
// index_routes() of config/match_route.h.
struct RouteIndex {
  // One match of a route, or a route without any.
  struct Entry {
    const HttpMatcher* matcher = nullptr;
    uint32_t route = 0;
    bool decided = false;  // it holds wherever the index gives it
  };
  std::vector<Entry> entries;
  PathIndex paths;
};

// The routes that one service has for client namespaces and ports whose destinations are the same, most
// important first. Ends with the service's default route unless a RouteSet ended it.
struct VirtualHost {
  std::string name;
  std::string resource;  // the RouteSet's; empty: the default of a service
  std::vector<Route> routes;
  std::shared_ptr<const RouteIndex> index;  // null: the list is short
  std::shared_ptr<const void> owner;        // keeps what routes and index refer to: matches, identities
};

// What becomes of a connection that is no HTTP.
struct L4Route {
  std::string name;
  uint32_t index = 0;              // in its RouteSet's list
  std::vector<L4Matcher> matches;  // any; empty: always
  std::vector<WeightedCluster> clusters;
  uint32_t total_weight = 0;
  DialIdentityPtr dials_as = {};  // as of Route
};

// Of one address for one client namespace, or of a gateway's port. The first match wins; `tls` is asked
// first, when the client speaks TLS.
struct L4Host {
  std::string name;
  std::string resource;  // the RouteSet's
  std::vector<L4Route> tls, tcp;
};

// What clients of a gateway must satisfy before their requests and connections are routed. They have an
// address and no identity.
struct GatewayRules {
  std::string ns;                                               // of the gateway
  bool asks_providers = false;                                  // a policy of CUSTOM is among them
  std::shared_ptr<const PolicySet> policies;                    // null: none
  std::shared_ptr<const RequestAuthentication> authentication;  // null: nobody looks for tokens
  DialIdentityPtr asks_as;  // who asks providers; null: nobody in the mesh
};

// What comes to a port of the node.
struct GatewayPort {
  enum class Kind : uint8_t { kHttp, kTls, kTcp };
  Kind kind = Kind::kHttp;
  uint32_t l4_host = kNone;                        // of kTls and kTcp
  std::shared_ptr<const GatewayRules> rules = {};  // of connections; null: none
};

// What ends TLS at a gateway's port, or passes it through.
struct GatewayServer {
  std::shared_ptr<const ServerTerms> tls;     // null: passed through
  uint32_t l4_host = kNone;                   // of what is decrypted and no HTTP
  std::shared_ptr<const GatewayRules> rules;  // of connections; null: none
};

// One service port at one of its addresses, found by the address the client dialled.
struct ServicePort {
  std::string service;
  std::string ns;
  Protocol protocol = Protocol::kSniff;
  uint32_t tcp_cluster = kNone;        // as the service's own namespace sees it
  bool entry = false;                  // of a service that is no Service
  std::vector<std::string> export_to;  // client namespaces; empty: all
  uint32_t next = kNone;               // that has the same address
};

// A pod of this node: where captured connections come from.
struct Source {
  std::string uid;
  std::string name;
  std::string ns;
  std::vector<std::pair<std::string, std::string>> labels;
  std::shared_ptr<const WorkloadSpec> spec;
  uint32_t locality = kNone;  // index into Snapshot::localities
  std::string node;
  std::shared_ptr<const AuthorizationList> authorizations;  // shared by those that have the same
  bool registry_only = false;                               // it may reach declared destinations only
  // A policy in force asks about requests: only what comes by a tunnel is read and can be allowed. Or their
  // tokens are looked at.
  bool judges_requests = false;
  // Pods of this node reach it by tunnels too.
  bool encrypts_same_node = false;
  // Null: nobody looks for tokens.
  std::shared_ptr<const RequestAuthentication> authentication;
  // Of the pod, where it does: those that every Service with them declares to be no HTTP.
  std::vector<uint16_t> opaque_ports;
};

// Addresses that an entry declares without knowing what is there.
struct DeclaredRange {
  IpRange range;
  std::vector<uint16_t> ports;
  std::vector<std::string> export_to;  // client namespaces; empty: all
};

// A copy shares what is not written to.
class Snapshot {
 public:
  uint64_t generation = 0;
  // Of every request, before it is matched and forwarded; mesh-wide.
  PathNormalisation path_normalisation = PathNormalisation::kBase;
  SharedTable<std::vector<Cluster>> clusters;
  // Shared with other snapshots that have the same.
  std::vector<std::shared_ptr<const VirtualHost>> virtual_hosts;
  SharedTable<std::vector<L4Host>> l4_hosts;
  SharedTable<std::vector<GatewayServer>> gateway_servers;
  // Of all gateways, for where they dial.
  SharedTable<std::vector<SpiffeId>> gateway_identities;
  SharedTable<std::vector<ServicePort>> service_ports;
  SharedTable<std::vector<Source>> sources;
  // Workloads that take tunnels, by their addresses (port 0).
  SharedTable<absl::flat_hash_map<SocketAddress, std::shared_ptr<const WorkloadSpec>>> tunnels;
  SharedTable<std::vector<Locality>> localities;

  // The service port behind a dialled address, of those that the source's namespace sees: a Service's before
  // what that namespace has added itself, and that before others'; nullptr: not a mesh service, pass through.
  const ServicePort* find_service_port(uint32_t source, const SocketAddress& dialled) const;
  // kNone when the workload is unknown here; routing then uses namespace "default".
  uint32_t find_source(std::string_view workload_uid) const;
  // The routes for a request: by the dialled address where it is routed (Gateway API), else by Host (short
  // names in the source's namespace, any port), else by the dialled address; nullptr: none is known.
  const VirtualHost* find_virtual_host(uint32_t source, std::string_view authority,
                                       const SocketAddress& dialled) const;
  uint32_t find_cluster(std::string_view name) const;
  // A service, a workload or an entry has this address, as the source's namespace sees them. Workloads and
  // ranges count when some source is registry_only.
  bool is_declared(uint32_t source, const SocketAddress& dialled) const;
  // The source may reach declared destinations only, and nobody has declared this one.
  bool is_undeclared(uint32_t source, const SocketAddress& dialled) const;
  // Where a client goes that speaks TLS to this name at an address that nobody has declared; kNone: nowhere.
  uint32_t find_named_cluster(uint32_t source, std::string_view server_name, uint16_t port) const;
  // The routes of connections to this address that are no HTTP; nullptr: none but the service's own.
  const L4Host* find_l4_host(uint32_t source, const SocketAddress& dialled) const;
  // Where connections to this address go that are no HTTP and have no routes; `port` is what was found there.
  uint32_t find_tcp_cluster(uint32_t source, const SocketAddress& dialled, const ServicePort& port) const;
  // nullptr: no gateway has this port.
  const GatewayPort* find_gateway_port(uint16_t port) const;
  // The routes for a request that came to a gateway's port, by what ended its TLS (nullptr: nothing did): of
  // that alone, whatever others of the port have. nullptr: it has no such host.
  const VirtualHost* find_gateway_host(std::string_view authority, uint16_t port,
                                       const GatewayServer* server) const;
  // What holds for requests to a gateway's host; null: nothing is asked.
  const GatewayRules* find_gateway_rules(const VirtualHost& host) const {
    if (gateway_rules.empty()) return nullptr;
    const auto found = gateway_rules.find(&host);
    return found == gateway_rules.end() ? nullptr : found->second.get();
  }
  // What ends TLS for a client that asks for this server name (empty: for none); nullptr: nothing does.
  const GatewayServer* find_gateway_server(std::string_view server_name, uint16_t port) const;
  std::string_view namespace_of(uint32_t source) const;
  // Who is asked where a policy of CUSTOM names him; nullptr: nobody has that name.
  std::shared_ptr<const ExternalProvider> find_provider(std::string_view name) const;
  // Where he is, as pods of that namespace see it; kNone: his service is not known, or has no such port.
  uint32_t find_provider_cluster(std::string_view ns, std::string_view name) const;

  // Filled by SnapshotBuilder only. The Ref forms are the same keys as views, so that look-ups do not
  // allocate.
  struct HostRef {
    std::string_view ns;
    uint16_t port = 0;
    std::string_view host;
    bool operator==(const HostRef&) const = default;
  };
  struct HostKey {
    std::string ns;     // client namespace
    uint16_t port = 0;  // 0: any port
    // Every spelling that namespace may use, lower case, no port; a wildcard "*.example.com" is
    // ".example.com".
    std::string host;
    operator HostRef() const { return {ns, port, host}; }
  };
  struct AddressRef {
    std::string_view ns;
    SocketAddress address;
    bool operator==(const AddressRef&) const = default;
  };
  struct AddressKey {
    std::string ns;
    SocketAddress address;
    operator AddressRef() const { return {ns, address}; }
  };
  struct KeyHash {
    using is_transparent = void;
    size_t operator()(const HostRef& k) const { return absl::HashOf(to_absl(k.ns), k.port, to_absl(k.host)); }
    size_t operator()(const AddressRef& k) const { return absl::HashOf(to_absl(k.ns), k.address); }
  };
  struct KeyEqual {
    using is_transparent = void;
    bool operator()(const HostRef& a, const HostRef& b) const { return a == b; }
    bool operator()(const AddressRef& a, const AddressRef& b) const { return a == b; }
  };
  // The first of those that have the address, Services' first.
  SharedTable<absl::flat_hash_map<SocketAddress, uint32_t>> service_port_by_address;
  SharedTable<absl::flat_hash_map<HostKey, uint32_t, KeyHash, KeyEqual>> virtual_host_by_host;
  SharedTable<absl::flat_hash_map<AddressKey, uint32_t, KeyHash, KeyEqual>> virtual_host_by_address;
  // Of the Gateway API: Host does not count there.
  SharedTable<absl::flat_hash_map<AddressKey, uint32_t, KeyHash, KeyEqual>> routed_host_by_address;
  SharedTable<absl::flat_hash_map<AddressKey, uint32_t, KeyHash, KeyEqual>> l4_host_by_address;
  // Of client namespaces whose rules are not the service's own.
  SharedTable<absl::flat_hash_map<AddressKey, uint32_t, KeyHash, KeyEqual>> tcp_cluster_by_address;
  SharedTable<absl::flat_hash_map<uint16_t, GatewayPort>> gateway_ports;
  // With the name of what ended the TLS in place of the namespace (empty: nothing did); an empty host takes
  // what no other has.
  SharedTable<absl::flat_hash_map<HostKey, uint32_t, KeyHash, KeyEqual>> gateway_host_by_host;
  // Of virtual_hosts, those of gateways that policies are for.
  SharedTable<absl::flat_hash_map<const VirtualHost*, std::shared_ptr<const GatewayRules>>> gateway_rules;
  bool gateways_ask = false;  // some of these ask providers
  // For sources that are registry_only, and empty without any: addresses of workloads (port 0), ranges, and
  // clusters of entries without an address, by the names of their ports that are not declared HTTP.
  SharedTable<absl::flat_hash_set<SocketAddress>> declared_workloads;
  SharedTable<std::vector<DeclaredRange>> declared_ranges;
  SharedTable<absl::flat_hash_map<HostKey, uint32_t, KeyHash, KeyEqual>> named_cluster_by_host;
  // With an empty namespace; an empty name takes what no other has, and who names no server.
  SharedTable<absl::flat_hash_map<HostKey, uint32_t, KeyHash, KeyEqual>> gateway_server_by_name;
  SharedTable<absl::flat_hash_map<std::string, std::shared_ptr<const ExternalProvider>>> providers;
  // With port 0, and a provider's name as host.
  SharedTable<absl::flat_hash_map<HostKey, uint32_t, KeyHash, KeyEqual>> provider_clusters;
  SharedTable<absl::flat_hash_map<std::string, uint32_t>> source_by_uid;
  SharedTable<absl::flat_hash_map<std::string, uint32_t>> cluster_by_name;
};

using SnapshotPtr = std::shared_ptr<const Snapshot>;

}  // namespace weft::proxy
