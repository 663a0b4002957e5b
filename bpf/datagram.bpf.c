/* Why these hooks: an unconnected UDP socket names its destination with every datagram, so the service
 * address is replaced in sendmsg and put back in recvmsg; DNS through a service address works for resolvers
 * that do not connect. A socket keeps its backend while that is usable, so that one question and its answer
 * meet. How it fails: no usable backend is EHOSTUNREACH; recvmsg cannot refuse, an answer of unknown origin
 * keeps its real source address, which resolvers drop. */
#include <linux/errno.h>

#include "bpf/lib/datagram.h"
#include "bpf/lib/exclude.h"
#include "bpf/lib/sock_addr.h"

static __always_inline int datagram_send(struct bpf_sock_addr* ctx, enum hook_family family) {
  __u64 cookie = bpf_get_netns_cookie(ctx);
  struct weft_netns* netns = bpf_map_lookup_elem(&m_netns, &cookie);
  if (!netns || !(netns->flags & WEFT_NETNS_CAPTURE)) return HOOK_PROCEED;
  struct addr dialled = hook_addr(ctx, family);
  __u32 port = hook_port(ctx);
  struct weft_svc_key key = {.port = port, .protocol = IPPROTO_UDP};
  __builtin_memcpy(key.ip, dialled.word, sizeof(key.ip));
  struct weft_svc svc;
  if (!service_find(&key, &svc) || !(svc.flags & WEFT_SVC_DIRECT)) return HOOK_PROCEED;
  if (exclude_match(netns, &dialled, port)) return HOOK_PROCEED;

  struct bpf_sock* sk = ctx->sk;
  if (!sk) return HOOK_PROCEED;
  struct datagram_peers* peers = bpf_sk_storage_get(&m_datagram_sk, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
  if (!peers) return hook_refuse(WEFT_STAT_DIRECT_FAILED, ENOMEM);
  struct weft_direct_peer* peer = datagram_slot(peers, &dialled, port);
  if (!datagram_still_good(peer, &dialled, port)) {
    struct balance_choice choice;
    if (balance_pick(&svc, &key, cookie, &choice) != BALANCE_PICKED)
      return hook_refuse(WEFT_STAT_NO_BACKEND, EHOSTUNREACH);
    direct_fill(peer, &svc, &dialled, port, &choice);
  }
  hook_set_addr(ctx, family, peer->backend_ip, peer->backend_port);
  stat_count(WEFT_STAT_DATAGRAM);
  return HOOK_PROCEED;
}

static __always_inline int datagram_receive(struct bpf_sock_addr* ctx, enum hook_family family) {
  struct bpf_sock* sk = ctx->sk;
  if (!sk) return HOOK_PROCEED;
  struct datagram_peers* peers = bpf_sk_storage_get(&m_datagram_sk, sk, 0, 0);
  if (!peers) return HOOK_PROCEED;
  struct addr from = hook_addr(ctx, family);
  __u32 port = hook_port(ctx);
  for (int i = 0; i < DATAGRAM_PEERS; ++i) {
    struct weft_direct_peer* peer = &peers->peer[i];
    if (peer->backend_port != port || !addr_equal(peer->backend_ip, from.word)) continue;
    hook_set_addr(ctx, family, peer->dialled_ip, peer->dialled_port);
    break;
  }
  return HOOK_PROCEED;
}

SEC("cgroup/sendmsg4")
int mesh_sendmsg4(struct bpf_sock_addr* ctx) { return datagram_send(ctx, HOOK_IPV4); }

SEC("cgroup/sendmsg6")
int mesh_sendmsg6(struct bpf_sock_addr* ctx) { return datagram_send(ctx, HOOK_IPV6); }

SEC("cgroup/recvmsg4")
int mesh_recvmsg4(struct bpf_sock_addr* ctx) { return datagram_receive(ctx, HOOK_IPV4); }

SEC("cgroup/recvmsg6")
int mesh_recvmsg6(struct bpf_sock_addr* ctx) { return datagram_receive(ctx, HOOK_IPV6); }

char LICENSE[] SEC("license") = "Dual BSD/GPL";
