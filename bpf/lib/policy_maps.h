/* The maps of inbound policy and of fail modes; see abi/policy.h. Included by mesh_lookup and the connect
 * hooks. */
#ifndef WEFT_BPF_LIB_POLICY_MAPS_H
#define WEFT_BPF_LIB_POLICY_MAPS_H

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "bpf/abi/capture.h"
#include "bpf/abi/constants.h"
#include "bpf/abi/policy.h"

/* slot -> struct weft_inbound
 * writer: agent, after all rows of a new policy and before it removes those of the old one
 * reader: mesh_lookup */
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, WEFT_MAX_NAMESPACES);
  __type(key, __u32);
  __type(value, struct weft_inbound);
} m_inbound __weak SEC(".maps");

/* slot * WEFT_INBOUND_LISTENERS + WEFT_INBOUND_* -> listening socket
 * writer: agent; the kernel empties a slot when its socket closes
 * reader: mesh_lookup
 * an empty slot: as a proxy that does not answer. */
struct {
  __uint(type, BPF_MAP_TYPE_SOCKMAP);
  __uint(max_entries, WEFT_MAX_NAMESPACES* WEFT_INBOUND_LISTENERS);
  __type(key, __u32);
  __type(value, __u64);
} m_inbound_listener __weak SEC(".maps");

/* policy number -> struct weft_policy
 * writer: agent
 * reader: mesh_lookup
 * a number without a row denies. */
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, WEFT_MAX_POLICIES);
  __type(key, __u32);
  __type(value, struct weft_policy);
} m_policy __weak SEC(".maps");

/* struct weft_policy_cidr_key -> struct weft_rules */
struct {
  __uint(type, BPF_MAP_TYPE_LPM_TRIE);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, WEFT_MAX_POLICY_ROWS);
  __type(key, struct weft_policy_cidr_key);
  __type(value, struct weft_rules);
} m_policy_cidr __weak SEC(".maps");

/* struct weft_policy_port_key -> struct weft_rules */
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, WEFT_MAX_POLICY_ROWS);
  __type(key, struct weft_policy_port_key);
  __type(value, struct weft_rules);
} m_policy_port __weak SEC(".maps");

/* struct weft_policy_workload_key -> struct weft_rules */
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, WEFT_MAX_POLICY_ROWS);
  __type(key, struct weft_policy_workload_key);
  __type(value, struct weft_rules);
} m_policy_workload __weak SEC(".maps");

/* 16-byte address -> struct weft_local
 * writer: agent, from what the namespace of that netns cookie really has
 * reader: mesh_lookup, connect
 * no row: the source has no identity that the kernel can prove. */
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, WEFT_MAX_LOCAL_ADDRESSES);
  __type(key, __u8[16]);
  __type(value, struct weft_local);
} m_local __weak SEC(".maps");

/* 16-byte address of the node itself -> 1
 * writer: agent
 * reader: mesh_lookup
 * probes of the node (kubelet) pass whatever policy says, as in Kubernetes' own network policy. */
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, WEFT_MAX_LOCAL_ADDRESSES);
  __type(key, __u8[16]);
  __type(value, __u32);
} m_node __weak SEC(".maps");

/* struct weft_dial_key -> CLOCK_MONOTONIC of the dial's begin
 * writer: sockops; agent removes what is left of a slot that changes hands
 * reader: mesh_lookup
 * a dial that does not fit is counted, and inspected like any other connection. */
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, WEFT_MAX_PROXY_DIALS);
  __type(key, struct weft_dial_key);
  __type(value, __u64);
} m_proxy_dial __weak SEC(".maps");

/* struct weft_bypass_key -> struct weft_bypass
 * writer: connect, mesh_lookup; agent removes rows of forgotten workloads
 * reader: agent */
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, WEFT_MAX_NAMESPACES * 2);
  __type(key, struct weft_bypass_key);
  __type(value, struct weft_bypass);
} m_bypass __weak SEC(".maps");

#endif
