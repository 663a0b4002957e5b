/* pure: the fields of the kernel's sockets that programs read; their places come from the kernel's BTF at
 * load. */
#ifndef WEFT_BPF_LIB_KERNEL_TYPES_H
#define WEFT_BPF_LIB_KERNEL_TYPES_H

#include <linux/types.h>

typedef struct {
  int counter;
} atomic_t;
typedef struct {
  __s64 counter;
} atomic64_t;
struct sock_common {
  atomic64_t skc_cookie;
} __attribute__((preserve_access_index));
struct sock {
  struct sock_common __sk_common;
  struct {
    atomic_t rmem_alloc;
  } sk_backlog;
  int sk_err;
  struct {
    int owned;
  } sk_lock;
} __attribute__((preserve_access_index));
struct inet_sock {
  struct sock sk;
} __attribute__((preserve_access_index));
struct inet_connection_sock {
  struct inet_sock icsk_inet;
} __attribute__((preserve_access_index));
struct tcp_sock {
  struct inet_connection_sock inet_conn;
  __u32 write_seq;
  __u32 copied_seq;
} __attribute__((preserve_access_index));

#endif
