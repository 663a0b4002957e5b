/* L4 measurements, aggregated in the kernel: m_flow, per-CPU hash of struct weft_flow_key -> struct
 * weft_flow. */
#ifndef WEFT_BPF_ABI_FLOW_H
#define WEFT_BPF_ABI_FLOW_H

#include <linux/types.h>

#include "bpf/abi/histogram.h"

#define WEFT_DIRECTION_OUTBOUND 0u /* measured at the client's socket */
#define WEFT_DIRECTION_INBOUND 1u  /* measured at the server's socket */
#define WEFT_DIRECTION_PROXY 2u    /* measured at the socket the proxy dialled for the source */

/* When m_flow is full, everything is added to {WEFT_ID_OVERFLOW, WEFT_ID_OVERFLOW, direction}, which the
 * agent makes first. */
struct weft_flow_key {
  __u32 source;      /* workload id, or WEFT_ID_UNKNOWN */
  __u32 destination; /* service or workload id, or WEFT_ID_UNKNOWN */
  __u32 direction;   /* WEFT_DIRECTION_* */
};

struct weft_flow {
  __u64 opened;
  __u64 closed;
  __u64 failed;         /* connects that never became established */
  __u64 sent_bytes;     /* application bytes, as acknowledged by the peer */
  __u64 received_bytes; /* application bytes */
  __u64 connect_ns_sum;
  __u64 connect_bucket[WEFT_HISTOGRAM_BUCKETS]; /* bounds in abi/histogram.h, not cumulative */
};

#ifdef __cplusplus
static_assert(sizeof(weft_flow_key) == 12 && sizeof(weft_flow) == 48 + 8 * WEFT_HISTOGRAM_BUCKETS);
#else
_Static_assert(sizeof(struct weft_flow_key) == 12 &&
                   sizeof(struct weft_flow) == 48 + 8 * WEFT_HISTOGRAM_BUCKETS,
               "abi");
#endif
#endif
