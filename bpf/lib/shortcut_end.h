/* What the two programs of the shortcut know of an end: its own part, the kernel's view of both sockets, and
 * what it adds to m_flow. lookup: all. Used by bpf/shortcut.bpf.c only. */
#ifndef WEFT_BPF_LIB_SHORTCUT_END_H
#define WEFT_BPF_LIB_SHORTCUT_END_H

#include "bpf/lib/flow.h"
#include "bpf/lib/kernel_types.h"
#include "bpf/lib/shortcut_maps.h"
#include "bpf/lib/socket.h"

/* Bytes that wait unread at this socket, in either queue. */
static __always_inline __u32 tcp_unread(const struct tcp_sock* tcp) {
  return tcp->inet_conn.icsk_inet.sk.sk_backlog.rmem_alloc.counter;
}

/* Somebody works on this socket. A redirect would wait for him in the sender's thread, and he may hold it for
 * long: a pod that faults on memory which another process of its own has to fill. This only makes it rare: he
 * may come after the look. */
static __always_inline int tcp_is_owned(const struct tcp_sock* tcp) {
  return tcp->inet_conn.icsk_inet.sk.sk_lock.owned != 0;
}

static __always_inline __u64 tcp_cookie(const struct tcp_sock* tcp) {
  return tcp->inet_conn.icsk_inet.sk.__sk_common.skc_cookie.counter;
}

static __always_inline struct weft_shortcut* shortcut_of(const struct weft_shortcut_end* end) {
  __u64 key = end->pair;
  return bpf_map_lookup_elem(&m_shortcut, &key);
}

static __always_inline __u32 shortcut_other(const struct weft_shortcut_end* end) {
  return end->side == WEFT_SHORTCUT_DIALLED ? WEFT_SHORTCUT_ACCEPTED : WEFT_SHORTCUT_DIALLED;
}

/* Null: there is none, or its memory is another socket's by now (reading it is safe in any case). */
static __always_inline const struct tcp_sock* shortcut_peer(const struct weft_shortcut_end* end,
                                                            const struct weft_shortcut* pair) {
  const struct tcp_sock* peer = end->side == WEFT_SHORTCUT_DIALLED ? pair->accepted : pair->dialled;
  if (!peer || tcp_cookie(peer) != pair->cookie[shortcut_other(end) & 1]) return 0;
  return peer;
}

/* TCP's own counters do not know of these bytes, and no callback fires for them. */
static __always_inline void shortcut_report(struct weft_shortcut_end* end, const struct weft_shortcut* pair) {
  __u32 place = socket_find_place(pair->cookie[end->side & 1]);
  struct weft_socket* known = place ? socket_at(place) : 0;
  if (!known) return; /* of the proxy's accepting end nothing is measured */
  struct weft_flow* row = flow_row(&known->key);
  if (!row) return;
  __u64 sent = pair->bytes[end->side & 1];
  __u64 received = pair->bytes[shortcut_other(end) & 1];
  __sync_fetch_and_add(&row->sent_bytes, sent - end->sent);
  __sync_fetch_and_add(&row->received_bytes, received - end->received);
  end->sent = sent;
  end->received = received;
}

/* The first answer of the accepting end is the first byte that it sends and its peer receives. */
static __always_inline void shortcut_first_byte(__u64 cookie, __u64 now) {
  __u32 place = socket_find_place(cookie);
  struct weft_socket* known = place ? socket_at(place) : 0;
  if (!known || (known->flags & WEFT_SOCKET_FIRST_BYTE)) return;
  __sync_fetch_and_or(&known->flags, WEFT_SOCKET_FIRST_BYTE);
  struct weft_flow* row = flow_row(&known->key);
  if (row) flow_observe(&row->first_byte, now - known->started_ns);
}

#endif
