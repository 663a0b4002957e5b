/* Why this hook: sockops sees the life of every TCP socket of a pod without tracing: dial, establishment,
 * state changes, RTT samples. It adds them up per (source, destination, direction) in m_flow; nothing is sent
 * per connection. How it fails: a socket without storage is not measured, a full table goes to the overflow
 * row; both are counted. */
#include <linux/bpf.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "bpf/lib/config.h"
#include "bpf/lib/flow.h"

/* AF_INET of <sys/socket.h>, which no kernel uapi header has. */
#define FAMILY_IPV4 2
/* Every sockops program returns 1; other values are reply codes of operations that are not answered here. */
#define SOCKOPS_DONE 1

/* The IPv4 word is read before the branch and pinned: clang would fold the two loads into one through a
 * computed context pointer, which the verifier refuses. */
static __always_inline struct addr peer_addr(struct bpf_sock_ops* ctx) {
  __u32 ip4 = ctx->remote_ip4;
  asm volatile("" : "+r"(ip4));
  if (ctx->family == FAMILY_IPV4) return addr_from_v4(ip4);
  struct addr a = {.word = {ctx->remote_ip6[0], ctx->remote_ip6[1], ctx->remote_ip6[2], ctx->remote_ip6[3]}};
  return a;
}

/* Storage for a socket of an enrolled namespace; null when it is not to be measured. What the proxy dials for
 * a pod is a direction of its own: of a captured connection the pod's socket sees only the proxy, this one
 * sees the server. */
