// What one worker lends to its sessions and exchanges: loop, memory, pools, balancer, sink, limits. Owned by
// the worker, plain members, one thread. Nothing here decides anything.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>

#include "base/fd.h"
#include "userspace-proxy/config/resources.h"
#include "userspace-proxy/exchange/action_state.h"
#include "userspace-proxy/exchange/admission.h"
#include "userspace-proxy/exchange/fair_share.h"
#include "userspace-proxy/exchange/gateway_access.h"
#include "userspace-proxy/exchange/mirror.h"
#include "userspace-proxy/exchange/sole_client.h"
#include "userspace-proxy/http/http1_text.h"
#include "userspace-proxy/http/http2_fault_counts.h"
#include "userspace-proxy/net/event_loop.h"
#include "userspace-proxy/net/netns.h"
#include "userspace-proxy/net/socket.h"
#include "userspace-proxy/policy/request_authentication.h"
#include "userspace-proxy/policy/request_policy.h"
#include "userspace-proxy/telemetry/exchange_record.h"
#include "userspace-proxy/tls/client_tls.h"
#include "userspace-proxy/tls/server_tls.h"
#include "userspace-proxy/upstream/balancer.h"
#include "userspace-proxy/upstream/hbone_pool.h"
#include "userspace-proxy/upstream/pool.h"

namespace weft::proxy {

class DownstreamConnection;
class HboneServer;
struct PodTag;

// Where captured connections of one pod come from, whatever listener of it they came by. Lives as long as any
// of them and the listeners.
struct CaptureOrigin : std::enable_shared_from_this<CaptureOrigin> {
  CaptureOrigin(uint64_t cookie, const std::string& uid)
      : use(std::make_shared<PodUse>(cookie, uid)), gateway_(uid == kGatewayUid) {}
  ~CaptureOrigin() { use->gone = true; }

  uint64_t netns_cookie() const { return use->netns_cookie; }
  // Clients outside the mesh, at a port of the node.
  bool is_gateway() const { return gateway_; }
  const std::string& workload_uid() const { return use->workload_uid; }

  // Also read by the reporter, and held by the pool.
  const std::shared_ptr<PodUse> use;
  UniqueFd netns;  // invalid: dial from here
  // The pod may reach declared destinations only, as the agent said when it handed the listener over.
  bool confined = false;
  // Index of the source in the generation it was last looked up in.
  uint64_t source_generation = ~uint64_t{0};
  uint32_t source = kNone;
  // Of the pod's own policies, for what comes in to it; see policies_of().
  AuthorizationList policies_of;
  std::shared_ptr<const PolicySet> policies;
  ShareAccount share;
  IntrusiveList<DownstreamConnection, PodTag> connections;  // the oldest first, see session/quiet.h
  // Connections for tunnels to the pod: those whose peers have not proved themselves yet, and the others. The
  // oldest first.
  IntrusiveList<HboneServer, PodTag> handshakes, tunnel_servers;
  uint32_t handshake_count = 0;

