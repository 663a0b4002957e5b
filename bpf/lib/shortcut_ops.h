/* How sockets become ends of a shortcut, leave it and are forgotten: the part of mesh_sockops; the protocol
 * is at the head of bpf/shortcut.bpf.c. lookup: all. Dead code, which the verifier does not look at, where it
 * is switched off and on kernels that cannot do it (cfg_shortcut). */
#ifndef WEFT_BPF_LIB_SHORTCUT_OPS_H
#define WEFT_BPF_LIB_SHORTCUT_OPS_H

#include <asm/socket.h>

#include "bpf/lib/shortcut_end.h"
#include "bpf/lib/shortcut_taken.h"
#include "bpf/lib/sock_ops.h"

/* 1: the namespace of this slot holds the address. */
static __always_inline int shortcut_owns(const struct addr* ip, __u32 slot) {
  struct weft_local* local = bpf_map_lookup_elem(&m_local, ip->word);
  return local && local->slot == slot;
}

static __always_inline void shortcut_key(struct weft_shortcut_key* key, const struct addr* from,
                                         __u32 from_port, const struct addr* to, __u32 to_port,
                                         __u64 netns_cookie) {
  __builtin_memcpy(key->from_ip, from->word, sizeof(key->from_ip));
  __builtin_memcpy(key->to_ip, to->word, sizeof(key->to_ip));
  key->from_port = from_port;
  key->to_port = to_port;
  key->netns_cookie = netns_cookie;
}

