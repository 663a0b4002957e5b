/* lookup: what is remembered of a TCP socket, in a slot of m_socket or, when its sets are full, in a storage
 * of the socket. Used by connect, getpeername and sockops.
 *
 * Why a table: a slot is taken and found with a few reads of memory that is in the cache and one atomic
 * instruction, inside connect(); the kernel makes a storage with two allocations. Who ends it: sockops, when
 * the socket's state becomes CLOSE, which no TCP socket that was dialled or accepted escapes, whatever
 * happens to its process or its namespace. A socket whose dial failed before a SYN never gets there: its slot
 * may be had by another after WEFT_SOCKET_DIAL_S. How it fails: where another program takes sockops its
 * callbacks away, slots stay taken; then sockets have storages, which go with them. Cookies are not used
 * twice, so what is left in a slot is nobody else's.
 *
 * All but the taking happens under the socket's own lock. */
#ifndef WEFT_BPF_LIB_SOCKET_H
#define WEFT_BPF_LIB_SOCKET_H

#include "bpf/lib/maps.h"
#include "bpf/lib/stat.h"

static __always_inline struct weft_socket_set* socket_set(__u32 number) {
  return bpf_map_lookup_elem(&m_socket, &number);
}

/* Places are numbers of slots through all sets, counted from 1; 0 is none. Numbers and not pointers, so that
 * the verifier has one case to follow, wherever a socket was found. */
static __always_inline __u32 socket_place(__u32 set, __u64 slot) {
  return set * WEFT_SOCKET_SLOTS + (__u32)slot + 1;
}

static __always_inline struct weft_socket* socket_at(__u32 place) {
  struct weft_socket_set* set = socket_set((place - 1) / WEFT_SOCKET_SLOTS % WEFT_SOCKET_SETS);
  if (!set) return 0; /* an array has all its rows */
  /* Else clang would compute the address before the question above, which the verifier refuses. */
  asm volatile("" : "+r"(place));
  return &set->socket[(place - 1) % WEFT_SOCKET_SLOTS];
}

/* Where a socket looks first: mostly it ends there. */
static __always_inline __u32 socket_first(__u64 cookie) {
  return (__u32)(cookie / WEFT_SOCKET_NEAR_SETS) % WEFT_SOCKET_SLOTS;
}

/* 1 when they are equal, else 0, of numbers below 2^63. Without a branch, for the verifier's sake too. */
static __always_inline __u64 socket_same(__u64 a, __u64 b) { return ((a ^ b) - 1) >> 63; }

/* A slot of this owner, counted from 1; 0: there is none. */
static __always_inline __u64 socket_slot(const struct weft_socket_set* set, __u64 owner) {
  __u64 slot = 0;
#pragma unroll
  for (int i = 0; i < WEFT_SOCKET_SLOTS; ++i) {
    __u64 same = socket_same(set->owner[i], owner);
    slot = slot * (1 - same) + (i + 1) * same;
  }
  return slot;
}

static __always_inline __u32 socket_owned(__u32 number, __u64 cookie) {
  struct weft_socket_set* set = socket_set(number);
  if (!set) return 0;
  __u64 slot = socket_first(cookie);
  if (set->owner[slot] == cookie) return socket_place(number, slot);
  slot = socket_slot(set, cookie);
  return slot ? socket_place(number, slot - 1) : 0;
}

/* This and socket_make_place() are global, not static: the verifier looks at such a function once, and not
 * again in every state in which it is called (97,000 instructions of mesh_sockops then, 22,000 so). */
__weak __noinline __u32 socket_find_place(__u64 cookie) {
  __u32 place = socket_owned(weft_socket_near(cookie), cookie);
  return place ? place : socket_owned(weft_socket_far(cookie), cookie);
}

/* Of a socket whose place has been looked for. Null when nothing is known of it. */
static __always_inline struct weft_socket* socket_known(__u32 place, struct bpf_sock* sk) {
  return place ? socket_at(place) : bpf_sk_storage_get(&m_flow_sk, sk, 0, 0);
}

