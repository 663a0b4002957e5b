/* Why this hook: cgroup/connect sees every connect() of a pod before the route lookup, so a socket mark set
 * here decides where the SYN goes. The address is never rewritten: getpeername() in the application keeps
 * showing what it dialled. How it fails: a socket that cannot be marked, or that nobody would accept, is
 * refused and counted: going direct would bypass policy. */
#include <asm/socket.h>
#include <linux/bpf.h>
#include <linux/errno.h>
#include <linux/in.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "bpf/lib/exclude.h"
#include "bpf/lib/stat.h"

#define CONNECT_REFUSE 0
#define CONNECT_PROCEED 1

static __always_inline int task_is_proxy(void) {
  __u32 tgid = bpf_get_current_pid_tgid() >> 32;
  return bpf_map_lookup_elem(&m_proxy, &tgid) != 0;
}

static __always_inline int socket_mark(struct bpf_sock_addr* ctx, __u32 mark) {
  return bpf_setsockopt(ctx, SOL_SOCKET, SO_MARK, &mark, sizeof(mark));
}

static __always_inline int connect_refuse(enum weft_stat why) {
  stat_count(why);
  if (cfg_refuse_errno) bpf_set_retval(-ECONNREFUSED);
  return CONNECT_REFUSE;
}

/* Refusing here is immediate; a SYN refused by mesh_lookup would time out, because the kernel does not send
 * an RST from an address that is not its own. */
static __always_inline int listener_exists(__u32 slot) {
  struct bpf_sock* listener = bpf_map_lookup_elem(&m_listener, &slot);
  if (!listener) return 0;
  bpf_sk_release(listener);
  return 1;
}

static __always_inline int connect_decide(struct bpf_sock_addr* ctx, const struct addr* ip) {
  __u64 cookie = bpf_get_netns_cookie(ctx);
  struct weft_netns* netns = bpf_map_lookup_elem(&m_netns, &cookie);
  if (!netns || !(netns->flags & WEFT_NETNS_CAPTURE)) return CONNECT_PROCEED;
  __u32 port = bpf_ntohs(ctx->user_port);

  if (task_is_proxy()) {
    stat_count(WEFT_STAT_LEFT_PROXY);
    /* Unmarked it would only be measured twice, so a failure is counted and the connect goes on. */
    if (socket_mark(ctx, WEFT_MARK_PROXY)) stat_count(WEFT_STAT_MARK_FAILED);
    return CONNECT_PROCEED;
  }
  if (addr_is_loopback(ip)) {
    stat_count(WEFT_STAT_LEFT_LOOPBACK);
    return CONNECT_PROCEED;
  }
  if (exclude_match(netns, ip, port)) {
    stat_count(WEFT_STAT_LEFT_EXCLUDED);
    return CONNECT_PROCEED;
  }
  if (!listener_exists(netns->slot)) return connect_refuse(WEFT_STAT_NO_LISTENER);
  if (socket_mark(ctx, WEFT_MARK_CAPTURE)) return connect_refuse(WEFT_STAT_MARK_FAILED);
  stat_count(WEFT_STAT_CAPTURED);
  return CONNECT_PROCEED;
}

/* MPTCP needs no case of its own: the kernel runs the hook for the first subflow, which is TCP. */
SEC("cgroup/connect4")
int mesh_connect4(struct bpf_sock_addr* ctx) {
  if (ctx->protocol != IPPROTO_TCP) return CONNECT_PROCEED;
  struct addr ip = addr_from_v4(ctx->user_ip4);
  return connect_decide(ctx, &ip);
}

SEC("cgroup/connect6")
int mesh_connect6(struct bpf_sock_addr* ctx) {
  if (ctx->protocol != IPPROTO_TCP) return CONNECT_PROCEED;
  struct addr ip = {.word = {ctx->user_ip6[0], ctx->user_ip6[1], ctx->user_ip6[2], ctx->user_ip6[3]}};
  return connect_decide(ctx, &ip);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
