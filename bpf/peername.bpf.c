/* Why this hook: a directly balanced socket is connected to a backend, but its program dialled a service;
 * getpeername() must keep saying so, for clients that compare or reconnect. How it fails: without a row the
 * real peer is shown. */
#include "bpf/lib/sock_addr.h"
#include "bpf/lib/socket.h"

static __always_inline int peername(struct bpf_sock_addr* ctx, enum hook_family family) {
  struct bpf_sock* sk = ctx->sk;
  if (!sk) return HOOK_PROCEED;
  struct weft_socket* known = socket_find(bpf_get_socket_cookie(ctx), sk);
  if (!known || !known->direct.service) return HOOK_PROCEED;
  const struct weft_direct_peer* peer = &known->direct;
  struct addr real = hook_addr(ctx, family);
  /* A row of a former connection of this socket says nothing about this one. */
  if (peer->backend_port != hook_port(ctx) || !addr_equal(peer->backend_ip, real.word)) return HOOK_PROCEED;
  hook_set_addr(ctx, family, peer->dialled_ip, peer->dialled_port);
  return HOOK_PROCEED;
}

SEC("cgroup/getpeername4")
int mesh_getpeername4(struct bpf_sock_addr* ctx) { return peername(ctx, HOOK_IPV4); }

SEC("cgroup/getpeername6")
int mesh_getpeername6(struct bpf_sock_addr* ctx) { return peername(ctx, HOOK_IPV6); }

char LICENSE[] SEC("license") = "Dual BSD/GPL";
