/* What the sock_addr hooks share: the address in their context, and refusing. */
#ifndef WEFT_BPF_LIB_SOCK_ADDR_H
#define WEFT_BPF_LIB_SOCK_ADDR_H

#include <linux/bpf.h>
#include <linux/in.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "bpf/lib/addr.h"
#include "bpf/lib/config.h"
#include "bpf/lib/stat.h"

#define HOOK_REFUSE 0
#define HOOK_PROCEED 1

/* Which half of the context holds the address: the verifier refuses the other half's fields in either hook.
 */
enum hook_family { HOOK_IPV4, HOOK_IPV6 };

static __always_inline struct addr hook_addr(const struct bpf_sock_addr* ctx, enum hook_family family) {
  if (family == HOOK_IPV4) return addr_from_v4(ctx->user_ip4);
  struct addr ip = {.word = {ctx->user_ip6[0], ctx->user_ip6[1], ctx->user_ip6[2], ctx->user_ip6[3]}};
  return ip;
}

static __always_inline __u32 hook_port(const struct bpf_sock_addr* ctx) { return bpf_ntohs(ctx->user_port); }

/* An IPv4 hook takes the last word; the caller made sure that the address is one. */
static __always_inline void hook_set_addr(struct bpf_sock_addr* ctx, enum hook_family family,
                                          const __u32* word, __u32 port) {
  if (family == HOOK_IPV4) {
    ctx->user_ip4 = word[3];
  } else {
    ctx->user_ip6[0] = word[0];
    ctx->user_ip6[1] = word[1];
    ctx->user_ip6[2] = word[2];
    ctx->user_ip6[3] = word[3];
  }
  ctx->user_port = bpf_htons(port);
}

/* What the caller has counted. */
static __always_inline int hook_deny(int error) {
  if (cfg_refuse_errno) bpf_set_retval(-error);
  return HOOK_REFUSE;
}

static __always_inline int hook_refuse(enum weft_stat why, int error) {
  stat_count(why);
  return hook_deny(error);
}

#endif
