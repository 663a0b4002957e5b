/* Why this hook: sk_lookup runs in the pod's namespace when a SYN looks for its listener. A captured SYN came
 * back through `local default dev lo`, so it is the only one that arrives on lo for an address that is not
 * loopback; traffic to the pod's own address also travels over lo, but carries the interface that owns the
 * address (inet_iif, ip6_rcv_core). How it fails: without a listener the connection is refused and counted,
 * never let through to the network. */
#include <linux/bpf.h>
#include <linux/in.h>

#include <bpf/bpf_helpers.h>

#include "bpf/lib/addr.h"
#include "bpf/lib/config.h"
#include "bpf/lib/stat.h"

/* AF_INET of <sys/socket.h>, which no kernel uapi header has. */
#define FAMILY_IPV4 2
/* lo is the first device of every network namespace. */
#define LOOPBACK_IFINDEX 1

static __always_inline int port_is_capture(__u32 port) {
  return port == WEFT_PORT_OUTBOUND || port == WEFT_PORT_INBOUND || port == WEFT_PORT_HBONE;
}

static __always_inline int capture_steer(struct bpf_sk_lookup* ctx) {
  __u32 slot = cfg_slot;
  struct bpf_sock* listener = bpf_map_lookup_elem(&m_listener, &slot);
  if (!listener) {
    stat_count(WEFT_STAT_NO_LISTENER);
    return SK_DROP;
  }
  /* Flags 0: the listener's SO_REUSEPORT group still balances. */
  long error = bpf_sk_assign(ctx, listener, 0);
  bpf_sk_release(listener);
  if (error) {
    stat_count(WEFT_STAT_ASSIGN_FAILED);
    return SK_DROP;
  }
  stat_count(WEFT_STAT_STEERED);
  return SK_PASS;
}

/* The IPv4 word is read before the branch and pinned: clang would fold the two loads into one through a
 * computed context pointer, which the verifier refuses. */
static __always_inline struct addr local_addr(struct bpf_sk_lookup* ctx) {
  __u32 ip4 = ctx->local_ip4;
  asm volatile("" : "+r"(ip4));
  if (ctx->family == FAMILY_IPV4) return addr_from_v4(ip4);
  struct addr a = {.word = {ctx->local_ip6[0], ctx->local_ip6[1], ctx->local_ip6[2], ctx->local_ip6[3]}};
  return a;
}

SEC("sk_lookup")
int mesh_lookup(struct bpf_sk_lookup* ctx) {
  if (ctx->protocol != IPPROTO_TCP) return SK_PASS;
  struct addr local = local_addr(ctx);
  if (ctx->ingress_ifindex == LOOPBACK_IFINDEX && !addr_is_loopback(&local)) return capture_steer(ctx);
  /* Nobody dials a capture port by number: not from outside, not from the pod itself. */
  if (port_is_capture(ctx->local_port)) {
    stat_count(WEFT_STAT_PORT_PROTECTED);
    return SK_DROP;
  }
  return SK_PASS;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
