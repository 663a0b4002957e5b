/* Why this hook: sockops sees the life of every TCP socket of a pod without tracing: dial, establishment,
 * state changes, RTT samples, retransmissions. It adds them up per (source, destination, direction) in
 * m_flow; nothing is sent per connection. How it fails: a socket without storage is not measured, a full
 * table goes to the overflow row; both are counted. A connection that was established before its namespace
 * was enrolled, or before the agent first started, is not measured: no callback fires for a socket that never
 * asked for one. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "bpf/lib/cause.h"
#include "bpf/lib/config.h"
#include "bpf/lib/flow.h"
#include "bpf/lib/health.h"
#include "bpf/lib/proxy_dial.h"
#include "bpf/lib/service_maps.h"
#include "bpf/lib/shortcut_ops.h"
#include "bpf/lib/sock_ops.h"
#include "bpf/lib/socket.h"

/* Packets with data that a watched connection sends before the watch ends: it covers a handshake of TLS, and
 * what a busy sender pays for it stays small. */
#define WATCH_PACKETS 8
/* Segments under way that may be a question's last. More of them are a transfer, whose end is seen unless it
 * comes within the round trip that began with so many. */
#define TAIL_PACKETS 64
#define NS_PER_US 1000ull

/* 0: not a dial into the namespace that it comes from, the only kind that mesh_lookup must tell. */
static __always_inline int own_dial_key(struct bpf_sock_ops* ctx, __u32 slot, struct weft_dial_key* key) {
  struct addr peer = peer_addr(ctx);
  struct weft_local* local = bpf_map_lookup_elem(&m_local, peer.word);
  if (!local || local->slot != slot) return 0;
  struct addr own = own_addr(ctx, &peer);
  proxy_dial_key(key, slot, &own, ctx->local_port, &peer, bpf_ntohl(ctx->remote_port));
  return 1;
}

static __always_inline void proxy_dial_end(struct bpf_sock_ops* ctx) {
  struct weft_netns* netns = netns_find(ctx);
  struct weft_dial_key key;
  if (netns && own_dial_key(ctx, netns->slot, &key)) bpf_map_delete_elem(&m_proxy_dial, &key);
}

/* Clears what a former connection of the socket left, and asks for the callbacks that tell how it ends. They
 * are not inherited from a listener, so both directions ask. */
static __always_inline void flow_start(struct bpf_sock_ops* ctx, struct weft_socket* flow, __u32 direction,
                                       __u32 flags) {
  flow->key.direction = direction;
  flow->flags = flags;
  flow->sent = flow->received = 0;
  flow->retransmits = 0;
  flow->started_ns = flow->reported_ns = bpf_ktime_get_ns();
  bpf_sock_ops_cb_flags_set(
      ctx, ctx->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG | BPF_SOCK_OPS_RETRANS_CB_FLAG);
}

/* A record for a socket of this namespace; null when memory is short. What the proxy dials for a pod is a
 * direction of its own: of a captured connection the pod's socket sees only the proxy, this one sees the
 * server. */
static __always_inline struct weft_socket* flow_begin(struct bpf_sock_ops* ctx, struct bpf_sock* sk,
                                                      const struct weft_netns* netns, __u32 direction) {
  struct weft_socket* flow = socket_make(bpf_get_socket_cookie(ctx), sk);
  if (!flow) return 0;
  struct addr peer = peer_addr(ctx);
  __u32 port = bpf_ntohl(ctx->remote_port);
  int outbound = direction != WEFT_DIRECTION_INBOUND;
  flow->key.source = outbound ? netns->workload_id : flow_peer_id(&peer, 0);
  flow->key.destination = outbound ? flow_peer_id(&peer, port) : netns->workload_id;
  flow->direct.service = 0;
  flow_start(ctx, flow, direction, outbound ? WEFT_SOCKET_ACTIVE : WEFT_SOCKET_ESTABLISHED);
  struct weft_dial_key key;
  if (direction == WEFT_DIRECTION_PROXY && own_dial_key(ctx, netns->slot, &key))
    proxy_dial_begin(&key, flow->started_ns);
  return flow;
}

/* The connect hook has just filled the record of a socket that it balanced, unless its dial failed before a
 * SYN and this one goes elsewhere. What such a socket dialled is the service, not the backend. */
static __always_inline int dialled_directly(struct bpf_sock_ops* ctx, const struct weft_socket* flow) {
  if (!(flow->flags & WEFT_SOCKET_DIALLED)) return 0;
  struct addr peer = peer_addr(ctx);
  return flow->direct.backend_port == bpf_ntohl(ctx->remote_port) &&
         addr_equal(flow->direct.backend_ip, peer.word);
}

