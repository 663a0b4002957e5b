/* The maps of direct balancing; see abi/service.h for the layout. Included by the hooks that pick or remember
 * a backend. */
#ifndef WEFT_BPF_LIB_SERVICE_MAPS_H
#define WEFT_BPF_LIB_SERVICE_MAPS_H

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "bpf/abi/constants.h"
#include "bpf/abi/service.h"
#include "bpf/abi/socket.h"

/* struct weft_svc_key -> struct weft_svc
 * writer: agent, after the rows of m_pick and m_backend that it points to
 * reader: connect, sendmsg
 * no row: not a service; the proxy takes TCP, UDP is left alone. */
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, WEFT_MAX_SERVICES);
  __type(key, struct weft_svc_key);
  __type(value, struct weft_svc);
} m_svc __weak SEC(".maps");

/* row -> struct weft_pick
 * writer: agent; rows that a service pointed to are not written again for a while
 * reader: connect, sendmsg */
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, WEFT_MAX_PICKS);
  __type(key, __u32);
  __type(value, struct weft_pick);
} m_pick __weak SEC(".maps");

/* backend index -> struct weft_backend
 * writer: agent
 * reader: connect, sendmsg, sockops */
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, WEFT_MAX_BACKENDS);
  __type(key, __u32);
  __type(value, struct weft_backend);
} m_backend __weak SEC(".maps");

/* struct weft_affinity_key -> struct weft_affinity
 * writer and reader: connect, sendmsg
 * an evicted row costs a client its backend, never its connection. */
struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, WEFT_MAX_AFFINITIES);
  __type(key, struct weft_affinity_key);
  __type(value, struct weft_affinity);
} m_affinity __weak SEC(".maps");

#define DATAGRAM_PEERS 4
/* The services that one UDP socket spoke to last; a fifth takes the place of the oldest. */
struct datagram_peers {
  struct weft_direct_peer peer[DATAGRAM_PEERS];
  __u32 next;
  __u32 reserved;
};

/* socket -> struct datagram_peers
 * writer: connect, sendmsg
 * reader: sendmsg, recvmsg
 * an answer from a backend that is not remembered shows the backend's address. */
struct {
  __uint(type, BPF_MAP_TYPE_SK_STORAGE);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, int);
  __type(value, struct datagram_peers);
} m_datagram_sk __weak SEC(".maps");

/* backend index -> struct weft_health
 * writer: sockops; agent clears a row when it lets a backend back
 * reader: sockops */
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, WEFT_MAX_BACKENDS);
  __type(key, __u32);
  __type(value, struct weft_health);
} m_health __weak SEC(".maps");

/* struct weft_failing
 * writer: sockops
 * reader: agent
 * a report that does not fit is lost and counted. */
struct {
  __uint(type, BPF_MAP_TYPE_RINGBUF);
  __uint(max_entries, WEFT_FAILING_BYTES);
} m_failing __weak SEC(".maps");

#endif
