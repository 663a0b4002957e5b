// The typed, validated objects of the manifests. Parsers make them, the store keeps them, the compiler reads
// them; they hold no YAML and are never changed after parsing.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <variant>
#include <vector>

#include "control-plane/resource/on_arena.h"
#include "proto/istio/security.pb.h"
#include "proto/weft/mesh/v1/mesh.pb.h"
#include "proto/weft/mesh/v1/mesh_config.pb.h"
#include "proto/weft/mesh/v1/request_authentication.pb.h"

namespace weft::control_plane {

// Policies of this namespace reach every namespace.
inline constexpr char kRootNamespace[] = "istio-system";
// Where Weft is installed unless it was told otherwise.
inline constexpr char kOwnNamespace[] = "weft-system";

struct ObjectMeta {
  std::string kind;
  std::string ns;  // empty for cluster-scoped kinds
  std::string name;
  std::string file;
  uint32_t line = 0;
  uint32_t generation = 0;  // metadata.generation, where the source has it; 0: not said
  int64_t created_unix = 0;
  std::map<std::string, std::string> labels;
  std::map<std::string, std::string> annotations;
  // Given by the store: objects of one store with the same revision are the same in everything. 0: of none.
  uint64_t revision = 0;
};

struct ObjectKey {
  std::string kind;
  std::string ns;
  std::string name;
  auto operator<=>(const ObjectKey&) const = default;
  // "VirtualService shop/cart".
  std::string to_string() const;
};

struct Namespace {
  ObjectMeta meta;
};

// A number, or the name of a port of the pod.
struct TargetPort {
  uint16_t number = 0;
  std::string name;
};

struct Pod {
  struct Port {
    std::string name;
    uint16_t number = 0;
  };
  ObjectMeta meta;
  std::string kubelet_uid;  // by which the node's kubelet knows it; empty: the manifest has none
  std::string node;
  std::string service_account;
  bool host_network = false;
  std::vector<Port> ports;           // TCP
  std::vector<Port> datagram_ports;  // UDP
  std::vector<std::string> ips;      // valid addresses
  std::string phase;
  std::optional<bool> ready;  // absent: the manifest says nothing
  bool started = false;       // all of its containers, and their startup probes have succeeded
  bool deleting = false;
  std::string owner_kind;
  std::string owner_name;
  std::vector<uint16_t> exclude_ports;
  std::vector<std::string> exclude_cidrs;
};

struct Service {
  struct Port {
    std::string name;
    uint16_t number = 0;
    TargetPort target;
    std::string app_protocol;
    uint32_t line = 0;
  };
  ObjectMeta meta;
  std::map<std::string, std::string> selector;
  std::vector<Port> ports;           // TCP
  std::vector<Port> datagram_ports;  // UDP
  uint32_t affinity_seconds = 0;     // sessionAffinity ClientIP; 0: none
  // internalTrafficPolicy Local and trafficDistribution: how near an endpoint must, or had better, be.
  enum class Nearness : uint8_t { kAny, kPreferZone, kPreferNode, kNodeOnly };
  Nearness nearness = Nearness::kAny;
  bool publish_not_ready = false;
  std::vector<std::string> cluster_ips;
  bool external_name = false;
};

struct EndpointSlice {
  struct Endpoint {
    std::vector<std::string> addresses;
    bool ready = true;
    std::string pod_ns;  // of targetRef when that is a Pod
    std::string pod_name;
    std::string node;
    std::string zone;
  };
  struct Port {
    std::string name;
    uint16_t number = 0;
  };
  ObjectMeta meta;
  std::string service;
  std::vector<Endpoint> endpoints;
  std::vector<Port> ports;
};

// Where an object names a host and maybe a subset, for the checks between objects.
struct HostReference {
  std::string host;
  std::string subset;
  uint32_t line = 0;
  std::string field;
};

struct VirtualService {
  ObjectMeta meta;
  OnArena<mesh::v1::RouteSet> routes;     // complete: hosts expanded, weights cleaned
  std::vector<HostReference> references;  // of what it is routed to, each that says more than those before it
  // exportTo: "~".
  bool hidden = false;
  // "mesh" and "<namespace>/<name>" of gateways.
  std::vector<std::string> gateways = {"mesh"};
  // Gateways that these or the matches name, each once.
  std::vector<std::string> bound_to;
  // Where a route hands its requests on to; no name: it does not.
  struct Delegate {
    std::string ns, name;
    uint32_t line = 0;
    std::string field;
  };
  std::vector<Delegate> delegates;  // one for each of routes.http
  bool has_delegates = false;

