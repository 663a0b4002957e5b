/* Map keys and values of capture: who is enrolled, what is excluded, which socket listens where.
 * Addresses are 16 bytes, IPv4 as ::ffff:a.b.c.d; ports are host byte order in 32 bits so that no key has
 * padding. */
#ifndef WEFT_BPF_ABI_CAPTURE_H
#define WEFT_BPF_ABI_CAPTURE_H

#include <linux/types.h>

#include "bpf/abi/pad.h"

/* m_netns: __u64 netns cookie -> struct weft_netns. */
#define WEFT_NETNS_CAPTURE (1u << 0)   /* outbound capture is on */
#define WEFT_NETNS_PORT_EXCL (1u << 1) /* some row of m_excl_port belongs to this workload */
#define WEFT_NETNS_CIDR_EXCL (1u << 2) /* some row of m_excl_cidr belongs to this workload */
#define WEFT_NETNS_FAIL_CLOSED \
  (1u << 3)                           /* a proxy that does not answer refuses connects; else they bypass it */
#define WEFT_NETNS_SHORTCUT (1u << 4) /* its connections to the proxy may go past TCP */
struct weft_netns {
  __u32 workload_id; /* the agent's interned id of the pod, never 0 */
  __u32 slot;        /* index into m_listener, below WEFT_MAX_NAMESPACES */
  __u32 flags;       /* WEFT_NETNS_* */
  __u32 reserved;
  WEFT_ABI_PAD
};

/* m_dest: who listens at this address, for metrics and (later) direct balancing. Port 0: the workload that
 * owns the address, used when the port has no row of its own and as the source of inbound flows. */
struct weft_dest_key {
  __u8 ip[16];
  __u32 port;
};
struct weft_dest {
  __u32 id;    /* the agent's interned id of the service or workload, never 0 */
  __u32 flags; /* 0 today */
  WEFT_ABI_PAD
};

/* m_excl_port: row present = leave. workload_id 0 applies to every enrolled namespace. */
struct weft_excl_port_key {
  __u32 workload_id;
  __u32 port;
};

/* m_excl_cidr: LPM trie. prefixlen counts the 32 bits of workload_id and the prefix of the 128-bit address.
 */
struct weft_excl_cidr_key {
  __u32 prefixlen;
  __u32 workload_id;
  __u8 ip[16];
};

/* m_proxy: tgid of a live proxy, in the root pid namespace; the sockets of these tasks are left alone. */
struct weft_proxy {
  __u32 tgid; /* the key again */
  __u32 reserved;
  __u64 heartbeat_ns; /* CLOCK_MONOTONIC, 0 until a proxy beats */
};

/* m_proxy_dial: a dial of the proxy from the namespace of `slot` to an address of that namespace ->
 * CLOCK_MONOTONIC of its begin. */
struct weft_dial_key {
  __u8 from_ip[16];
  __u8 to_ip[16];
  __u32 slot;
  __u16 from_port;
  __u16 to_port;
};

/* m_beat: row 0, written by the living proxy itself through a mapping of the map, so that it counts as alive
 * while the agent restarts. */
struct weft_beat {
  __u64 heartbeat_ns; /* CLOCK_MONOTONIC; 0: nobody watches, the proxy counts as alive */
};

#ifdef __cplusplus
static_assert(sizeof(weft_netns) == 16 + WEFT_ABI_PADDING && sizeof(weft_dest_key) == 20 &&
              sizeof(weft_dest) == 8 + WEFT_ABI_PADDING);
static_assert(sizeof(weft_excl_cidr_key) == 24 && sizeof(weft_proxy) == 16 && sizeof(weft_dial_key) == 40);
#else
_Static_assert(sizeof(struct weft_netns) == 16 + WEFT_ABI_PADDING && sizeof(struct weft_dest_key) == 20,
               "abi");
_Static_assert(sizeof(struct weft_excl_cidr_key) == 24 && sizeof(struct weft_proxy) == 16, "abi");
_Static_assert(sizeof(struct weft_dial_key) == 40, "abi");
#endif
#endif
