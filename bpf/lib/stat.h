/* lookup: counts events in m_stats. Atomic, because a softirq may run a program on top of another on one
 * CPU. */
#ifndef WEFT_BPF_LIB_STAT_H
#define WEFT_BPF_LIB_STAT_H

#include "bpf/lib/maps.h"

static __always_inline void stat_add(enum weft_stat stat, __u64 count) {
  __u32 index = stat;
  __u64* value = bpf_map_lookup_elem(&m_stats, &index);
  if (value) __sync_fetch_and_add(value, count);
}

static __always_inline void stat_count(enum weft_stat stat) { stat_add(stat, 1); }

#endif