  // Without hosts: only others that delegate to it use its routes.
  bool is_delegate() const { return routes->hosts().empty(); }
  // Some of its routes are for connections that are no HTTP.
  bool has_layer4() const { return !routes->tls().empty() || !routes->tcp().empty(); }
};

struct DestinationRule {
  ObjectMeta meta;
  mesh::v1::DestinationPolicy policy;
  HostReference host;
  std::vector<HostReference> subsets;
  bool hidden = false;
  // Each `tls` of it that begins some.
  struct TlsUse {
    mesh::v1::ClientTls tls;
    uint32_t line = 0;
    std::string field;
  };
  std::vector<TlsUse> tls = {};
};

// A service that is no Service: outside the mesh, or made of addresses.
struct ServiceEntry {
  enum class Resolution : uint8_t { kNone, kStatic, kDns, kDnsRoundRobin };
  struct Port {
    std::string name;
    uint16_t number = 0;
    uint16_t target = 0;  // 0: number
    std::string protocol;
  };
  struct Endpoint {
    std::string address;                    // an IP, or a host name that is resolved
    std::map<std::string, uint16_t> ports;  // by port name
    std::map<std::string, std::string> labels;
    std::string locality;  // "region/zone/subzone"
    uint32_t weight = 1;
    std::string service_account;
  };
  ObjectMeta meta;
  std::vector<std::string> hosts;      // lower case; "*."-wildcards too
  std::vector<std::string> addresses;  // IPs, or ranges for NONE and STATIC
  std::vector<Port> ports;
  Resolution resolution = Resolution::kNone;
  std::vector<Endpoint> endpoints;
  std::map<std::string, std::string> selector;  // of pods
  std::vector<std::string> export_to;           // empty: all
  bool hidden = false;

  bool resolves() const { return resolution == Resolution::kDns || resolution == Resolution::kDnsRoundRobin; }
};

// A machine outside the cluster: an endpoint of what selects its labels.
struct WorkloadEntry {
  ObjectMeta meta;
  ServiceEntry::Endpoint endpoint;  // with the labels of the metadata too
};

// What pods may reach: of those that the selector names, else of the namespace, in the root namespace of all.
struct Sidecar {
  ObjectMeta meta;
  std::map<std::string, std::string> selector;  // empty: all of the namespace
  std::optional<bool> registry_only;            // absent: it says nothing about that
};

// A node of the cluster: its labels say where its pods are.
struct Node {
  ObjectMeta meta;
};

struct AuthorizationPolicy {
  ObjectMeta meta;
  istio::security::Authorization policy;
  // Labels of pods and of gateways, or (targetRefs) names of Services of its namespace, whose endpoints it is
  // for, and of Gateways of the Gateway API. One is not empty exactly when the policy's scope is
  // WORKLOAD_SELECTOR.
  std::map<std::string, std::string> selector;
  std::vector<std::string> services, gateways;
  std::string provider;  // of action CUSTOM
};

// HTTPRoute, GRPCRoute, TLSRoute or TCPRoute of the Gateway API, as written: what it attaches to and whether
// its references may be used is seen when all objects are there (compile/gateway_routes.h).
struct GatewayRoute {
  // In the order in which they beat each other on one port of a service.
  enum class Kind : uint8_t { kGrpc, kHttp, kTls, kTcp };
  struct Parent {
    bool service = false;  // else a Gateway
    std::string ns, name;
    std::string section;  // a listener of a Gateway; empty: all
    uint16_t port = 0;    // 0: all
    uint32_t line = 0;
    std::string field;
  };
  struct Backend {
    std::string ns, name;
    std::string unusable;  // why no object of that kind is ever a backend; empty: a Service
    uint16_t port = 0;
    uint32_t line = 0;
    std::string field;
    mesh::v1::Destination destination;  // weight and edits; host and port come with the Service
    uint32_t ppm = 0;                   // of a mirror
  };
  struct Rule {
    mesh::v1::HttpRoute http;       // of HTTPRoute and GRPCRoute: name, matches, action
    std::string name;               // of the rule; empty: none
    std::vector<Backend> backends;  // those with weight 0 are here too
    std::vector<Backend> mirrors;
    uint32_t line = 0;
  };
  ObjectMeta meta;
  Kind kind = Kind::kHttp;
  std::vector<Parent> parents;
  std::vector<std::string> hostnames;  // lower case
  std::vector<Rule> rules;
};

// Lets routes of other namespaces refer to objects of its own.
struct ReferenceGrant {
  struct From {
    std::string group, kind, ns;
  };
  struct To {
    std::string group, kind, name;  // no name: all
  };
  ObjectMeta meta;
  std::vector<From> from;
  std::vector<To> to;
};

// How a gateway's listener ends TLS, as written.
struct TlsTermination {
  struct SecretRef {
    std::string ns, name;
    uint32_t line = 0;
    std::string field;
  };
  bool mutual = false;
  bool optional = false;  // of mutual: who shows no certificate is let in too
  // Of mutual: by the gateway's own identity and the certificates of the mesh; no Secret is named then.
  bool mesh = false;
  bool opaque = false;  // what is decrypted is no HTTP
  std::vector<SecretRef> certificates;
  std::optional<SecretRef> ca;  // absent: what the certificate's Secret has
  std::vector<std::string> client_names;
  mesh::v1::TlsServer::Version min_version = mesh::v1::TlsServer::TLS_AUTO;
  mesh::v1::TlsServer::Version max_version = mesh::v1::TlsServer::TLS_AUTO;
  std::vector<std::string> cipher_suites;
  // Not empty: it asks for what is not done here. Its host names are kept, so that no wider listener has
  // them, and handshakes are refused.
  std::string problem;
};

// A gateway of either API: ports of the node, and the hosts that are served there.
struct Gateway {
  struct Listener {
    enum class Kind : uint8_t { kHttp, kTls, kTcp };
    // Of a host, "*": any, or "*.example.com", for routes of these namespaces, "*": any.
    struct Host {
      std::string ns, name;
    };
    enum class From : uint8_t { kSame, kAll, kSelector };