static __always_inline struct weft_socket* socket_find(__u64 cookie, struct bpf_sock* sk) {
  return socket_known(socket_find_place(cookie), sk);
}

static __always_inline int socket_take_slot(__u64* owner, __u64 cookie) {
  return *(volatile __u64*)owner == 0 && __sync_val_compare_and_swap(owner, 0, cookie) == 0;
}

/* Who meets another in one slot goes to the next set. */
static __always_inline __u32 socket_take(__u32 number, __u64 cookie) {
  struct weft_socket_set* set = socket_set(number);
  if (!set) return 0;
  __u64 slot = socket_first(cookie);
  if (socket_take_slot(&set->owner[slot], cookie)) return socket_place(number, slot);
  slot = socket_slot(set, 0);
  if (!slot) return 0;
  slot = (slot - 1) % WEFT_SOCKET_SLOTS;
  return socket_take_slot(&set->owner[slot], cookie) ? socket_place(number, slot) : 0;
}

/* The first slot, where it is that of a dial that no SYN followed. Who moves the time first has it. */
static __always_inline __u32 socket_take_over(__u32 number, __u64 cookie) {
  struct weft_socket_set* set = socket_set(number);
  if (!set) return 0;
  __u64 slot = socket_first(cookie);
  struct weft_socket* socket = &set->socket[slot];
  __u64 owner = *(volatile __u64*)&set->owner[slot];
  __u64 now = bpf_ktime_get_coarse_ns();
  __u64 dialled = *(volatile __u64*)&socket->started_ns;
  if (*(volatile __u32*)&socket->flags != WEFT_SOCKET_DIALLED) return 0;
  /* Dialled on another CPU since the clock was read: the difference is below zero. */
  if ((__s64)(now - dialled) < (__s64)(WEFT_SOCKET_DIAL_S * 1000000000ull)) return 0;
  if (__sync_val_compare_and_swap(&socket->started_ns, dialled, now) != dialled) return 0;
  /* Freed, and taken by another, since the owner was read. */
  if (__sync_val_compare_and_swap(&set->owner[slot], owner, cookie) != owner) return 0;
  return socket_place(number, slot);
}

__weak __noinline __u32 socket_make_place(__u64 cookie) {
  __u32 near = weft_socket_near(cookie);
  __u32 far = weft_socket_far(cookie);
  __u32 place = socket_owned(near, cookie);
  if (!place) place = socket_take(near, cookie);
  /* Of a dial that sent no SYN: a second slot would be hidden by it, and never given up. */
  if (!place) place = socket_owned(far, cookie);
  if (!place) place = socket_take(far, cookie);
  if (!place) place = socket_take_over(near, cookie);
  if (!place) place = socket_take_over(far, cookie);
  return place;
}

/* A record with anything in it; null when memory is short. For a socket that socket_find knows nothing of, or
 * whose dial sent no SYN: what it has of that is hidden by this one, and given up in time. */
static __always_inline struct weft_socket* socket_make(__u64 cookie, struct bpf_sock* sk) {
  __u32 place = socket_make_place(cookie);
  if (place) return socket_at(place);
  struct weft_socket* socket = bpf_sk_storage_get(&m_flow_sk, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
  stat_count(socket ? WEFT_STAT_SOCKET_OVERFLOW : WEFT_STAT_STORAGE_FAILED);
  return socket;
}

/* Ordered after all that was written to the slot. A storage goes with its socket. */
static __always_inline void socket_forget(__u64 cookie) {
  __u32 place = socket_find_place(cookie);
  if (!place) return;
  struct weft_socket_set* set = socket_set((place - 1) / WEFT_SOCKET_SLOTS % WEFT_SOCKET_SETS);
  if (!set) return;
  asm volatile("" : "+r"(place));
  /* Whoever has the slot next is nobody until it has written who it is. */
  set->socket[(place - 1) % WEFT_SOCKET_SLOTS].flags = 0;
  __sync_lock_test_and_set(&set->owner[(place - 1) % WEFT_SOCKET_SLOTS], 0);
}

#endif