/* What no connect hook has filled and no namespace has enrolled is out before anything else is asked. */
static __always_inline void on_dial(struct bpf_sock_ops* ctx) {
  struct bpf_sock* sk = ctx->sk;
  if (!sk) return;
  struct weft_netns* netns = 0;
  __u32 place = socket_find_place(bpf_get_socket_cookie(ctx));
  if (!place) {
    netns = netns_find(ctx);
    if (!netns) return;
  }
  struct weft_socket* flow = socket_known(place, sk);
  if (flow && dialled_directly(ctx, flow)) {
    flow->key.destination = flow->direct.service;
    flow_start(ctx, flow, WEFT_DIRECTION_OUTBOUND, WEFT_SOCKET_ACTIVE);
    return;
  }
  if (!netns) netns = netns_find(ctx);
  if (netns) flow_begin(ctx, sk, netns, is_of_proxy(sk) ? WEFT_DIRECTION_PROXY : WEFT_DIRECTION_OUTBOUND);
}

static __always_inline struct weft_socket* flow_find(struct bpf_sock_ops* ctx) {
  struct bpf_sock* sk = ctx->sk;
  if (!sk) return 0;
  return socket_find(bpf_get_socket_cookie(ctx), sk);
}

static __always_inline __u64 flow_received(struct bpf_sock_ops* ctx, const struct weft_socket* flow) {
  return flow_bytes(ctx->bytes_received, flow_received_extra(flow->flags));
}

static __always_inline void flow_report(struct bpf_sock_ops* ctx, struct weft_socket* flow,
                                        struct weft_flow* row) {
  __u64 sent = flow_bytes(ctx->bytes_acked, flow_sent_extra(flow->flags));
  flow_add_bytes(row, flow, sent, flow_received(ctx, flow));
  flow_add_retransmits(row, flow, ctx->total_retrans);
}

/* A watched socket calls for every packet it sends, acknowledgements included. That is how the first byte is
 * seen on time, and how a connection reports that only receives and so has no RTT samples. A busy sender has
 * them: its watch ends (unwatch) until its next report, or its next round trip before the first answer. */
static __always_inline void watch(struct bpf_sock_ops* ctx, struct weft_socket* flow, __u32 packets) {
  __u32 before = ctx->bpf_sock_ops_cb_flags;
  flow->watch_left = packets;
  /* Set already: ours, or another program's, which is not ours to end. */
  if (!(before & BPF_SOCK_OPS_WRITE_HDR_OPT_CB_FLAG)) flow->flags |= WEFT_SOCKET_WATCHED;
  bpf_sock_ops_cb_flags_set(ctx, before | BPF_SOCK_OPS_RTT_CB_FLAG | BPF_SOCK_OPS_WRITE_HDR_OPT_CB_FLAG);
}

static __always_inline void unwatch(struct bpf_sock_ops* ctx, struct weft_socket* flow) {
  if (!(flow->flags & WEFT_SOCKET_WATCHED)) return;
  flow->flags &= ~WEFT_SOCKET_WATCHED;
  bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags & ~BPF_SOCK_OPS_WRITE_HDR_OPT_CB_FLAG);
}

/* One packet: who sends another has another round trip, and is watched again then. */
static __always_inline void watch_for_answer(struct bpf_sock_ops* ctx, struct weft_socket* flow) {
  if (!(flow->flags & (WEFT_SOCKET_FIRST_BYTE | WEFT_SOCKET_WATCHED))) watch(ctx, flow, 1);
}

/* The row that the dial was added to; null when there is no room for one. */
static __always_inline struct weft_flow* dial_succeeded(struct weft_socket* flow, __u64 elapsed_ns,
                                                        __u64 now) {
  if (flow->direct.service && flow->direct.eject_after) health_connected(&flow->direct, elapsed_ns, now);
  struct weft_flow* row = flow_row(&flow->key);
  if (!row) return 0;
  __sync_fetch_and_add(&row->opened, 1);
  flow_observe(&row->connect, elapsed_ns);
  return row;
}

static __always_inline void dial_failed(struct bpf_sock_ops* ctx, struct weft_socket* flow, __u32 cause) {
  /* A dial that its own side gave up says nothing about the backend. */
  if (flow->direct.service && flow->direct.eject_after && cause != WEFT_CONNECT_ABANDONED)
    health_failed(&flow->direct);
  struct weft_flow* row = flow_row(&flow->key);
  if (!row) return;
  flow_add_retransmits(row, flow, ctx->total_retrans);
  if (cause < WEFT_CONNECT_FAILURE_COUNT) __sync_fetch_and_add(&row->failed[cause], 1);
}

