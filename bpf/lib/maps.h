/* All maps. Included by every hook file; `bpftool gen object` merges the definitions and refuses two that
 * differ. The agent pins each of them under <pin-root>/maps with its own name. */
#ifndef WEFT_BPF_LIB_MAPS_H
#define WEFT_BPF_LIB_MAPS_H

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "bpf/abi/capture.h"
#include "bpf/abi/constants.h"
#include "bpf/abi/flow.h"
#include "bpf/abi/socket.h"
#include "bpf/abi/stats.h"

/* netns cookie -> struct weft_netns
 * writer: agent, as the last step of enrolment and the first of its undoing
 * reader: connect, sockops
 * no row means not enrolled: the hook leaves the socket alone. */
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, WEFT_MAX_NAMESPACES);
  __type(key, __u64);
  __type(value, struct weft_netns);
} m_netns __weak SEC(".maps");

/* struct weft_dest_key -> struct weft_dest; port 0 is the workload that owns the address
 * writer: agent
 * reader: sockops
 * no row means WEFT_ID_UNKNOWN in the metrics, never a different path. */
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, WEFT_MAX_DESTINATIONS);
  __type(key, struct weft_dest_key);
  __type(value, struct weft_dest);
} m_dest __weak SEC(".maps");

/* struct weft_excl_port_key -> 1
 * writer: agent, before it sets WEFT_NETNS_PORT_EXCL
 * reader: connect
 * row present means leave. */
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, WEFT_MAX_EXCLUSIONS);
  __type(key, struct weft_excl_port_key);
  __type(value, __u32);
} m_excl_port __weak SEC(".maps");

/* struct weft_excl_cidr_key -> 1
 * writer: agent, before it sets WEFT_NETNS_CIDR_EXCL
 * reader: connect
 * any match means leave. */
struct {
  __uint(type, BPF_MAP_TYPE_LPM_TRIE);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, WEFT_MAX_EXCLUSIONS);
  __type(key, struct weft_excl_cidr_key);
  __type(value, __u32);
} m_excl_cidr __weak SEC(".maps");

/* tgid -> struct weft_proxy
 * writer: agent
 * reader: connect
 * several while one proxy replaces another; a row goes when its process has ended. */
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, WEFT_MAX_PROXIES);
  __type(key, __u32);
  __type(value, struct weft_proxy);
} m_proxy __weak SEC(".maps");

/* 0 -> struct weft_beat
 * writer: proxy (mapped), agent once at its start
 * reader: connect, mesh_lookup
 * a stale beat lets each workload's declared mode decide. */
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct weft_beat);
} m_beat __weak SEC(".maps");

/* slot -> first listener of the namespace's SO_REUSEPORT group
 * writer: agent; the kernel empties a slot when the last reference to its socket closes
 * reader: mesh_lookup
 * an empty slot refuses captured connections. 64-bit values let user space look (it reads the socket cookie).
 */
struct {
  __uint(type, BPF_MAP_TYPE_SOCKMAP);
  __uint(max_entries, WEFT_MAX_NAMESPACES);
  __type(key, __u32);
  __type(value, __u64);
} m_listener __weak SEC(".maps");

/* struct weft_flow_key -> struct weft_flow
 * writer: sockops adds; agent makes the overflow rows first and deletes rows of forgotten ids
 * reader: agent
 * totals only grow. */
struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC); /* a row is half a KiB per CPU: memory follows use */
  __uint(max_entries, WEFT_MAX_FLOWS);
  __type(key, struct weft_flow_key);
  __type(value, struct weft_flow);
} m_flow __weak SEC(".maps");

/* enum weft_stat -> count
 * writer: all programs
 * reader: agent
 * totals only grow. */
struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, WEFT_STAT_COUNT);
  __type(key, __u32);
  __type(value, __u64);
} m_stats __weak SEC(".maps");

/* number of a set -> struct weft_socket_set; one record for all programs
 * writer: connect (of balanced sockets), sockops
 * reader: getpeername, sockops, agent
 * a socket that finds its set full has a storage in m_flow_sk. */
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, WEFT_SOCKET_SETS);
  __type(key, __u32);
  __type(value, struct weft_socket_set);
} m_socket __weak SEC(".maps");

/* socket -> struct weft_socket, of UDP, of MPTCP as its program sees it, and of TCP when m_socket is full:
 * making a storage costs a connect more than all the rest
 * writer: connect (of balanced sockets), sockops
 * reader: getpeername, sockops, agent
 * a socket without either is not measured and shows its real peer. */
struct {
  __uint(type, BPF_MAP_TYPE_SK_STORAGE);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, int);
  __type(value, struct weft_socket);
} m_flow_sk __weak SEC(".maps");

#endif
