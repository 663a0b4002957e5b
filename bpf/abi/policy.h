/* L4 authorization as bit masks: the policies of one workload are at most WEFT_POLICY_RULES rules, each a
 * bit. Source address, destination port and source workload each yield the set of rules that they satisfy;
 * what is in all three sets matches. A rule that does not look at one of them is in all masks of it.
 * Negations are gone: the agent worked them out when it wrote the masks. */
#ifndef WEFT_BPF_ABI_POLICY_H
#define WEFT_BPF_ABI_POLICY_H

#include <linux/types.h>

#define WEFT_POLICY_WORDS 4
#define WEFT_POLICY_RULES (64 * WEFT_POLICY_WORDS)

struct weft_rules {
  __u64 word[WEFT_POLICY_WORDS];
};

/* m_policy: policy number -> struct weft_policy. A number is used once: new rules get a new number. */
#define WEFT_POLICY_HAS_ALLOW (1u << 0) /* what no allow rule matches is denied */
struct weft_policy {
  struct weft_rules deny;
  struct weft_rules allow;
  struct weft_rules other_ip;       /* of an address that no row of m_policy_cidr covers */
  struct weft_rules other_port;     /* of a port without a row */
  struct weft_rules other_workload; /* of a source that is no workload of this node, or has no row */
  __u32 flags;
  __u32 reserved;
};

/* m_policy_cidr: LPM trie; the longest prefix's mask holds the rules of the shorter ones too. prefixlen
 * counts the 32 bits of `policy` and the prefix of the 128-bit address. */
struct weft_policy_cidr_key {
  __u32 prefixlen;
  __u32 policy;
  __u8 ip[16];
};
struct weft_policy_port_key {
  __u32 policy;
  __u32 port;
};
struct weft_policy_workload_key {
  __u32 policy;
  __u32 workload_id;
};

/* m_inbound: slot of an enrolled namespace -> what happens to connections that arrive there. */
#define WEFT_INBOUND_ON (1u << 0)          /* without it everything passes */
#define WEFT_INBOUND_DENY_ALL (1u << 1)    /* its policy could not be written: nothing passes */
#define WEFT_INBOUND_INSPECT (1u << 2)     /* policy needs more than L4: to the plaintext listener */
#define WEFT_INBOUND_FAIL_CLOSED (1u << 3) /* no proxy: INSPECT refuses; else it passes and is counted */
#define WEFT_INBOUND_HBONE_ON (1u << 4)    /* port WEFT_PORT_HBONE goes to the HBONE listener */
#define WEFT_INBOUND_NATIVE (1u << 5)      /* the application speaks HBONE: WEFT_PORT_HBONE is its own */
#define WEFT_INBOUND_SHORTCUT (1u << 6)    /* the proxy's connections to it may go past TCP */
struct weft_inbound {
  __u32 workload_id;
  __u32 flags;
  __u32 policy; /* number in m_policy; 0: nothing is forbidden */
  __u32 reserved;
  /* The namespace's address where it has just one of the family (link-local ones apart); else zero. */
  __u8 source_v4[16];
  __u8 source_v6[16];
};

/* m_local: 16-byte address -> the enrolled namespace of this node that holds it. */
struct weft_local {
  __u32 workload_id;
  __u32 slot;
};

/* m_inbound_listener: the listeners of a slot, WEFT_INBOUND_LISTENERS each. */
#define WEFT_INBOUND_PLAINTEXT 0u
#define WEFT_INBOUND_HBONE 1u
#define WEFT_INBOUND_LISTENERS 2u

/* m_bypass: what a proxy that did not answer meant for each workload. */
#define WEFT_BYPASS_OUTBOUND 0u
#define WEFT_BYPASS_INBOUND 1u
struct weft_bypass_key {
  __u32 workload_id;
  __u32 direction; /* WEFT_BYPASS_* */
};
struct weft_bypass {
  __u64 bypassed;
  __u64 refused;
};

#ifdef __cplusplus
static_assert(sizeof(weft_rules) == 32 && sizeof(weft_policy) == 168 && sizeof(weft_policy_cidr_key) == 24);
static_assert(sizeof(weft_local) == 8 && sizeof(weft_inbound) == 48 && sizeof(weft_bypass) == 16);
#else
_Static_assert(sizeof(struct weft_rules) == 32 && sizeof(struct weft_policy) == 168, "abi");
_Static_assert(sizeof(struct weft_policy_cidr_key) == 24 && sizeof(struct weft_inbound) == 48, "abi");
_Static_assert(sizeof(struct weft_bypass) == 16, "abi");
#endif
#endif