    std::string name;
    uint16_t port = 0;
    Kind kind = Kind::kHttp;
    std::vector<Host> hosts;
    bool https_redirect = false;
    std::optional<TlsTermination> tls;  // of kTls; absent: passed through
    // Of the Gateway API: whose routes may attach, and of which kinds (none: all of the protocol).
    From from = From::kSame;
    std::map<std::string, std::string> selector;
    std::vector<std::string> kinds;
    uint32_t line = 0;
    std::string field;
  };
  ObjectMeta meta;
  bool istio = false;
  // What the selectors of policies are compared with, as the labels of a pod that served it: its selector in
  // Istio's API, its name in the Gateway API.
  std::map<std::string, std::string> labels;
  std::vector<Listener> listeners;
};

// Certificates and keys, of kubernetes.io/tls or Opaque; checked, so that each part can be used. All PEM;
// parts that the Secret does not have, or that are no TLS, are empty. Never printed.
struct Secret {
  ObjectMeta meta;
  std::string certificate, key;  // both or none
  std::string ca, crl;
};

struct PeerAuthentication {
  // DISABLE is PERMISSIVE here: a caller with a certificate is never refused.
  enum class Mode : uint8_t { kUnset, kPermissive, kStrict };
  ObjectMeta meta;
  std::map<std::string, std::string> selector;
  Mode mode = Mode::kUnset;
  std::map<uint16_t, Mode> ports;  // of the pod
  bool same_node = false;          // where it is strict, pods of one node talk by tunnels too
};

struct RequestAuthentication {
  ObjectMeta meta;
  mesh::v1::RequestAuthentication message;  // with the keys that stand in it
  // One for each rule, see key_source.h; empty: its keys stand in it.
  std::vector<std::string> key_sources;
  // Of targetRefs: names of Gateways (Gateway API) of its namespace, and nothing else is meant.
  std::vector<std::string> gateways;
};

// The ConfigMap in which Istio keeps what holds for the whole mesh (MeshConfig).
struct MeshConfig {
  // Its name.
  static constexpr char kName[] = "istio";
  struct Provider {
    std::string name;
    std::string field;  // where it stands, and its line
    uint32_t line = 0;
  };
  ObjectMeta meta;
  mesh::v1::MeshConfig message;
  std::vector<Provider> places;  // one for each of message.providers
  std::optional<bool> registry_only;
};
// Whether a ConfigMap is one: nothing is read of others.
bool is_mesh_config(std::string_view ns, std::string_view name);

using Object =
    std::variant<Namespace, Pod, Service, EndpointSlice, VirtualService, DestinationRule, AuthorizationPolicy,
                 GatewayRoute, ReferenceGrant, Gateway, ServiceEntry, Node, PeerAuthentication, WorkloadEntry,
                 Sidecar, Secret, RequestAuthentication, MeshConfig>;

const ObjectMeta& meta_of(const Object& object);
ObjectMeta& meta_of(Object& object);
ObjectKey key_of(const Object& object);

}  // namespace weft::control_plane
