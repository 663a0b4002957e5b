/* What the kernel programs remember of one socket: a slot of m_socket, or the value of m_flow_sk, which user
 * space reads through sock_diag (INET_DIAG_REQ_SK_BPF_STORAGES). User space writes neither. Addresses as in
 * abi/capture.h. */
#ifndef WEFT_BPF_ABI_SOCKET_H
#define WEFT_BPF_ABI_SOCKET_H

#include <linux/types.h>

#include "bpf/abi/constants.h"
#include "bpf/abi/flow.h"
#include "bpf/abi/pad.h"

/* What a socket dialled and where that went. */
struct weft_direct_peer {
  __u32 dialled_ip[4];
  __u32 backend_ip[4];
  __u32 dialled_port;
  __u32 backend_port;
  __u32 service; /* weft_svc.id; 0: not balanced in the kernel */
  __u32 backend; /* index into m_backend */
  __u32 generation;
  __u32 eject_after; /* weft_svc.eject_after */
};

#define WEFT_SOCKET_ACTIVE (1u << 0)       /* we dialled: the SYN is part of bytes_acked */
#define WEFT_SOCKET_ESTABLISHED (1u << 1)  /* opened was counted */
#define WEFT_SOCKET_FIN_RECEIVED (1u << 2) /* the peer's FIN is part of bytes_received */
#define WEFT_SOCKET_FIN_ACKED (1u << 3)    /* our FIN is part of bytes_acked */
#define WEFT_SOCKET_FIRST_BYTE (1u << 4)   /* its time was counted */
#define WEFT_SOCKET_WATCHED (1u << 5)      /* we asked for a callback for every packet that is sent */
/* connect has filled `direct` and the key's source for a dial at started_ns, and no SYN has followed yet */
#define WEFT_SOCKET_DIALLED (1u << 6)

/* The key comes first: who only wants to know whose connection this is reads no further. */
struct weft_socket {
  struct weft_flow_key key;
  __u32 flags;       /* WEFT_SOCKET_* */
  __u64 started_ns;  /* of the dial, then of the establishment */
  __u64 reported_ns; /* coarse clock */
  __u64 sent;        /* application bytes already added to m_flow */
  __u64 received;    /* the same */
  __u64 received_at_fin_wait2;
  __u32 retransmits; /* already added to m_flow */
  __u32 watch_left;  /* packets with data that we may still send before the watch ends */
  struct weft_direct_peer direct;
  WEFT_ABI_PAD
};

/* m_socket: number of a set -> struct weft_socket_set. A TCP socket is in some slot of the set
 * weft_socket_near(), or, when that was full, of weft_socket_far(). Cookies are consecutive numbers, so sets
 * fill evenly; the near ones are few, so that a node with few connections stays in the cache. The owners come
 * first: one cache line tells whose the slots are. */
#define WEFT_SOCKET_SLOTS 8
#define WEFT_SOCKET_NEAR_SETS 128u
struct weft_socket_set {
  __u64 owner[WEFT_SOCKET_SLOTS]; /* socket cookie; 0: free */
  struct weft_socket socket[WEFT_SOCKET_SLOTS];
};

static inline __u32 weft_socket_near(__u64 cookie) { return (__u32)cookie % WEFT_SOCKET_NEAR_SETS; }
static inline __u32 weft_socket_far(__u64 cookie) { return (__u32)cookie % WEFT_SOCKET_SETS; }

#ifdef __cplusplus
static_assert(sizeof(weft_direct_peer) == 56 && sizeof(weft_socket) == 120 + WEFT_ABI_PADDING);
static_assert(sizeof(weft_socket_set) == WEFT_SOCKET_SLOTS * (8 + sizeof(weft_socket)));
#else
_Static_assert(sizeof(struct weft_direct_peer) == 56, "abi");
_Static_assert(sizeof(struct weft_socket) == 120 + WEFT_ABI_PADDING, "abi");
#endif
#endif
