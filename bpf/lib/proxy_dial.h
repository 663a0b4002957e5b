/* lookup: is this SYN one that the node's own proxy sends to the namespace that it dials from? A port whose
 * connections the proxy inspects would else hand the proxy its own connection to the application, for ever.
 * sockops writes a row when such a dial begins and removes it when the dial ends; mesh_lookup asks. Only the
 * detour is spared: policy has been asked before. How it fails: without a row the connection is inspected. */
#ifndef WEFT_BPF_LIB_PROXY_DIAL_H
#define WEFT_BPF_LIB_PROXY_DIAL_H

#include "bpf/lib/addr.h"
#include "bpf/lib/maps.h"
#include "bpf/lib/policy_maps.h"
#include "bpf/lib/stat.h"

static __always_inline void proxy_dial_key(struct weft_dial_key* key, __u32 slot, const struct addr* from,
                                           __u32 from_port, const struct addr* to, __u32 to_port) {
  __builtin_memcpy(key->from_ip, from->word, sizeof(key->from_ip));
  __builtin_memcpy(key->to_ip, to->word, sizeof(key->to_ip));
  key->slot = slot;
  key->from_port = from_port;
  key->to_port = to_port;
}

static __always_inline void proxy_dial_begin(const struct weft_dial_key* key, __u64 now) {
  if (bpf_map_update_elem(&m_proxy_dial, key, &now, BPF_ANY)) stat_count(WEFT_STAT_PROXY_DIAL_LOST);
}

/* A row whose end nobody saw does not count for long. */
static __always_inline int proxy_dial_is_known(const struct weft_dial_key* key) {
  __u64* began = bpf_map_lookup_elem(&m_proxy_dial, key);
  return began && bpf_ktime_get_ns() - *began < WEFT_PROXY_DIAL_S * 1000000000ull;
}

#endif
