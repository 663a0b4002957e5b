/* lookup: may this source reach this port of the namespace? Used by mesh_lookup and connect. A row that is
 * missing never means yes. */
#ifndef WEFT_BPF_LIB_POLICY_H
#define WEFT_BPF_LIB_POLICY_H

#include "bpf/lib/addr.h"
#include "bpf/lib/policy_maps.h"
#include "bpf/lib/stat.h"

#define POLICY_TRIES 3

static __always_inline const struct weft_rules* policy_by_ip(__u32 policy, const struct addr* ip) {
  struct weft_policy_cidr_key key = {.prefixlen = 32 + 128, .policy = policy};
  __builtin_memcpy(key.ip, ip->word, sizeof(key.ip));
  return bpf_map_lookup_elem(&m_policy_cidr, &key);
}

static __always_inline const struct weft_rules* policy_by_port(__u32 policy, __u32 port) {
  struct weft_policy_port_key key = {.policy = policy, .port = port};
  return bpf_map_lookup_elem(&m_policy_port, &key);
}

static __always_inline const struct weft_rules* policy_by_workload(__u32 policy, const struct addr* ip) {
  struct weft_local* local = bpf_map_lookup_elem(&m_local, ip->word);
  if (!local) return 0;
  struct weft_policy_workload_key key = {.policy = policy, .workload_id = local->workload_id};
  return bpf_map_lookup_elem(&m_policy_workload, &key);
}

/* 1: allowed. */
static __always_inline int policy_evaluate(__u32 number, const struct addr* source, __u32 port) {
  struct weft_policy* policy = bpf_map_lookup_elem(&m_policy, &number);
  if (!policy) return 0;
  const struct weft_rules* ip = policy_by_ip(number, source);
  const struct weft_rules* at = policy_by_port(number, port);
  const struct weft_rules* who = policy_by_workload(number, source);
  if (!ip) ip = &policy->other_ip;
  if (!at) at = &policy->other_port;
  if (!who) who = &policy->other_workload;
  __u64 denied = 0;
  __u64 allowed = 0;
  for (int i = 0; i < WEFT_POLICY_WORDS; ++i) {
    __u64 match = ip->word[i] & at->word[i] & who->word[i];
    denied |= match & policy->deny.word[i];
    allowed |= match & policy->allow.word[i];
  }
  if (denied) return 0;
  return allowed || !(policy->flags & WEFT_POLICY_HAS_ALLOW);
}

/* The rows of a policy go after the slot points to the next one: a verdict counts only when the slot still
 * says the same afterwards. */
static __always_inline int policy_allows(const struct weft_inbound* inbound, const struct addr* source,
                                         __u32 port) {
  for (int i = 0; i < POLICY_TRIES; ++i) {
    __u32 number = *(volatile const __u32*)&inbound->policy;
    if (!number) return 1;
    int allowed = policy_evaluate(number, source, port);
    if (*(volatile const __u32*)&inbound->policy == number) return allowed;
  }
  return 0;
}

#endif
