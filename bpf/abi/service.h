/* Map keys and values of direct balancing: which address is a service, which backend a new connection takes.
 * Addresses as in abi/capture.h. A service's backends stand in one alias table (Vose): `count` consecutive
 * rows of m_pick, one random number chooses the row, a second one between its two backends. A table is
 * written whole into free rows, then the service's row is replaced: the swap is one map write, and nothing
 * waits for a grace period as an inner map would. */
#ifndef WEFT_BPF_ABI_SERVICE_H
#define WEFT_BPF_ABI_SERVICE_H

#include <linux/types.h>

/* IPPROTO_TCP or IPPROTO_UDP. */
struct weft_svc_key {
  __u8 ip[16];
  __u16 port;
  __u8 protocol;
  __u8 reserved;
};

#define WEFT_SVC_DIRECT (1u << 0)   /* a backend is picked in the kernel; without it the proxy takes it */
#define WEFT_SVC_PASS (1u << 1)     /* the address is an endpoint itself: dialled as it is, no proxy */
#define WEFT_SVC_AFFINITY (1u << 2) /* one client namespace keeps its backend for affinity_s */
#define WEFT_SVC_TUNNEL (1u << 3)   /* only the proxy may dial its backends, some of which take tunnels */
struct weft_svc {
  __u32 id;    /* the agent's interned id of the service, never 0 */
  __u32 flags; /* WEFT_SVC_* */
  __u32 base;  /* first row of m_pick */
  __u32 count; /* rows of m_pick; 0: no usable backend */
  __u32 tag;   /* what those rows carry; another tag means that the table was replaced meanwhile */
  __u32 affinity_s;
  __u32 eject_after; /* failed connects in a row that are reported to the agent; 0: never */
  __u32 check;       /* weft_svc_check(key): the kernel reuses elements of a hash map under its readers */
};

struct weft_pick {
  __u32 tag;
  __u32 threshold; /* of 2^32: below it `self`, else `alias` */
  __u32 self;      /* index into m_backend */
  __u32 alias;
};

#define WEFT_BACKEND_USABLE (1u << 0)
struct weft_backend {
  __u8 ip[16];
  __u32 port;
  __u32 id;         /* of its workload */
  __u32 generation; /* another one when the row is given to another backend */
  __u32 flags;
};

struct weft_affinity_key {
  __u64 netns_cookie;
  __u32 service;
  __u16 port;
  __u16 protocol;
};
struct weft_affinity {
  __u32 backend;
  __u32 generation;
  __u64 expires_ns; /* CLOCK_MONOTONIC */
};

/* m_health: how connects to the backend of the same index ended, those of its generation. */
struct weft_health {
  __u32 generation;
  __u32 failures_in_a_row;
  __u32 latency_us; /* of connects, smoothed over eight; one outlier cannot lift it over WEFT_SLOW_US; 0: none
                     */
  __u32 slow_since_s; /* CLOCK_MONOTONIC; moved on by a report, so that the next is a second later; 0: not
                         slow */
};

/* m_failing: ring buffer; a backend failed weft_svc.eject_after connects in a row, or its connects have taken
 * more than WEFT_SLOW_US for WEFT_SLOW_FOR_S. Whether that is worse than its siblings the agent decides. */
struct weft_failing {
  __u32 service; /* weft_svc.id */
  __u32 backend;
  __u32 generation;
  __u32 failures_in_a_row;
  __u32 latency_us; /* 0: it failed, else it is slow */
  __u32 reserved;
};

static inline __u32 weft_svc_check(const struct weft_svc_key* key) {
  __u32 word[4];
  __builtin_memcpy(word, key->ip, sizeof(word));
  __u32 check = ((__u32)key->port << 8) | key->protocol;
  for (int i = 0; i < 4; ++i) check = (check ^ word[i]) * 0x9e3779b1u;
  return check;
}

#ifdef __cplusplus
static_assert(sizeof(weft_svc_key) == 20 && sizeof(weft_svc) == 32 && sizeof(weft_pick) == 16);
static_assert(sizeof(weft_backend) == 32 && sizeof(weft_affinity_key) == 16 && sizeof(weft_affinity) == 16);
static_assert(sizeof(weft_health) == 16 && sizeof(weft_failing) == 24);
#else
_Static_assert(sizeof(struct weft_svc_key) == 20 && sizeof(struct weft_svc) == 32, "abi");
_Static_assert(sizeof(struct weft_pick) == 16 && sizeof(struct weft_backend) == 32, "abi");
_Static_assert(sizeof(struct weft_affinity_key) == 16 && sizeof(struct weft_affinity) == 16, "abi");
#endif
#endif
