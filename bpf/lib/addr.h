/* pure: 16-byte addresses from the words of a hook's context, IPv4 in its mapped form. No map, no context. */
#ifndef WEFT_BPF_LIB_ADDR_H
#define WEFT_BPF_LIB_ADDR_H

#include <linux/types.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

/* Words are in network byte order, as every context carries them. */
struct addr {
  __u32 word[4];
};

static __always_inline struct addr addr_from_v4(__u32 ip4) {
  struct addr a = {.word = {0, 0, bpf_htonl(0xffff), ip4}};
  return a;
}

static __always_inline int addr_is_v4(const struct addr* a) {
  return a->word[0] == 0 && a->word[1] == 0 && a->word[2] == bpf_htonl(0xffff);
}

static __always_inline int addr_equal(const __u32* a, const __u32* b) {
  return a[0] == b[0] && a[1] == b[1] && a[2] == b[2] && a[3] == b[3];
}

/* 127.0.0.0/8, ::1, and their unspecified cousins 0.0.0.0 and ::, which Linux connects to loopback. */
static __always_inline int addr_is_loopback(const struct addr* a) {
  if (addr_is_v4(a)) return (bpf_ntohl(a->word[3]) >> 24) == 127 || a->word[3] == 0;
  return a->word[0] == 0 && a->word[1] == 0 && a->word[2] == 0 && bpf_ntohl(a->word[3]) <= 1;
}

#endif