/* The handshake is the first sample of the round trip; there is none when its segment was sent twice. */
static __always_inline void on_established(struct bpf_sock_ops* ctx, struct weft_socket* flow,
                                           struct weft_flow* row) {
  __u32 rtt_us = ctx->srtt_us >> 3;
  if (row && rtt_us) flow_observe(&row->rtt, rtt_us * NS_PER_US);
  watch(ctx, flow, WATCH_PACKETS);
}

/* What the proxy accepts is not measured: the pod's end of a captured connection is, at the pod. */
static __always_inline void on_accepted(struct bpf_sock_ops* ctx) {
  struct bpf_sock* sk = ctx->sk;
  if (!sk) return;
  struct weft_netns* netns = netns_find(ctx);
  if (!netns) return;
  if (cfg_shortcut) shortcut_accepted(ctx, netns);
  if (is_of_proxy(sk)) return;
  struct weft_socket* flow = flow_begin(ctx, sk, netns, WEFT_DIRECTION_INBOUND);
  if (!flow) return;
  struct weft_flow* row = flow_row(&flow->key);
  if (row) __sync_fetch_and_add(&row->opened, 1);
  on_established(ctx, flow, row);
}

/* Every socket of the node comes here; those that are measured were given this flag by flow_start. */
static __always_inline void on_connected(struct bpf_sock_ops* ctx) {
  if (!(ctx->bpf_sock_ops_cb_flags & BPF_SOCK_OPS_STATE_CB_FLAG)) return;
  struct weft_socket* flow = flow_find(ctx);
  if (!flow) return;
  __u64 now = bpf_ktime_get_ns();
  __u64 elapsed = now - flow->started_ns;
  flow->flags |= WEFT_SOCKET_ESTABLISHED;
  flow->started_ns = now;
  if (flow->key.direction == WEFT_DIRECTION_PROXY) proxy_dial_end(ctx);
  if (cfg_shortcut) shortcut_dialled(ctx);
  on_established(ctx, flow, dial_succeeded(flow, elapsed, now));
}

/* Which of the two FINs the counters contain can only be seen on the way through the closing states. */
static __always_inline void note_fins(struct bpf_sock_ops* ctx, struct weft_socket* flow, __u32 from,
                                      __u32 to) {
  if (to == BPF_TCP_CLOSE_WAIT || to == BPF_TCP_CLOSING) flow->flags |= WEFT_SOCKET_FIN_RECEIVED;
  if (to == BPF_TCP_FIN_WAIT2) {
    flow->flags |= WEFT_SOCKET_FIN_ACKED;
    flow->received_at_fin_wait2 = ctx->bytes_received;
  }
  /* FIN_WAIT2 ends with the peer's FIN, or at once when nobody holds the socket any more and nothing came. */
  if (from == BPF_TCP_FIN_WAIT2 && ctx->bytes_received > flow->received_at_fin_wait2)
    flow->flags |= WEFT_SOCKET_FIN_RECEIVED;
  if ((from == BPF_TCP_LAST_ACK || from == BPF_TCP_CLOSING) && ctx->snd_una == ctx->snd_nxt)
    flow->flags |= WEFT_SOCKET_FIN_ACKED;
}

static __always_inline void on_closed(struct bpf_sock_ops* ctx, struct weft_socket* flow, __u32 from,
                                      __u32 error) {
  if (!(flow->flags & WEFT_SOCKET_ESTABLISHED)) {
    dial_failed(ctx, flow, connect_failure(error));
    if (flow->key.direction == WEFT_DIRECTION_PROXY) proxy_dial_end(ctx);
    return;
  }
  struct weft_flow* row = flow_row(&flow->key);
  if (!row) return;
  flow_report(ctx, flow, row);
  __sync_fetch_and_add(&row->closed, 1);
  /* A close of this end goes through other states first. */
  if (from != BPF_TCP_ESTABLISHED && from != BPF_TCP_CLOSE_WAIT) return;
  __u32 cause = break_cause(error);
  if (cause < WEFT_BREAK_COUNT) __sync_fetch_and_add(&row->broken[cause], 1);
}

static __always_inline void on_state(struct bpf_sock_ops* ctx) {
  __u32 from = ctx->args[0];
  __u32 to = ctx->args[1];
  if (to == BPF_TCP_ESTABLISHED) return; /* has a callback of its own */
  if (cfg_shortcut && to == BPF_TCP_CLOSE) shortcut_closed(ctx);
  struct bpf_sock* sk = ctx->sk;
  struct weft_socket* flow = flow_find(ctx);
  if (!flow || !sk) return;
  note_fins(ctx, flow, from, to);
  if (to != BPF_TCP_CLOSE) return;
  on_closed(ctx, flow, from, sock_error(sk));
  socket_forget(bpf_get_socket_cookie(ctx));
}

