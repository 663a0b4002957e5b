/* lookup: will this connection be refused by policy when it arrives? Asked where it starts, so that the
 * answer comes at once and no SYN is sent. Used by the connect hooks. Only a certain no counts, of a pod of
 * this node whose masks are here and from a source address that is known: in doubt the connect goes on, and
 * mesh_lookup decides at the other end as always. */
#ifndef WEFT_BPF_LIB_EGRESS_H
#define WEFT_BPF_LIB_EGRESS_H

#include "bpf/lib/maps.h"
#include "bpf/lib/policy.h"

/* The address that a connect from this namespace to `to` will come from: what the socket is bound to, or the
 * only address of that family that the namespace has. 0: not known. */
static __always_inline int egress_source(const struct weft_inbound* own, struct bpf_sock* sk,
                                         const struct addr* to, struct addr* out) {
  if (addr_is_v4(to)) {
    if (sk->src_ip4) {
      *out = addr_from_v4(sk->src_ip4);
      return 1;
    }
    __builtin_memcpy(out->word, own->source_v4, sizeof(out->word));
    return out->word[3] != 0;
  }
  struct addr bound = {.word = {sk->src_ip6[0], sk->src_ip6[1], sk->src_ip6[2], sk->src_ip6[3]}};
  if (!(bound.word[0] | bound.word[1] | bound.word[2] | bound.word[3]))
    __builtin_memcpy(bound.word, own->source_v6, sizeof(bound.word));
  *out = bound;
  return (bound.word[0] | bound.word[1] | bound.word[2] | bound.word[3]) != 0;
}

/* 1: the connect hook may refuse it. */
static __always_inline int egress_forbidden(const struct weft_netns* netns, struct bpf_sock* sk,
                                            const struct addr* to, __u32 port) {
  struct weft_local* local = bpf_map_lookup_elem(&m_local, to->word);
  if (!local || local->slot == netns->slot) return 0;
  __u32 slot = local->slot;
  struct weft_inbound* inbound = bpf_map_lookup_elem(&m_inbound, &slot);
  /* Another workload: the slot, or the address, has just changed hands. */
  if (!inbound || inbound->workload_id != local->workload_id) return 0;
  if (!(inbound->flags & WEFT_INBOUND_ON)) return 0;
  if (port == WEFT_PORT_HBONE && (inbound->flags & WEFT_INBOUND_NATIVE)) return 0;
  if (inbound->flags & WEFT_INBOUND_DENY_ALL) return 1;
  __u32 number = *(volatile const __u32*)&inbound->policy;
  if (!number) return 0;
  __u32 own_slot = netns->slot;
  struct weft_inbound* own = bpf_map_lookup_elem(&m_inbound, &own_slot);
  struct addr source;
  if (!own || !egress_source(own, sk, to, &source)) return 0;
  if (policy_evaluate(number, &source, port)) return 0;
  return *(volatile const __u32*)&inbound->policy == number;
}

#endif