 private:
  const bool gateway_;
};

// The client of an exchange, lent by the session.
struct ClientSide {
  SocketAddress client, dialled;
  CaptureOrigin& origin;
  bool upgraded = false;  // from HTTP/1.1 to HTTP/2
  // Of what comes in to the pod `origin` at the address `dialled`: each request is judged, and goes there and
  // nowhere else. Null: the pod is the client.
  const ConnectionPolicy* policy = nullptr;
  // Of what comes in: nobody in the mesh saw it go out. Else only what is denied is recorded here.
  bool from_outside = false;
  const ServerTerms* server = nullptr;  // what ended its TLS; null: it speaks none with us
  GatewayAccess* access = nullptr;      // of a client at a gateway; else null
};

struct ExchangeLimits {
  uint64_t head_timeout_ms = 60'000;
  uint64_t sniff_timeout_ms = 50;
  uint64_t downstream_idle_ms = 3'600'000;
  uint64_t exchange_idle_ms = 300'000;
  // Of a body that is to move, in each exchange_idle_ms.
  uint64_t min_progress_bytes = 64 * 1024;
  uint32_t max_head_bytes = 64 * 1024;
};

// What policies that decide nothing said of requests, and of connections that were not read.
struct ShadowCounts {
  uint64_t allowed = 0, denied = 0;  // with dry-run policies in force
  uint64_t audited = 0;              // a policy of AUDIT matched
};

// What providers said of requests that policies of CUSTOM select; failed: nothing that could be used.
struct ExternalCounts {
  uint64_t allowed = 0, denied = 0, failed = 0;
};

struct ProxyContext {
  EventLoop& loop;
  BufferPool& buffers;
  UpstreamPool& pool;
  HbonePool& hbone;
  TlsContexts& tls;
  ServerTlsTable& server_tls;
  Balancer& balancer;
  const HomeNetns& home;
  ExchangeSink& sink;
  Http2FaultCounts& http2_faults;
  ExchangeLimits limits;
  Http1TextPool<RequestHead> texts;
  ActionPool actions;
  MirrorSet mirrors;
  FairShare share;
  Admission admission;
  GenerationRef current;
  bool draining = false;
  MonotonicNs next_http2_fault_line = 0;
  MonotonicNs next_tunnel_line = 0;
  MonotonicNs next_tls_line = 0;
  MonotonicNs next_shadow_line = 0;
  MonotonicNs next_external_line = 0;
  ShadowCounts shadow;
  ExternalCounts external;
  uint32_t external_checks_running = 0;
  Gauge held_body_bytes;  // of all pods: bodies that providers are asked with
  uint64_t active_exchanges = 0;
  SoleClient sole_client;
  uint64_t held_head_bytes = 0;  // of all pods, see PodUse
  PathReadings path_readings;    // of the request that is being judged
  TokenCache tokens;             // of requests that come in
  ClientTlsTable client_tls{tls};
};

inline uint32_t source_of(CaptureOrigin& origin, const Snapshot& snapshot) {
  if (origin.source_generation != snapshot.generation) {
    origin.source = snapshot.find_source(origin.workload_uid());
    origin.source_generation = snapshot.generation;
  }
  return origin.source;
}

// The pod may reach declared destinations only, and nobody has declared this one. Before the snapshot has its
// workload, or when that was refused, what was handed over counts.
inline bool is_undeclared(CaptureOrigin& origin, const Snapshot& snapshot, const SocketAddress& dialled) {
  const uint32_t source = source_of(origin, snapshot);
  if (source != kNone) return snapshot.is_undeclared(source, dialled);
  return origin.confined && !snapshot.is_declared(source, dialled);
}

// The policies that apply to the pod, compiled once for as long as they are the same; null when it is not
// known.
inline std::shared_ptr<const PolicySet> policies_of(CaptureOrigin& origin, const Snapshot& snapshot) {
  const uint32_t source = source_of(origin, snapshot);
  if (source == kNone || snapshot.sources[source].authorizations == nullptr) return nullptr;
  const AuthorizationList& now = *snapshot.sources[source].authorizations;
  if (origin.policies == nullptr || origin.policies_of != now) {
    origin.policies = std::make_shared<const PolicySet>(now);
    origin.policies_of = now;
  }
  return origin.policies;
}

// Which tokens the requests may carry that come in to this port of the pod; null: nobody looks for any.
inline std::shared_ptr<const RequestAuthentication> authentication_of(CaptureOrigin& origin, uint16_t port,
                                                                      const Snapshot& snapshot) {
  const uint32_t index = source_of(origin, snapshot);
  if (index == kNone || snapshot.sources[index].authentication == nullptr) return nullptr;
  const Source& source = snapshot.sources[index];
  const auto& opaque = source.opaque_ports;
  return std::find(opaque.begin(), opaque.end(), port) == opaque.end() ? source.authentication : nullptr;
}

// Somebody has to look at what comes in to this port of the pod: at each request, or at the server name that
// its TLS asks for. False where the policy denies all of it.
inline bool requests_count(const ConnectionPolicy& policy, CaptureOrigin& origin, uint16_t port,
                           const Snapshot& snapshot) {
  if (policy.decision() == ConnectionPolicy::Decision::kDenied) return false;
  return policy.decision() == ConnectionPolicy::Decision::kDepends ||
         authentication_of(origin, port, snapshot) != nullptr;
}

// The dial, and what its connection is shared by, become those of a gateway; null: of the pod.
inline void dial_as(const DialIdentity* identity, UpstreamKey& key, DialParameters& dial) {
  dial.as = identity;
  key.dials_as = identity == nullptr ? 0 : identity->number;
}

// Makes the dial one by a tunnel when the workload (null: unknown) takes those, and is on another node or has
// policies that ask about requests, which are judged at a tunnel's end. A gateway is on no node: policies
// know it by its identity wherever the pod is. The snapshot outlives the dial.
inline bool choose_tunnel(ProxyContext& context, CaptureOrigin& origin, const Snapshot& snapshot,
                          const WorkloadSpec* workload, DialParameters& dial) {
  if (workload == nullptr) return false;
  const uint32_t source = source_of(origin, snapshot);
  const WorkloadSpec* own = source == kNone ? nullptr : snapshot.sources[source].spec.get();
  if (own != nullptr && !workload->node.empty() && own->node == workload->node) {
    const uint32_t server = workload->uid == own->uid ? kNone : snapshot.find_source(workload->uid);
    if (server == kNone || !own->hbone) return false;
    const Source& asked = snapshot.sources[server];
    if (!asked.judges_requests && !asked.encrypts_same_node) return false;
  }
  dial.hbone = &context.hbone;
  dial.tunnel_to = &workload->identity;
  return true;
}

// Begins TLS on the dial where its terms ask for that. `takes_tunnels`: by the mesh's own certificates the
// endpoint is reached through those, which need no second layer.
inline void choose_tls(ProxyContext& context, bool takes_tunnels, std::string_view offers,
                       DialParameters& dial) {
  if (dial.terms == nullptr || !dial.terms->settings->tls) return;
  if (takes_tunnels && dial.terms->settings->tls.terms->mode == ClientTlsMode::kMesh) return;
  dial.client_tls = &context.client_tls;
  dial.offers = offers;
}

// The name of what is spoken, for ALPN.
inline std::string_view alpn_of(UpstreamProtocol protocol) {
  return protocol == UpstreamProtocol::kHttp2 ? "h2" : "http/1.1";
}

}  // namespace weft::proxy