/* The socket becomes an end of this pair. 0: it cannot. */
static __always_inline int shortcut_enter(struct bpf_sock_ops* ctx, struct bpf_sock* sk, __u64 pair,
                                          __u32 side, __u32 is_proxy) {
  struct weft_shortcut_end* end = bpf_sk_storage_get(&m_shortcut_sk, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
  if (!end) return 0;
  __u32 mark = sk->mark | WEFT_MARK_SHORTCUT;
  end->pair = pair;
  end->side = side;
  end->is_proxy = is_proxy;
  end->sent = end->received = 0;
  end->reported_ns = bpf_ktime_get_coarse_ns();
  __u64 cookie = bpf_get_socket_cookie(ctx);
  if (bpf_sock_hash_update(ctx, &m_shortcut_sock, &cookie, BPF_NOEXIST)) {
    end->pair = 0;
    return 0;
  }
  __u32 flags = ctx->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG;
  /* What the proxy sends by TCP has to be seen before it goes; mesh_sockops, which looks for itself after
   * this, leaves the flag alone then. */
  if (is_proxy) {
    flags |= BPF_SOCK_OPS_WRITE_HDR_OPT_CB_FLAG;
    bpf_setsockopt(ctx, SOL_SOCKET, SO_MARK, &mark, sizeof(mark));
  }
  bpf_sock_ops_cb_flags_set(ctx, flags);
  return 1;
}

/* The end that dialled is an ordinary socket again: the other end does not come. One that stayed would answer
 * FIONREAD without the bytes of TCP. */
static __always_inline void shortcut_drop_dialled(__u64 cookie) {
  bpf_map_delete_elem(&m_shortcut_sock, &cookie);
}

/* 0: nobody asked for it. Else whether the proxy dialled, and the key's cookie. Of a socket that nobody asked
 * for it looks at the mark and one row. */
static __always_inline int shortcut_may_dial(struct bpf_sock_ops* ctx, struct bpf_sock* sk,
                                             const struct addr* own, const struct addr* peer,
                                             __u64* netns_cookie, __u32* is_proxy) {
  __u32 mark = sk->mark & WEFT_MARK_MASK;
  *is_proxy = mark == WEFT_MARK_PROXY;
  if (!*is_proxy && mark != WEFT_MARK_CAPTURE) return 0;
  /* A pod with CAP_NET_RAW can set the mark, but only connect makes the storage, for the proxy's task. */
  if (*is_proxy) {
    if (!shortcut_is_taken_by(peer, bpf_ntohl(ctx->remote_port))) return 0;
    struct weft_shortcut_end* end = bpf_sk_storage_get(&m_shortcut_sk, sk, 0, 0);
    if (!end || end->is_proxy != WEFT_SHORTCUT_PROXY_DIALS) return 0;
  }
  struct weft_netns* netns = netns_find(ctx);
  if (!netns || (!*is_proxy && !(netns->flags & WEFT_NETNS_SHORTCUT))) return 0;
  *netns_cookie = *is_proxy ? 0 : bpf_get_netns_cookie(ctx);
  return shortcut_owns(own, netns->slot);
}

static __always_inline void shortcut_dialled(struct bpf_sock_ops* ctx) {
  struct bpf_sock* sk = ctx->sk;
  if (!cfg_shortcut_join || !sk) return;
  struct addr peer = peer_addr(ctx);
  struct addr own = own_addr(ctx, &peer);
  __u64 netns_cookie = 0;
  __u32 is_proxy = 0;
  if (!shortcut_may_dial(ctx, sk, &own, &peer, &netns_cookie, &is_proxy)) return;
  __u64 cookie = bpf_get_socket_cookie(ctx);
  struct weft_shortcut empty = {};
  struct weft_shortcut* pair = 0;
  if (bpf_map_update_elem(&m_shortcut, &cookie, &empty, BPF_ANY) == 0)
    pair = bpf_map_lookup_elem(&m_shortcut, &cookie);
  struct tcp_sock* tcp = bpf_skc_to_tcp_sock(sk);
  if (!pair || !tcp) return stat_count(WEFT_STAT_SHORTCUT_NO_ROOM);
  pair->cookie[WEFT_SHORTCUT_DIALLED] = cookie;
  pair->dialled = tcp;
  pair->ends = 1;
  struct weft_shortcut_key key = {};
  shortcut_key(&key, &own, ctx->local_port, &peer, bpf_ntohl(ctx->remote_port), netns_cookie);
  if (shortcut_enter(ctx, sk, cookie, WEFT_SHORTCUT_DIALLED, is_proxy) &&
      bpf_map_update_elem(&m_shortcut_dial, &key, &cookie, BPF_ANY) == 0)
    return;
  shortcut_drop_dialled(cookie);
  bpf_map_delete_elem(&m_shortcut, &cookie);
  stat_count(WEFT_STAT_SHORTCUT_NO_ROOM);
}

/* 0: the namespace is none whose sockets may take the shortcut. */
static __always_inline int shortcut_may_accept(struct bpf_sock_ops* ctx, struct bpf_sock* sk,
                                               const struct weft_netns* netns, const struct addr* own,
                                               __u64* netns_cookie, __u32* is_proxy) {
  if (!(netns->flags & WEFT_NETNS_SHORTCUT)) return 0;
  *is_proxy = is_of_proxy(sk);
  *netns_cookie = *is_proxy ? bpf_get_netns_cookie(ctx) : 0;
  /* The proxy accepts at the address that its client dialled, a pod at its own. */
  return *is_proxy || shortcut_owns(own, netns->slot);
}

static __always_inline void shortcut_accepted(struct bpf_sock_ops* ctx, const struct weft_netns* netns) {
  struct bpf_sock* sk = ctx->sk;
  if (!sk) return;
  struct addr peer = peer_addr(ctx);
  struct addr own = own_addr(ctx, &peer);
  __u64 netns_cookie = 0;
  __u32 is_proxy = 0;
  if (!shortcut_may_accept(ctx, sk, netns, &own, &netns_cookie, &is_proxy)) return;
  struct weft_shortcut_key key = {};
  shortcut_key(&key, &peer, bpf_ntohl(ctx->remote_port), &own, ctx->local_port, netns_cookie);
  __u64* dialled = bpf_map_lookup_elem(&m_shortcut_dial, &key);
  if (!dialled) return;
  __u64 number = *dialled;
  bpf_map_delete_elem(&m_shortcut_dial, &key);
  struct weft_shortcut* pair = bpf_map_lookup_elem(&m_shortcut, &number);
  struct tcp_sock* tcp = bpf_skc_to_tcp_sock(sk);
  if (!cfg_shortcut_join || !pair || !tcp) return shortcut_drop_dialled(number);
  __u64 cookie = bpf_get_socket_cookie(ctx);
  pair->cookie[WEFT_SHORTCUT_ACCEPTED] = cookie;
  pair->accepted = tcp;
  __sync_fetch_and_add(&pair->ends, 1);
  if (!shortcut_enter(ctx, sk, number, WEFT_SHORTCUT_ACCEPTED, is_proxy)) {
    pair->cookie[WEFT_SHORTCUT_ACCEPTED] = 0;
    __sync_fetch_and_add(&pair->ends, -1);
    shortcut_drop_dialled(number);
    return stat_count(WEFT_STAT_SHORTCUT_NO_ROOM);
  }
  stat_count(WEFT_STAT_SHORTCUT_JOINED);
  /* The proxy has sent by TCP before this end was there: then it stays an ordinary one. */
  if ((__sync_fetch_and_or(&pair->state, WEFT_SHORTCUT_JOINED) & WEFT_SHORTCUT_LEFT) && !is_proxy)
    bpf_map_delete_elem(&m_shortcut_sock, &cookie);
}

/* A TCP packet of the proxy's, which is not made yet: after mesh_shortcut has said that it leaves,
 * under the same lock of this socket. */
static __always_inline void shortcut_packet(struct bpf_sock_ops* ctx) {
  struct bpf_sock* sk = ctx->sk;
  if (!sk || !(sk->mark & WEFT_MARK_SHORTCUT)) return;
  struct weft_shortcut_end* end = bpf_sk_storage_get(&m_shortcut_sk, sk, 0, 0);
  struct weft_shortcut* pair = end && end->is_proxy ? shortcut_of(end) : 0;
  if (!pair || (pair->state & (WEFT_SHORTCUT_LEFT | WEFT_SHORTCUT_REMOVED)) != WEFT_SHORTCUT_LEFT) return;
  __u64 peer = pair->cookie[shortcut_other(end) & 1];
  __sync_fetch_and_or(&pair->state, WEFT_SHORTCUT_REMOVED);
  if (peer) bpf_map_delete_elem(&m_shortcut_sock, &peer);
  bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags & ~BPF_SOCK_OPS_WRITE_HDR_OPT_CB_FLAG);
}

