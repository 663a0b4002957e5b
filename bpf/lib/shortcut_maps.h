/* The maps of the shortcut; see abi/shortcut.h for the rows and bpf/shortcut.bpf.c for what they are for. */
#ifndef WEFT_BPF_LIB_SHORTCUT_MAPS_H
#define WEFT_BPF_LIB_SHORTCUT_MAPS_H

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "bpf/abi/shortcut.h"

/* struct weft_shortcut_key -> key in m_shortcut
 * writer: shortcut, where a connection is established at the end that dialled; the other end takes it out
 * reader: shortcut
 * a row that was evicted costs a connection its shortcut. */
struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, 8192);
  __type(key, struct weft_shortcut_key);
  __type(value, __u64);
} m_shortcut_dial __weak SEC(".maps");

/* socket cookie of the end that dialled -> struct weft_shortcut
 * writer: shortcut; the row goes with the second end
 * reader: shortcut, agent
 * a connection that finds no room goes by TCP. */
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, WEFT_MAX_SHORTCUTS);
  __type(key, __u64);
  __type(value, struct weft_shortcut);
} m_shortcut __weak SEC(".maps");

/* socket cookie -> socket, whose sends run mesh_shortcut
 * writer: shortcut; the kernel removes a socket that closes
 * reader: shortcut
 * by cookie, which no other socket ever has: bytes cannot reach anybody else. */
struct {
  __uint(type, BPF_MAP_TYPE_SOCKHASH);
  __uint(max_entries, 2 * WEFT_MAX_SHORTCUTS + 64); /* and the plug, at key 0 */
  __type(key, __u64);
  __type(value, __u64);
} m_shortcut_sock __weak SEC(".maps");

/* socket -> struct weft_shortcut_end
 * writer and reader: shortcut
 * a socket without one goes by TCP. */
struct {
  __uint(type, BPF_MAP_TYPE_SK_STORAGE);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, int);
  __type(value, struct weft_shortcut_end);
} m_shortcut_sk __weak SEC(".maps");

#endif
