/* lookup: counts one event in m_stats. Atomic, because a softirq may run a program on top of another on one
 * CPU. */
#ifndef WEFT_BPF_LIB_STAT_H
#define WEFT_BPF_LIB_STAT_H

#include "bpf/lib/maps.h"

static __always_inline void stat_count(enum weft_stat stat) {
  __u32 index = stat;
  __u64* value = bpf_map_lookup_elem(&m_stats, &index);
  if (value) __sync_fetch_and_add(value, 1);
}

#endif
