/* lookup: counts, per workload, what the absence of a proxy meant. Used by connect and mesh_lookup. */
#ifndef WEFT_BPF_LIB_BYPASS_H
#define WEFT_BPF_LIB_BYPASS_H

#include "bpf/lib/policy_maps.h"
#include "bpf/lib/stat.h"

static __always_inline void bypass_count(__u32 workload_id, __u32 direction, int refused) {
  stat_count(refused ? WEFT_STAT_FAILED_CLOSED : WEFT_STAT_BYPASSED);
  struct weft_bypass_key key = {.workload_id = workload_id, .direction = direction};
  struct weft_bypass* row = bpf_map_lookup_elem(&m_bypass, &key);
  if (!row) {
    struct weft_bypass empty = {};
    bpf_map_update_elem(&m_bypass, &key, &empty, BPF_NOEXIST); /* a racing maker is as good */
    row = bpf_map_lookup_elem(&m_bypass, &key);
    if (!row) return; /* full: the total above still counts */
  }
  __sync_fetch_and_add(refused ? &row->refused : &row->bypassed, 1);
}

#endif
