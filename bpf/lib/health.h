/* What a connect to a balanced backend says about the backend. pure: health_smooth; lookup: the rest. Used by
 * sockops. */
#ifndef WEFT_BPF_LIB_HEALTH_H
#define WEFT_BPF_LIB_HEALTH_H

#include "bpf/lib/maps.h"
#include "bpf/lib/service_maps.h"
#include "bpf/lib/stat.h"

#define HEALTH_SAMPLES 8 /* that the mean is smoothed over */
#define HEALTH_LEAP 8    /* what one sample may be of the mean before it */

static __always_inline void health_report(const struct weft_direct_peer* peer, __u32 failures,
                                          __u32 latency_us) {
  struct weft_failing report = {.service = peer->service,
                                .backend = peer->backend,
                                .generation = peer->generation,
                                .failures_in_a_row = failures,
                                .latency_us = latency_us};
  if (bpf_ringbuf_output(&m_failing, &report, sizeof(report), 0)) stat_count(WEFT_STAT_FAILING_LOST);
}

/* A lost SYN makes one connect take a second: each sample counts for a few times the mean at the most, so
 * that several must be slow before the mean is. */
static __always_inline __u32 health_smooth(__u32 mean_us, __u64 elapsed_ns) {
  __u64 most = (__u64)mean_us * HEALTH_LEAP;
  if (most < WEFT_SLOW_US) most = WEFT_SLOW_US;
  __u64 sample = elapsed_ns / 1000;
  if (sample > most) sample = most;
  if (!mean_us) return sample ? (__u32)sample : 1;
  __u64 mean = mean_us + sample / HEALTH_SAMPLES - mean_us / HEALTH_SAMPLES;
  return mean > 0x7fffffff ? 0x7fffffff : (__u32)mean;
}

/* Updates may be lost between two CPUs: it is a mean. Mostly there is nothing to write, and the cache line
 * stays shared. */
static __always_inline void health_latency(const struct weft_direct_peer* peer, struct weft_health* health,
                                           __u64 elapsed_ns, __u64 now) {
  __u32 mean = health_smooth(health->latency_us, elapsed_ns);
  if (mean != health->latency_us) health->latency_us = mean;
  if (mean <= WEFT_SLOW_US) {
    if (health->slow_since_s) health->slow_since_s = 0;
    return;
  }
  __u32 now_s = (__u32)(now / 1000000000ull) + 1; /* never 0 */
  if (!health->slow_since_s) health->slow_since_s = now_s;
  if (now_s - health->slow_since_s < WEFT_SLOW_FOR_S) return;
  health->slow_since_s = now_s - WEFT_SLOW_FOR_S + 1;
  health_report(peer, 0, mean);
}

static __always_inline struct weft_health* health_row(const struct weft_direct_peer* peer) {
  __u32 index = peer->backend;
  struct weft_health* health = bpf_map_lookup_elem(&m_health, &index);
  if (!health || health->generation == peer->generation) return health;
  health->generation = peer->generation;
  health->failures_in_a_row = 0;
  health->latency_us = 0;
  health->slow_since_s = 0;
  return health;
}

static __always_inline void health_connected(const struct weft_direct_peer* peer, __u64 elapsed_ns,
                                             __u64 now) {
  struct weft_health* health = health_row(peer);
  if (!health) return;
  if (health->failures_in_a_row) health->failures_in_a_row = 0;
  health_latency(peer, health, elapsed_ns, now);
}

/* Counts failures in a row; the report goes out once, with the failure that makes them too many. */
static __always_inline void health_failed(const struct weft_direct_peer* peer) {
  struct weft_health* health = health_row(peer);
  if (!health) return;
  __u32 failures = __sync_fetch_and_add(&health->failures_in_a_row, 1) + 1;
  if (failures == peer->eject_after) health_report(peer, failures, 0);
}

#endif
