/* Why this hook: sk_lookup runs in the pod's namespace when a SYN looks for its listener. A captured SYN came
 * back through `local default dev lo`, so it is the only one that arrives on lo for an address that is not
 * loopback; traffic to the pod's own address also travels over lo, but carries the interface that owns the
 * address (inet_iif, ip6_rcv_core). A SYN from outside is judged here too, before any application sees it: by
 * source address, port and, for pods of this node, by the workload that holds the source address. How it
 * fails: a captured connection without a listener is refused and counted, never let through to the network; a
 * policy that is not in the kernel denies. */
#include <linux/bpf.h>
#include <linux/in.h>

#include <bpf/bpf_helpers.h>

#include "bpf/lib/addr.h"
#include "bpf/lib/beat.h"
#include "bpf/lib/bypass.h"
#include "bpf/lib/config.h"
#include "bpf/lib/policy.h"
#include "bpf/lib/proxy_dial.h"
#include "bpf/lib/stat.h"

/* AF_INET of <sys/socket.h>, which no kernel uapi header has. */
#define FAMILY_IPV4 2
/* lo is the first device of every network namespace. */
#define LOOPBACK_IFINDEX 1

static __always_inline int port_is_capture(__u32 port) {
  return port == WEFT_PORT_OUTBOUND || port == WEFT_PORT_INBOUND;
}

static __always_inline int port_protect(void) {
  stat_count(WEFT_STAT_PORT_PROTECTED);
  return SK_DROP;
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

static __always_inline struct addr remote_addr(struct bpf_sk_lookup* ctx) {
  __u32 ip4 = ctx->remote_ip4;
  asm volatile("" : "+r"(ip4));
  if (ctx->family == FAMILY_IPV4) return addr_from_v4(ip4);
  struct addr a = {.word = {ctx->remote_ip6[0], ctx->remote_ip6[1], ctx->remote_ip6[2], ctx->remote_ip6[3]}};
  return a;
}

/* A connection that the proxy must see before the application; fail modes as for connects. */
static __always_inline int inbound_steer(struct bpf_sk_lookup* ctx, const struct weft_inbound* inbound,
                                         __u32 which, enum weft_stat counted) {
  __u32 index = cfg_slot * WEFT_INBOUND_LISTENERS + which;
  struct bpf_sock* listener = proxy_is_alive() ? bpf_map_lookup_elem(&m_inbound_listener, &index) : 0;
  if (!listener) {
    /* Nobody but the proxy can read HBONE. */
    int closed = which == WEFT_INBOUND_HBONE || (inbound->flags & WEFT_INBOUND_FAIL_CLOSED);
    bypass_count(inbound->workload_id, WEFT_BYPASS_INBOUND, closed);
    return closed ? SK_DROP : SK_PASS;
  }
  long error = bpf_sk_assign(ctx, listener, 0);
  bpf_sk_release(listener);
  stat_count(error ? WEFT_STAT_ASSIGN_FAILED : counted);
  return error ? SK_DROP : SK_PASS;
}

/* The namespace may have several addresses. */
static __always_inline int addr_is_of_slot(const struct addr* ip) {
  struct weft_local* known = bpf_map_lookup_elem(&m_local, ip->word);
  return known && known->slot == cfg_slot;
}

static __always_inline int is_proxy_dial(struct bpf_sk_lookup* ctx, const struct addr* local,
                                         const struct addr* remote) {
  struct weft_dial_key key;
  /* remote_port is in network byte order and local_port is not. */
  proxy_dial_key(&key, cfg_slot, remote, bpf_ntohs(ctx->remote_port), local, ctx->local_port);
  if (!proxy_dial_is_known(&key)) return 0;
  stat_count(WEFT_STAT_PROXY_DIAL);
  return 1;
}

/* What comes from outside, or from the namespace itself to an address of its own. */
static __always_inline int inbound_decide(struct bpf_sk_lookup* ctx, const struct addr* local,
                                          const struct addr* remote) {
  __u32 slot = cfg_slot;
  struct weft_inbound* inbound = bpf_map_lookup_elem(&m_inbound, &slot);
  /* An array always has its row; the verifier does not know. */
  if (!inbound) return SK_PASS;
  int is_own = addr_is_loopback(local) || addr_equal(local->word, remote->word) || addr_is_of_slot(remote);
  if (ctx->local_port == WEFT_PORT_HBONE) {
    if (inbound->flags & WEFT_INBOUND_NATIVE) return SK_PASS;
    if (!is_own && (inbound->flags & WEFT_INBOUND_HBONE_ON))
      return inbound_steer(ctx, inbound, WEFT_INBOUND_HBONE, WEFT_STAT_HBONE);
    return port_protect();
  }
  if (is_own || !(inbound->flags & WEFT_INBOUND_ON)) return SK_PASS;
  if (bpf_map_lookup_elem(&m_node, remote->word)) {
    stat_count(WEFT_STAT_PROBE);
    return SK_PASS;
  }
  if (inbound->flags & WEFT_INBOUND_DENY_ALL) {
    stat_count(WEFT_STAT_DENIED_UNKNOWN);
    return SK_DROP;
  }
  if (!policy_allows(inbound, remote, ctx->local_port)) {
    stat_count(WEFT_STAT_DENIED);
    return SK_DROP;
  }
  if ((inbound->flags & WEFT_INBOUND_INSPECT) && !is_proxy_dial(ctx, local, remote))
    return inbound_steer(ctx, inbound, WEFT_INBOUND_PLAINTEXT, WEFT_STAT_INSPECTED);
  return SK_PASS;
}

SEC("sk_lookup")
int mesh_lookup(struct bpf_sk_lookup* ctx) {
  if (ctx->protocol != IPPROTO_TCP) return SK_PASS;
  struct addr local = local_addr(ctx);
  if (ctx->ingress_ifindex == LOOPBACK_IFINDEX && !addr_is_loopback(&local)) return capture_steer(ctx);
  /* Nobody dials a capture port by number: not from outside, not from the pod itself. */
  if (port_is_capture(ctx->local_port)) return port_protect();
  struct addr remote = remote_addr(ctx);
  return inbound_decide(ctx, &local, &remote);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
