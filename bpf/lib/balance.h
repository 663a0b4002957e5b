/* lookup: the service at an address and a backend of it. Used by the connect and sendmsg hooks. */
#ifndef WEFT_BPF_LIB_BALANCE_H
#define WEFT_BPF_LIB_BALANCE_H

#include "bpf/lib/addr.h"
#include "bpf/lib/service_maps.h"
#include "bpf/lib/stat.h"

/* A reader that meets a replacement looks again; two in a row within nanoseconds do not happen by accident.
 */
#define BALANCE_TRIES 4

enum balance_result { BALANCE_PICKED, BALANCE_NO_BACKEND, BALANCE_RACED };

struct balance_choice {
  struct weft_backend backend;
  __u32 index;
};

/* A copy of the row, because the kernel may give the element to another key while it is read; `check` tells.
 */
static __always_inline int service_find(const struct weft_svc_key* key, struct weft_svc* out) {
  __u32 check = weft_svc_check(key);
  for (int i = 0; i < BALANCE_TRIES; ++i) {
    struct weft_svc* row = bpf_map_lookup_elem(&m_svc, key);
    if (!row) return 0;
    __builtin_memcpy(out, row, sizeof(*out));
    if (out->check == check) return 1;
  }
  stat_count(WEFT_STAT_PICK_RACED);
  return 0;
}

static __always_inline enum balance_result balance_read(__u32 index, struct balance_choice* out) {
  struct weft_backend* backend = bpf_map_lookup_elem(&m_backend, &index);
  if (!backend) return BALANCE_RACED;
  __builtin_memcpy(&out->backend, backend, sizeof(out->backend));
  out->index = index;
  return BALANCE_PICKED;
}

static __always_inline enum balance_result balance_weighted(const struct weft_svc* svc,
                                                            struct balance_choice* out) {
  if (svc->count == 0) return BALANCE_NO_BACKEND;
  __u32 row = svc->base + (__u32)(((__u64)bpf_get_prandom_u32() * svc->count) >> 32);
  struct weft_pick* pick = bpf_map_lookup_elem(&m_pick, &row);
  if (!pick || pick->tag != svc->tag) return BALANCE_RACED;
  return balance_read(bpf_get_prandom_u32() < pick->threshold ? pick->self : pick->alias, out);
}

static __always_inline int balance_remembered(const struct weft_affinity_key* key, struct balance_choice* out,
                                              __u64 now) {
  struct weft_affinity* known = bpf_map_lookup_elem(&m_affinity, key);
  if (!known || known->expires_ns < now) return 0;
  if (balance_read(known->backend, out) != BALANCE_PICKED) return 0;
  return out->backend.generation == known->generation && (out->backend.flags & WEFT_BACKEND_USABLE);
}

/* The backend that this client namespace had, or a new one that it will have. Two connects at once may pick
 * twice; the later one is remembered. */
static __always_inline enum balance_result balance_sticky(const struct weft_svc* svc,
                                                          const struct weft_svc_key* key, __u64 netns_cookie,
                                                          struct balance_choice* out) {
  struct weft_affinity_key client = {
      .netns_cookie = netns_cookie, .service = svc->id, .port = key->port, .protocol = key->protocol};
  __u64 now = bpf_ktime_get_ns();
  if (!balance_remembered(&client, out, now)) {
    enum balance_result result = balance_weighted(svc, out);
    if (result != BALANCE_PICKED) return result;
  }
  struct weft_affinity choice = {.backend = out->index,
                                 .generation = out->backend.generation,
                                 .expires_ns = now + svc->affinity_s * 1000000000ull};
  if (bpf_map_update_elem(&m_affinity, &client, &choice, BPF_ANY)) stat_count(WEFT_STAT_AFFINITY_FAILED);
  return BALANCE_PICKED;
}

/* `svc` is read again when its table was replaced between the two reads. */
static __always_inline enum balance_result balance_pick(struct weft_svc* svc, const struct weft_svc_key* key,
                                                        __u64 netns_cookie, struct balance_choice* out) {
  for (int i = 0; i < BALANCE_TRIES; ++i) {
    enum balance_result result = (svc->flags & WEFT_SVC_AFFINITY) && svc->count
                                     ? balance_sticky(svc, key, netns_cookie, out)
                                     : balance_weighted(svc, out);
    if (result != BALANCE_RACED) return result;
    if (!service_find(key, svc)) return BALANCE_NO_BACKEND;
  }
  stat_count(WEFT_STAT_PICK_RACED);
  return BALANCE_NO_BACKEND;
}

static __always_inline void direct_fill(struct weft_direct_peer* peer, const struct weft_svc* svc,
                                        const struct addr* dialled, __u32 port,
                                        const struct balance_choice* choice) {
  __builtin_memcpy(peer->dialled_ip, dialled->word, sizeof(peer->dialled_ip));
  __builtin_memcpy(peer->backend_ip, choice->backend.ip, sizeof(peer->backend_ip));
  peer->dialled_port = port;
  peer->backend_port = choice->backend.port;
  peer->service = svc->id;
  peer->backend = choice->index;
  peer->generation = choice->backend.generation;
  peer->eject_after = svc->eject_after;
}

#endif
