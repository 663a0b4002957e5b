/* lookup: what a UDP socket remembers of the services that it spoke to. Used by connect, sendmsg and recvmsg.
 */
#ifndef WEFT_BPF_LIB_DATAGRAM_H
#define WEFT_BPF_LIB_DATAGRAM_H

#include "bpf/lib/balance.h"

/* The slot of this service, or the one to give up for it. */
static __always_inline struct weft_direct_peer* datagram_slot(struct datagram_peers* peers,
                                                              const struct addr* dialled, __u32 port) {
  for (int i = 0; i < DATAGRAM_PEERS; ++i) {
    struct weft_direct_peer* peer = &peers->peer[i];
    if (peer->dialled_port == port && addr_equal(peer->dialled_ip, dialled->word)) return peer;
  }
  __u32 next = peers->next++ % DATAGRAM_PEERS;
  return &peers->peer[next];
}

static __always_inline int datagram_still_good(const struct weft_direct_peer* peer,
                                               const struct addr* dialled, __u32 port) {
  if (peer->dialled_port != port || !addr_equal(peer->dialled_ip, dialled->word)) return 0;
  __u32 index = peer->backend;
  struct weft_backend* backend = bpf_map_lookup_elem(&m_backend, &index);
  return backend && backend->generation == peer->generation && (backend->flags & WEFT_BACKEND_USABLE);
}

#endif
