/* Whether the proxy's dial of an address may take the shortcut. lookup: all. Used where it dials (connect),
 * and where the connection is established (sockops). */
#ifndef WEFT_BPF_LIB_SHORTCUT_TAKEN_H
#define WEFT_BPF_LIB_SHORTCUT_TAKEN_H

#include "bpf/lib/addr.h"
#include "bpf/lib/policy_maps.h"
#include "bpf/lib/shortcut_maps.h"

/* 1: the pod that holds this address is of this node and takes the shortcut. A tunnel never does. */
static __always_inline int shortcut_is_taken_by(const struct addr* ip, __u32 port) {
  if (port == WEFT_PORT_HBONE) return 0;
  struct weft_local* local = bpf_map_lookup_elem(&m_local, ip->word);
  if (!local) return 0;
  __u32 slot = local->slot;
  struct weft_inbound* inbound = bpf_map_lookup_elem(&m_inbound, &slot);
  return inbound && inbound->workload_id == local->workload_id && (inbound->flags & WEFT_INBOUND_SHORTCUT);
}

#endif