/* Fires once per round trip: for the first sample of what was sent after the last one fired
 * (tcp_rtt_estimator, rtt_seq). Looks at the clock and mostly leaves. args[0] is the sample in microseconds;
 * kernels that do not pass it have the smoothed one. */
static __always_inline void on_rtt(struct bpf_sock_ops* ctx) {
  __u32 state = ctx->state;
  if (state != BPF_TCP_ESTABLISHED && state != BPF_TCP_CLOSE_WAIT) return;
  struct weft_socket* flow = flow_find(ctx);
  if (!flow || !(flow->flags & WEFT_SOCKET_ESTABLISHED)) return;
  /* What is under way may be the last of the question: its acknowledgement does not fire any more, and what
   * comes next is the answer. Not of a sender in full flow, who would pay for it in each round trip. */
  if (ctx->packets_out <= TAIL_PACKETS) watch_for_answer(ctx, flow);
  __u64 now = bpf_ktime_get_coarse_ns();
  if (!flow_due(flow, now)) return;
  flow->reported_ns = now;
  struct weft_flow* row = flow_row(&flow->key);
  if (!row) return;
  flow_report(ctx, flow, row);
  __u32 sample_us = ctx->args[0];
  if (!sample_us) sample_us = ctx->srtt_us >> 3;
  flow_observe(&row->rtt, sample_us * NS_PER_US);
  watch(ctx, flow, WATCH_PACKETS);
}

/* Reported at once: while the peer is away nothing else happens on the connection. */
static __always_inline void on_retransmit(struct bpf_sock_ops* ctx) {
  struct weft_socket* flow = flow_find(ctx);
  if (!flow) return;
  struct weft_flow* row = flow_row(&flow->key);
  if (row) flow_add_retransmits(row, flow, ctx->total_retrans);
  /* Packets sent again end a watch too, and their acknowledgement may give no sample. */
  if (flow->flags & WEFT_SOCKET_ESTABLISHED) watch_for_answer(ctx, flow);
}

/* A client's first received byte is seen when it is acknowledged: at once, as the first segment of a
 * connection is, and a delayed acknowledgement late at the most. */
static __always_inline int is_first_byte(struct bpf_sock_ops* ctx, const struct weft_socket* flow,
                                         __u32 payload) {
  if (flow->flags & WEFT_SOCKET_FIRST_BYTE) return 0;
  return (flow->flags & WEFT_SOCKET_ACTIVE) ? flow_received(ctx, flow) > 0 : payload > 0;
}

/* A watched socket sends a packet; nothing is added to its header. */
static __always_inline void on_packet(struct bpf_sock_ops* ctx) {
  if (cfg_shortcut) shortcut_packet(ctx);
  if (ctx->args[0] == BPF_WRITE_HDR_TCP_CURRENT_MSS) return; /* only asks for the size of the options */
  __u32 payload = ctx->skb_len;
  if (!payload && !ctx->bytes_received) return; /* the handshake's last packet */
  struct weft_socket* flow = flow_find(ctx);
  if (!flow) return;
  if (is_first_byte(ctx, flow, payload)) {
    flow->flags |= WEFT_SOCKET_FIRST_BYTE;
    struct weft_flow* row = flow_row(&flow->key);
    if (row) flow_observe(&row->first_byte, bpf_ktime_get_ns() - flow->started_ns);
  }
  if (payload) {
    if (flow->watch_left) flow->watch_left--;
    if (!flow->watch_left) unwatch(ctx, flow);
    return;
  }
  __u64 now = bpf_ktime_get_coarse_ns();
  if (!flow_due(flow, now)) return;
  flow->reported_ns = now;
  struct weft_flow* row = flow_row(&flow->key);
  if (row) flow_report(ctx, flow, row);
}

SEC("sockops")
int mesh_sockops(struct bpf_sock_ops* ctx) {
  switch (ctx->op) {
    case BPF_SOCK_OPS_TCP_CONNECT_CB:
      on_dial(ctx);
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
    case BPF_SOCK_OPS_RETRANS_CB:
      on_retransmit(ctx);
      break;
    case BPF_SOCK_OPS_HDR_OPT_LEN_CB:
      on_packet(ctx);
      break;
  }
  return SOCKOPS_DONE;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
