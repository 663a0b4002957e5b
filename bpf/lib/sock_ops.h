/* What the sockops hooks share: whose socket it is, and its addresses. lookup: netns_find; pure: the rest. */
#ifndef WEFT_BPF_LIB_SOCK_OPS_H
#define WEFT_BPF_LIB_SOCK_OPS_H

#include <linux/bpf.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "bpf/lib/addr.h"
#include "bpf/lib/maps.h"

/* AF_INET of <sys/socket.h>, which no kernel uapi header has. */
#define FAMILY_IPV4 2
/* Every sockops program returns 1; other values are reply codes of operations that are not answered here. */
#define SOCKOPS_DONE 1

/* The IPv4 word is read before the branch and pinned: clang would fold the two loads into one through a
 * computed context pointer, which the verifier refuses. */
static __always_inline struct addr peer_addr(struct bpf_sock_ops* ctx) {
  __u32 ip4 = ctx->remote_ip4;
  asm volatile("" : "+r"(ip4));
  if (ctx->family == FAMILY_IPV4) return addr_from_v4(ip4);
  struct addr a = {.word = {ctx->remote_ip6[0], ctx->remote_ip6[1], ctx->remote_ip6[2], ctx->remote_ip6[3]}};
  return a;
}

/* The local address as an IPv4 peer sees it is in local_ip4, also of an IPv6 socket. */
static __always_inline struct addr own_addr(struct bpf_sock_ops* ctx, const struct addr* peer) {
  __u32 ip4 = ctx->local_ip4;
  asm volatile("" : "+r"(ip4));
  if (addr_is_v4(peer)) return addr_from_v4(ip4);
  struct addr a = {.word = {ctx->local_ip6[0], ctx->local_ip6[1], ctx->local_ip6[2], ctx->local_ip6[3]}};
  return a;
}

/* Null: not enrolled. */
static __always_inline struct weft_netns* netns_find(struct bpf_sock_ops* ctx) {
  __u64 cookie = bpf_get_netns_cookie(ctx);
  return bpf_map_lookup_elem(&m_netns, &cookie);
}

/* Set by connect on what the proxy dials; what it accepts has the mark of the listener. */
static __always_inline int is_of_proxy(const struct bpf_sock* sk) {
  return (sk->mark & WEFT_MARK_MASK) == WEFT_MARK_PROXY;
}

#endif