static __always_inline struct flow_socket* flow_begin(struct bpf_sock_ops* ctx, __u32 direction) {
  __u64 cookie = bpf_get_netns_cookie(ctx);
  struct weft_netns* netns = bpf_map_lookup_elem(&m_netns, &cookie);
  if (!netns) return 0;
  struct bpf_sock* sk = ctx->sk;
  if (!sk) return 0;
  if ((sk->mark & WEFT_MARK_MASK) == WEFT_MARK_PROXY) direction = WEFT_DIRECTION_PROXY;
  struct flow_socket* flow = bpf_sk_storage_get(&m_flow_sk, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
  if (!flow) {
    stat_count(WEFT_STAT_STORAGE_FAILED);
    return 0;
  }
  struct addr peer = peer_addr(ctx);
  __u32 port = bpf_ntohl(ctx->remote_port);
  int outbound = direction != WEFT_DIRECTION_INBOUND;
  flow->key.source = outbound ? netns->workload_id : flow_peer_id(&peer, 0);
  flow->key.destination = outbound ? flow_peer_id(&peer, port) : netns->workload_id;
  flow->key.direction = direction;
  flow->flags = outbound ? FLOW_ACTIVE : FLOW_ESTABLISHED;
  flow->started_ns = flow->reported_ns = bpf_ktime_get_ns();
  /* Callback flags are not inherited from the listener, so both directions arm their own. */
  bpf_sock_ops_cb_flags_set(ctx, BPF_SOCK_OPS_STATE_CB_FLAG | BPF_SOCK_OPS_RTT_CB_FLAG);
  return flow;
}

static __always_inline struct flow_socket* flow_find(struct bpf_sock_ops* ctx) {
  struct bpf_sock* sk = ctx->sk;
  if (!sk) return 0;
  return bpf_sk_storage_get(&m_flow_sk, sk, 0, 0);
}

static __always_inline void flow_report(struct bpf_sock_ops* ctx, struct flow_socket* flow,
                                        struct weft_flow* row) {
  __u64 sent = flow_bytes(ctx->bytes_acked, flow_sent_extra(flow->flags));
  __u64 received = flow_bytes(ctx->bytes_received, flow_received_extra(flow->flags));
  flow_add_bytes(row, flow, sent, received);
}

static __always_inline void on_accepted(struct bpf_sock_ops* ctx) {
  struct flow_socket* flow = flow_begin(ctx, WEFT_DIRECTION_INBOUND);
  if (!flow) return;
  struct weft_flow* row = flow_row(&flow->key);
  if (row) __sync_fetch_and_add(&row->opened, 1);
}

static __always_inline void on_connected(struct bpf_sock_ops* ctx) {
  struct flow_socket* flow = flow_find(ctx);
  if (!flow) return;
  flow->flags |= FLOW_ESTABLISHED;
  struct weft_flow* row = flow_row(&flow->key);
  if (!row) return;
  __u64 elapsed = bpf_ktime_get_ns() - flow->started_ns;
  __u32 bucket = flow_bucket(elapsed);
  __sync_fetch_and_add(&row->opened, 1);
  __sync_fetch_and_add(&row->connect_ns_sum, elapsed);
  if (bucket < WEFT_HISTOGRAM_BUCKETS) __sync_fetch_and_add(&row->connect_bucket[bucket], 1);
}

/* Which of the two FINs the counters contain can only be seen on the way through the closing states. */
static __always_inline void note_fins(struct bpf_sock_ops* ctx, struct flow_socket* flow, __u32 from,
                                      __u32 to) {
  if (to == BPF_TCP_CLOSE_WAIT || to == BPF_TCP_CLOSING) flow->flags |= FLOW_FIN_RECEIVED;
  if (to == BPF_TCP_FIN_WAIT2) {
    flow->flags |= FLOW_FIN_ACKED;
    flow->received_at_fin_wait2 = ctx->bytes_received;
  }
  /* FIN_WAIT2 ends with the peer's FIN, or at once when nobody holds the socket any more and nothing came. */
  if (from == BPF_TCP_FIN_WAIT2 && ctx->bytes_received > flow->received_at_fin_wait2)
    flow->flags |= FLOW_FIN_RECEIVED;
  if ((from == BPF_TCP_LAST_ACK || from == BPF_TCP_CLOSING) && ctx->snd_una == ctx->snd_nxt)
    flow->flags |= FLOW_FIN_ACKED;
}

static __always_inline void on_state(struct bpf_sock_ops* ctx) {
  __u32 from = ctx->args[0];
  __u32 to = ctx->args[1];
  struct flow_socket* flow = flow_find(ctx);
  if (!flow) return;
  note_fins(ctx, flow, from, to);
  if (to != BPF_TCP_CLOSE) return;
  struct weft_flow* row = flow_row(&flow->key);
  if (!row) return;
  if (!(flow->flags & FLOW_ESTABLISHED)) {
    __sync_fetch_and_add(&row->failed, 1);
    return;
  }
  flow_report(ctx, flow, row);
  __sync_fetch_and_add(&row->closed, 1);
}

/* Long connections report while open, on the back of an ACK; one that only receives reports when it closes.
 */
static __always_inline void on_rtt(struct bpf_sock_ops* ctx) {
  __u32 state = ctx->state;
  if (state != BPF_TCP_ESTABLISHED && state != BPF_TCP_CLOSE_WAIT) return;
  struct flow_socket* flow = flow_find(ctx);
  if (!flow || !(flow->flags & FLOW_ESTABLISHED)) return;
  __u64 now = bpf_ktime_get_ns();
  if (now - flow->reported_ns < cfg_report_ns) return;
  flow->reported_ns = now;
  struct weft_flow* row = flow_row(&flow->key);
  if (row) flow_report(ctx, flow, row);
}

SEC("sockops")
int mesh_sockops(struct bpf_sock_ops* ctx) {
  switch (ctx->op) {
    case BPF_SOCK_OPS_TCP_CONNECT_CB:
      flow_begin(ctx, WEFT_DIRECTION_OUTBOUND);
      break;
    case BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB:
      on_connected(ctx);
      break;
    case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
      on_accepted(ctx);
      break;
    case BPF_SOCK_OPS_STATE_CB:
      on_state(ctx);
      break;
    case BPF_SOCK_OPS_RTT_CB:
      on_rtt(ctx);
      break;
  }
  return SOCKOPS_DONE;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
