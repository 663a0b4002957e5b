/* Why this hook: cgroup/connect sees every connect() of a pod before the route lookup. It answers one of
 * three: leave alone; direct, the destination becomes a backend of the service and nobody stands in between;
 * proxy, a socket mark decides where the SYN goes and the address is not rewritten. How it fails: a socket
 * that cannot be marked, or that nobody would accept, is refused and counted: going direct would bypass
 * policy. A proxy that does not answer lets the workload's declared mode decide. */
#include <asm/socket.h>
#include <linux/bpf.h>
#include <linux/errno.h>

#include <bpf/bpf_core_read.h>

#include "bpf/lib/beat.h"
#include "bpf/lib/bypass.h"
#include "bpf/lib/config.h"
#include "bpf/lib/datagram.h"
#include "bpf/lib/egress.h"
#include "bpf/lib/exclude.h"
#include "bpf/lib/shortcut_taken.h"
#include "bpf/lib/sock_addr.h"
#include "bpf/lib/socket.h"

static __always_inline int task_is_proxy(void) {
  __u32 tgid = bpf_get_current_pid_tgid() >> 32;
  return bpf_map_lookup_elem(&m_proxy, &tgid) != 0;
}

static __always_inline int socket_mark(struct bpf_sock_addr* ctx, __u32 mark) {
  return bpf_setsockopt(ctx, SOL_SOCKET, SO_MARK, &mark, sizeof(mark));
}

/* Refusing here is immediate; a SYN refused by mesh_lookup would time out, because the kernel does not send
 * an RST from an address that is not its own. */
static __always_inline int listener_exists(__u32 slot) {
  struct bpf_sock* listener = bpf_map_lookup_elem(&m_listener, &slot);
  if (!listener) return 0;
  bpf_sk_release(listener);
  return 1;
}

/* A connected UDP socket's answers pass the recvmsg hook too, which reads this. */
static __always_inline void datagram_remember(struct bpf_sock* sk, const struct weft_direct_peer* peer) {
  struct datagram_peers* peers = bpf_sk_storage_get(&m_datagram_sk, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
  if (!peers) return stat_count(WEFT_STAT_STORAGE_FAILED);
  __builtin_memcpy(&peers->peer[0], peer, sizeof(*peer));
}

struct mptcp_sock;

/* An MPTCP client asks its own socket for the peer's name, while this hook sees the first subflow's. Kernels
 * without the helper (before 5.19) show such a client the backend. */
static __always_inline void direct_show_to_mptcp(struct bpf_sock* sk, const struct weft_direct_peer* peer) {
  if (!bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_skc_to_mptcp_sock)) return;
  struct mptcp_sock* whole = bpf_skc_to_mptcp_sock(sk);
  if (!whole) return;
  struct weft_socket* shown = bpf_sk_storage_get(&m_flow_sk, whole, 0, BPF_SK_STORAGE_GET_F_CREATE);
  if (!shown) return stat_count(WEFT_STAT_STORAGE_FAILED);
  __builtin_memcpy(&shown->direct, peer, sizeof(*peer));
}

/* Inbound policy speaks of TCP only. */
static __always_inline int connect_forbidden(const struct weft_netns* netns, struct bpf_sock* sk,
                                             const struct weft_svc_key* key, const __u8* ip, __u32 port) {
  if (key->protocol != IPPROTO_TCP || !sk) return 0;
  struct addr to;
  __builtin_memcpy(to.word, ip, sizeof(to.word));
  return egress_forbidden(netns, sk, &to, port);
}

/* Dialled as it is, past any proxy. */
static __always_inline int connect_plainly(struct bpf_sock_addr* ctx, const struct weft_netns* netns,
                                           const struct weft_svc_key* key) {
  if (!connect_forbidden(netns, ctx->sk, key, key->ip, key->port)) return HOOK_PROCEED;
  return hook_refuse(WEFT_STAT_DENIED_EGRESS, ECONNREFUSED);
}

/* Where getpeername looks for the service of this socket. UDP has no end that a program is told of, so it has
 * a storage, which goes with the socket. Null when memory is short. */
