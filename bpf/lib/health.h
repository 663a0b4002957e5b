/* lookup: what a connect to a balanced backend says about the backend. Used by sockops. */
#ifndef WEFT_BPF_LIB_HEALTH_H
#define WEFT_BPF_LIB_HEALTH_H

#include "bpf/lib/service_maps.h"
#include "bpf/lib/stat.h"

/* Counts failures in a row; the report goes out once, with the failure that makes them too many. */
static __always_inline void health_observe(const struct weft_direct_peer* peer, int ok) {
  __u32 index = peer->backend;
  struct weft_health* health = bpf_map_lookup_elem(&m_health, &index);
  if (!health) return;
  if (health->generation != peer->generation) {
    health->generation = peer->generation;
    health->failures_in_a_row = 0;
  }
  if (ok) {
    /* Mostly there is nothing to write, and the line stays shared between CPUs. */
    if (health->failures_in_a_row) health->failures_in_a_row = 0;
    return;
  }
  __u32 failures = __sync_fetch_and_add(&health->failures_in_a_row, 1) + 1;
  if (failures != peer->eject_after) return;
  struct weft_failing report = {.service = peer->service,
                                .backend = index,
                                .generation = peer->generation,
                                .failures_in_a_row = failures};
  if (bpf_ringbuf_output(&m_failing, &report, sizeof(report), 0)) stat_count(WEFT_STAT_FAILING_LOST);
}

#endif
