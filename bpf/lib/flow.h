/* What one socket adds to its row of m_flow. pure: flow_bytes, flow_bucket, flow_due; lookup: the rest. Used
 * by sockops only. */
#ifndef WEFT_BPF_LIB_FLOW_H
#define WEFT_BPF_LIB_FLOW_H

#include "bpf/lib/addr.h"
#include "bpf/lib/config.h"
#include "bpf/lib/maps.h"
#include "bpf/lib/stat.h"

/* The kernel's counters run over sequence space: SYN and FIN count one each (tcp_snd_una_update,
 * tcp_rcv_nxt_update). */
static __always_inline __u64 flow_bytes(__u64 counter, __u32 extra) {
  return counter > extra ? counter - extra : 0;
}

static __always_inline __u32 flow_sent_extra(__u32 flags) {
  return ((flags & WEFT_SOCKET_ACTIVE) ? 1 : 0) + ((flags & WEFT_SOCKET_FIN_ACKED) ? 1 : 0);
}

static __always_inline __u32 flow_received_extra(__u32 flags) {
  return (flags & WEFT_SOCKET_FIN_RECEIVED) ? 1 : 0;
}

/* Index of the first bound that is not below the duration; the last bucket has none. */
static __always_inline __u32 flow_bucket(__u64 ns) {
  __u32 bucket = 0;
#define X(bound_us) bucket += ns > bound_us * 1000ull;
  WEFT_HISTOGRAM_BOUNDS_US(X)
#undef X
  return bucket;
}

static __noinline void flow_observe(struct weft_histogram* histogram, __u64 ns) {
  __u32 bucket = flow_bucket(ns);
  __sync_fetch_and_add(&histogram->sum_ns, ns);
  if (bucket < WEFT_HISTOGRAM_BUCKETS) __sync_fetch_and_add(&histogram->bucket[bucket], 1);
}

static __always_inline __u32 flow_dest_id(const struct addr* ip, __u32 port) {
  struct weft_dest_key key = {.port = port};
  __builtin_memcpy(key.ip, ip->word, sizeof(key.ip));
  struct weft_dest* dest = bpf_map_lookup_elem(&m_dest, &key);
  return dest ? dest->id : WEFT_ID_UNKNOWN;
}

/* Address and port first; an address alone names the workload behind it. */
static __always_inline __u32 flow_peer_id(const struct addr* ip, __u32 port) {
  __u32 id = flow_dest_id(ip, port);
  return id != WEFT_ID_UNKNOWN ? id : flow_dest_id(ip, 0);
}

/* Too large for the stack. */
static const struct weft_flow flow_empty = {};

/* The row of this key, made when missing; the overflow row when the table or memory is full; null when not
 * even that exists. */
static __noinline struct weft_flow* flow_row(const struct weft_flow_key* key) {
  struct weft_flow* row = bpf_map_lookup_elem(&m_flow, key);
  if (row) return row;
  bpf_map_update_elem(&m_flow, key, &flow_empty,
                      BPF_NOEXIST); /* a racing maker is as good: the lookup decides */
  row = bpf_map_lookup_elem(&m_flow, key);
  if (row) return row;
  struct weft_flow_key overflow = {WEFT_ID_OVERFLOW, WEFT_ID_OVERFLOW, key->direction};
  row = bpf_map_lookup_elem(&m_flow, &overflow);
  stat_count(row ? WEFT_STAT_FLOW_OVERFLOW : WEFT_STAT_FLOW_LOST);
  return row;
}

/* Adds what moved since the last report. Totals below the last report (a FIN taken for data) add nothing. */
static __always_inline void flow_add_bytes(struct weft_flow* row, struct weft_socket* flow, __u64 sent,
                                           __u64 received) {
  if (sent > flow->sent) {
    __sync_fetch_and_add(&row->sent_bytes, sent - flow->sent);
    flow->sent = sent;
  }
  if (received > flow->received) {
    __sync_fetch_and_add(&row->received_bytes, received - flow->received);
    flow->received = received;
  }
}

/* The kernel's own count of the connection; grows only. */
static __always_inline void flow_add_retransmits(struct weft_flow* row, struct weft_socket* flow,
                                                 __u32 total) {
  __u32 more = total - flow->retransmits;
  if (!more) return;
  __sync_fetch_and_add(&row->retransmits, more);
  flow->retransmits = total;
}

/* The coarse clock is behind the one that reported_ns began with, by a tick at most: hence signed. */
static __always_inline int flow_due(const struct weft_socket* flow, __u64 now) {
  return (__s64)(now - flow->reported_ns) >= (__s64)cfg_report_ns;
}

#endif