/* Its row in m_shortcut_dial, when the other end has not taken it: it would not find this one any more. */
static __always_inline void shortcut_undial(struct bpf_sock_ops* ctx, const struct weft_shortcut_end* end) {
  struct addr peer = peer_addr(ctx);
  struct addr own = own_addr(ctx, &peer);
  struct weft_shortcut_key key = {};
  shortcut_key(&key, &own, ctx->local_port, &peer, bpf_ntohl(ctx->remote_port),
               end->is_proxy ? 0 : bpf_get_netns_cookie(ctx));
  __u64* dialled = bpf_map_lookup_elem(&m_shortcut_dial, &key);
  if (dialled && *dialled == end->pair) bpf_map_delete_elem(&m_shortcut_dial, &key);
}

static __always_inline void shortcut_closed(struct bpf_sock_ops* ctx) {
  struct bpf_sock* sk = ctx->sk;
  struct weft_shortcut_end* end = sk ? bpf_sk_storage_get(&m_shortcut_sk, sk, 0, 0) : 0;
  struct weft_shortcut* pair = end ? shortcut_of(end) : 0;
  if (!pair || pair->cookie[end->side & 1] != bpf_get_socket_cookie(ctx)) return;
  shortcut_report(end, pair);
  if (end->side == WEFT_SHORTCUT_DIALLED && !pair->cookie[WEFT_SHORTCUT_ACCEPTED]) shortcut_undial(ctx, end);
  __u64 key = end->pair;
  if (__sync_fetch_and_add(&pair->ends, -1) == 1) bpf_map_delete_elem(&m_shortcut, &key);
}

#endif
