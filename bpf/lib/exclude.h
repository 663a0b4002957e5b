/* lookup: is this destination excluded from capture for this workload? Used by the connect hooks. */
#ifndef WEFT_BPF_LIB_EXCLUDE_H
#define WEFT_BPF_LIB_EXCLUDE_H

#include "bpf/lib/addr.h"
#include "bpf/lib/config.h"
#include "bpf/lib/maps.h"

static __always_inline int exclude_port(__u32 workload_id, __u32 port) {
  struct weft_excl_port_key key = {.workload_id = workload_id, .port = port};
  return bpf_map_lookup_elem(&m_excl_port, &key) != 0;
}

static __always_inline int exclude_cidr(__u32 workload_id, const struct addr* ip) {
  struct weft_excl_cidr_key key = {.prefixlen = 32 + 128, .workload_id = workload_id};
  __builtin_memcpy(key.ip, ip->word, sizeof(key.ip));
  return bpf_map_lookup_elem(&m_excl_cidr, &key) != 0;
}

static __always_inline int exclude_match(const struct weft_netns* netns, const struct addr* ip, __u32 port) {
  if ((netns->flags & WEFT_NETNS_PORT_EXCL) && exclude_port(netns->workload_id, port)) return 1;
  if ((netns->flags & WEFT_NETNS_CIDR_EXCL) && exclude_cidr(netns->workload_id, ip)) return 1;
  if (!cfg_global_excl) return 0;
  return exclude_port(0, port) || exclude_cidr(0, ip);
}

#endif
