/* L4 measurements, aggregated in the kernel: m_flow, per-CPU hash of struct weft_flow_key -> struct
 * weft_flow. */
#ifndef WEFT_BPF_ABI_FLOW_H
#define WEFT_BPF_ABI_FLOW_H

#include <linux/types.h>

#include "bpf/abi/histogram.h"
#include "bpf/abi/pad.h"

#define WEFT_DIRECTION_OUTBOUND 0u /* measured at the client's socket */
#define WEFT_DIRECTION_INBOUND 1u  /* measured at the server's socket */
#define WEFT_DIRECTION_PROXY 2u    /* measured at the socket the proxy dialled for the source */

/* Why a connect never became established. X(NAME, "metric label", "what it means"); the lists also make the
 * values of `cause` and their documentation. */
#define WEFT_CONNECT_FAILURES(X)                                                                  \
  X(REFUSED, "refused", "the peer answered with RST, or ICMP said that the port is closed")       \
  X(TIMEOUT, "timeout", "nothing answered until the kernel gave up")                              \
  X(UNREACHABLE, "unreachable", "the way there failed: no neighbour, no route, or an ICMP error") \
  X(ABANDONED, "abandoned",                                                                       \
    "the client closed its socket before an answer came, as with a timeout of its own")           \
  X(OTHER, "other", "any other error")

/* Why an established connection ended without a FIN of this end. */
#define WEFT_BREAKS(X)                                                          \
  X(RESET, "reset", "the peer sent RST")                                        \
  X(TIMEOUT, "timeout", "the peer no longer answered, or the way there failed") \
  X(ABORTED, "aborted",                                                         \
    "this end sent RST: closed with unread data, without lingering, or by an administrator")

enum weft_connect_failure {
#define X(name, label, help) WEFT_CONNECT_##name,
  WEFT_CONNECT_FAILURES(X)
#undef X
      WEFT_CONNECT_FAILURE_COUNT
};

enum weft_break {
#define X(name, label, help) WEFT_BREAK_##name,
  WEFT_BREAKS(X)
#undef X
      WEFT_BREAK_COUNT
};

/* When m_flow is full, everything is added to {WEFT_ID_OVERFLOW, WEFT_ID_OVERFLOW, direction}, which the
 * agent makes first. */
struct weft_flow_key {
  __u32 source;      /* workload id, or WEFT_ID_UNKNOWN */
  __u32 destination; /* service or workload id, or WEFT_ID_UNKNOWN */
  __u32 direction;   /* WEFT_DIRECTION_* */
};

struct weft_histogram {
  __u64 sum_ns;
  __u64 bucket[WEFT_HISTOGRAM_BUCKETS]; /* bounds in abi/histogram.h, not cumulative */
};

/* Counters of 64 bits only: readers add two rows word by word. */
struct weft_flow {
  __u64 opened;
  __u64 closed;
  __u64 failed[WEFT_CONNECT_FAILURE_COUNT]; /* connects that never became established */
  __u64 broken[WEFT_BREAK_COUNT];           /* part of closed */
  __u64 sent_bytes;                         /* application bytes, as acknowledged by the peer */
  __u64 received_bytes;                     /* application bytes */
  __u64 retransmits;                        /* segments sent again, SYNs included */
  struct weft_histogram connect;            /* dial to established */
  struct weft_histogram rtt;                /* the handshake, then at most one sample per cfg_report_ns */
  struct weft_histogram first_byte;         /* established to first byte: received if dialled, else sent */
  WEFT_ABI_PAD
};

#define WEFT_FLOW_WORDS (13 + 3 * (1 + WEFT_HISTOGRAM_BUCKETS) + WEFT_ABI_PADDING / 8)
#ifdef __cplusplus
static_assert(sizeof(weft_flow_key) == 12 && sizeof(weft_flow) == 8 * WEFT_FLOW_WORDS);
#else
_Static_assert(sizeof(struct weft_flow_key) == 12 && sizeof(struct weft_flow) == 8 * WEFT_FLOW_WORDS, "abi");
#endif
#endif