static __always_inline struct weft_socket* connect_record(struct bpf_sock_addr* ctx, struct bpf_sock* sk,
                                                          __u32 protocol) {
  if (protocol == IPPROTO_TCP) return socket_make(bpf_get_socket_cookie(ctx), sk);
  return bpf_sk_storage_get(&m_flow_sk, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
}

/* What sockops finds at the dial, so that it need not look for it again; a former connection's is over. */
static __always_inline int connect_direct(struct bpf_sock_addr* ctx, enum hook_family family,
                                          const struct weft_netns* netns, const struct weft_svc_key* key,
                                          struct weft_svc* svc, __u64 cookie, const struct addr* dialled) {
  struct balance_choice choice;
  if (balance_pick(svc, key, cookie, &choice) != BALANCE_PICKED)
    return hook_refuse(WEFT_STAT_NO_BACKEND, EHOSTUNREACH);
  struct bpf_sock* sk = ctx->sk;
  if (!sk) return hook_refuse(WEFT_STAT_DIRECT_FAILED, ENOMEM);
  if (connect_forbidden(netns, sk, key, choice.backend.ip, choice.backend.port))
    return hook_refuse(WEFT_STAT_DENIED_EGRESS, ECONNREFUSED);
  struct weft_socket* known = connect_record(ctx, sk, key->protocol);
  if (!known) return hook_refuse(WEFT_STAT_DIRECT_FAILED, ENOMEM);
  struct weft_direct_peer* peer = &known->direct;
  direct_fill(peer, svc, dialled, key->port, &choice);
  if (key->protocol == IPPROTO_UDP) {
    datagram_remember(sk, peer);
  } else {
    known->key.source = netns->workload_id;
    known->key.destination = peer->service;
    known->key.direction = WEFT_DIRECTION_OUTBOUND;
    known->started_ns = bpf_ktime_get_coarse_ns();
    known->flags = WEFT_SOCKET_DIALLED;
    direct_show_to_mptcp(sk, peer);
  }
  hook_set_addr(ctx, family, peer->backend_ip, peer->backend_port);
  return HOOK_PROCEED;
}

/* Past the proxy: where the service has backends the kernel picks one, else the address is dialled as it is.
 */
static __always_inline int connect_without_proxy(struct bpf_sock_addr* ctx, enum hook_family family,
                                                 const struct weft_netns* netns,
                                                 const struct weft_svc_key* key, struct weft_svc* svc,
                                                 __u64 cookie, const struct addr* dialled) {
  int closed = (netns->flags & WEFT_NETNS_FAIL_CLOSED) || (svc->flags & WEFT_SVC_TUNNEL);
  bypass_count(netns->workload_id, WEFT_BYPASS_OUTBOUND, closed);
  if (closed) return hook_deny(ECONNREFUSED);
  if (svc->count == 0) return connect_plainly(ctx, netns, key);
  return connect_direct(ctx, family, netns, key, svc, cookie, dialled);
}

static __always_inline int connect_by_proxy(struct bpf_sock_addr* ctx, const struct weft_netns* netns) {
  if (!listener_exists(netns->slot)) return hook_refuse(WEFT_STAT_NO_LISTENER, ECONNREFUSED);
  if (socket_mark(ctx, WEFT_MARK_CAPTURE)) return hook_refuse(WEFT_STAT_MARK_FAILED, ECONNREFUSED);
  stat_count(WEFT_STAT_CAPTURED);
  return HOOK_PROCEED;
}

/* 1: this connect is none of the mesh's business. */
static __always_inline int connect_leave(const struct weft_netns* netns, const struct addr* ip, __u32 port) {
  if (addr_is_loopback(ip)) {
    stat_count(WEFT_STAT_LEFT_LOOPBACK);
    return 1;
  }
  if (!exclude_match(netns, ip, port)) return 0;
  stat_count(WEFT_STAT_LEFT_EXCLUDED);
  return 1;
}

/* The storage says to sockops what a mark cannot, which others may set too: the proxy dialled this. */
static __always_inline int connect_of_proxy(struct bpf_sock_addr* ctx, const struct addr* ip, __u32 port) {
  stat_count(WEFT_STAT_LEFT_PROXY);
  /* Unmarked it would only be measured twice, so a failure is counted and the connect goes on. */
  if (socket_mark(ctx, WEFT_MARK_PROXY)) stat_count(WEFT_STAT_MARK_FAILED);
  struct bpf_sock* sk = ctx->sk;
  if (!cfg_shortcut || !cfg_shortcut_join || !sk || !shortcut_is_taken_by(ip, port)) return HOOK_PROCEED;
  struct weft_shortcut_end* end = bpf_sk_storage_get(&m_shortcut_sk, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
  if (end)
    end->is_proxy = WEFT_SHORTCUT_PROXY_DIALS;
  else
    stat_count(WEFT_STAT_SHORTCUT_NO_ROOM);
  return HOOK_PROCEED;
}

static __always_inline int connect_decide(struct bpf_sock_addr* ctx, enum hook_family family) {
  __u64 cookie = bpf_get_netns_cookie(ctx);
  struct weft_netns* netns = bpf_map_lookup_elem(&m_netns, &cookie);
  if (!netns || !(netns->flags & WEFT_NETNS_CAPTURE)) return HOOK_PROCEED;
  struct weft_svc_key key = {.port = hook_port(ctx), .protocol = ctx->protocol};
  if (key.protocol != IPPROTO_TCP && key.protocol != IPPROTO_UDP) return HOOK_PROCEED;
  int is_tcp = key.protocol == IPPROTO_TCP;
  struct addr ip = hook_addr(ctx, family);
  __builtin_memcpy(key.ip, ip.word, sizeof(key.ip));

  if (is_tcp && task_is_proxy()) return connect_of_proxy(ctx, &ip, key.port);
  if (connect_leave(netns, &ip, key.port)) return HOOK_PROCEED;
  struct weft_svc svc = {};
  service_find(&key, &svc);
  if (svc.flags & WEFT_SVC_DIRECT) {
    stat_count(WEFT_STAT_DIRECT);
    return connect_direct(ctx, family, netns, &key, &svc, cookie, &ip);
  }
  if (!is_tcp) return HOOK_PROCEED;
  if (svc.flags & WEFT_SVC_PASS) {
    stat_count(WEFT_STAT_LEFT_ENDPOINT);
    return connect_plainly(ctx, netns, &key);
  }
  if (!proxy_is_alive()) return connect_without_proxy(ctx, family, netns, &key, &svc, cookie, &ip);
  return connect_by_proxy(ctx, netns);
}

/* MPTCP needs no case of its own: the kernel runs the hook for the first subflow, which is TCP. */
SEC("cgroup/connect4")
int mesh_connect4(struct bpf_sock_addr* ctx) { return connect_decide(ctx, HOOK_IPV4); }

SEC("cgroup/connect6")
int mesh_connect6(struct bpf_sock_addr* ctx) { return connect_decide(ctx, HOOK_IPV6); }

char LICENSE[] SEC("license") = "Dual BSD/GPL";
