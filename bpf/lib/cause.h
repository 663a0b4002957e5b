/* Why a connection ended, from the errno that the kernel stored in the socket before it changed the state.
 * lookup: sock_error; pure: the rest. Used by sockops only. */
#ifndef WEFT_BPF_LIB_CAUSE_H
#define WEFT_BPF_LIB_CAUSE_H

#include <bpf/bpf_helpers.h>
#include <linux/bpf.h>
#include <linux/errno.h>

#include "bpf/abi/flow.h"
#include "bpf/lib/kernel_types.h"

/* struct bpf_sock has no error. The BTF pointer does, and reading through it needs no tracing helper, so it
 * works under lockdown too. 0 when there is none: nobody but this end wanted the end. */
static __always_inline __u32 sock_error(struct bpf_sock* sk) {
  struct sock* kernel_sk = (struct sock*)bpf_skc_to_tcp_sock(sk); /* struct tcp_sock begins with it */
  return kernel_sk ? (__u32)kernel_sk->sk_err : 0;
}

static __always_inline __u32 connect_failure(__u32 error) {
  switch (error) {
    case ECONNREFUSED:
      return WEFT_CONNECT_REFUSED;
    case ETIMEDOUT:
      return WEFT_CONNECT_TIMEOUT;
    case EHOSTUNREACH:
    case ENETUNREACH:
    case EHOSTDOWN:
    case ENONET:
    case ENOPROTOOPT: /* what ICMP codes become: icmp_err_convert, icmpv6_err_convert */
    case EOPNOTSUPP:
    case EPROTO:
    case EACCES:
      return WEFT_CONNECT_UNREACHABLE;
    case 0:
    case ECONNABORTED: /* ss -K */
      return WEFT_CONNECT_ABANDONED;
  }
  return WEFT_CONNECT_OTHER;
}

static __always_inline __u32 break_cause(__u32 error) {
  if (error == ECONNRESET || error == EPIPE) return WEFT_BREAK_RESET; /* EPIPE: after the peer's FIN */
  if (error == 0 || error == ECONNABORTED) return WEFT_BREAK_ABORTED;
  return WEFT_BREAK_TIMEOUT;
}

#endif
