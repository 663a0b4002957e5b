/* lookup: is the proxy alive, by the beat that it writes itself? A process that is dead and one that hangs
 * both stop beating. Used by the connect hooks and mesh_lookup. */
#ifndef WEFT_BPF_LIB_BEAT_H
#define WEFT_BPF_LIB_BEAT_H

#include "bpf/lib/config.h"
#include "bpf/lib/maps.h"

static __always_inline int proxy_is_alive(void) {
  __u32 zero = 0;
  struct weft_beat* beat = bpf_map_lookup_elem(&m_beat, &zero);
  if (!beat) return 1; /* an array always has its row */
  __u64 last = *(volatile __u64*)&beat->heartbeat_ns;
  return last == 0 || bpf_ktime_get_ns() - last < cfg_beat_stale_ns || bpf_ktime_get_ns() < last;
}

#endif
