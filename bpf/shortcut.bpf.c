/* Why this hook: of what a request costs the node proxy most is its two sends, as a sender pays for the whole
 * way through TCP to the receiver. Between a pod's socket and the proxy's, both of this node, sk_msg can put
 * the bytes straight into the receiver's queue. Nothing is parsed and nothing decided here: the proxy sees
 * every byte, as ever. Pods ask for it (WEFT_NETNS_SHORTCUT); how it fails: by TCP, counted with a reason.
 *
 * Two kinds of connection: a captured one (the pod dialled, the proxy accepted it inside the pod's
 * namespace), and one that the proxy dialled to a pod of this node. sockops (lib/shortcut_ops.h) puts the end
 * that dialled into m_shortcut_sock when it is established and leaves its addresses in m_shortcut_dial; the
 * end that accepts comes later, as the handshake has it, finds them and joins. Both namespaces must own their
 * addresses, so that nobody can pretend to be an end.
 *
 * Redirected bytes wait in a queue of their own, which is read before TCP's and knows no backpressure. Hence:
 *
 * Order. An end sends past TCP only while the receiver has read all that it ever sent by TCP: its write_seq
 * is the receiver's copied_seq, of which both ends count the same bytes. Then TCP has nothing under way, and
 * as the receiver reads redirected bytes first, what follows by TCP cannot overtake them either.
 *
 * Memory. It does so only while the receiver's unread bytes (sk_rmem_alloc, both queues) and the message are
 * at most WEFT_SHORTCUT_UNREAD, and with at most WEFT_SHORTCUT_SENDS sends since the receiver was seen to
 * have nothing unread.
 *
 * One queue at a time at a pod's end. While bytes wait in both, FIONREAD tells of one, and an application
 * that takes a short read for "nothing is left" waits for ever on an edge that came already. So the proxy
 * never sends by TCP to a pod's end that has redirected bytes unread. It is put off (EINVAL, from a socket
 * that refuses everything: bpf/user/shortcut_plug.h; the proxy tries again) until they are read, and then
 * leaves the shortcut for good: the pod's end is removed from m_shortcut_sock before the first byte goes by
 * TCP, and is an ordinary socket from then on. That it has read everything is certain, because the proxy
 * sends from one thread: what it redirected before has arrived.
 *
 * Two queues at the proxy's end. A pod that sends faster than the proxy reads goes on by TCP, with its
 * backpressure, and comes back by the first rule. WEFT_MARK_SHORTCUT tells the proxy that a short read means
 * nothing. Such a connection carries bulk: the proxy leaves it at its next send, as above.
 *
 * A redirect locks the receiver's socket in the sender's thread. So nobody has the shortcut whom the owner of
 * the node does not trust (agent switch --shortcut), and a socket that is locked already is not waited for:
 * the proxy is put off, a pod sends by TCP.
 *
 * Whoever closes, FIN and RST go by TCP, and are seen after the redirected bytes. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "bpf/lib/config.h"
#include "bpf/lib/shortcut_end.h"
#include "bpf/lib/stat.h"

/* Of bulk that goes by TCP so many bytes pass without asking again. */
#define BULK_BYTES 1048576u

/* The caller holds its socket's lock, so its write_seq stays what it is. */
static __always_inline int tcp_is_read(struct bpf_sock* sk, const struct tcp_sock* peer) {
  const struct tcp_sock* own = bpf_skc_to_tcp_sock(sk);
  return own && own->write_seq == peer->copied_seq;
}

static __always_inline int pass(enum weft_stat why) {
  stat_count(why);
  return SK_PASS;
}

/* From now on the pod's end gets TCP only; on_packet() takes it out. */
static __always_inline int leave(struct weft_shortcut* pair) {
  __sync_fetch_and_or(&pair->state, WEFT_SHORTCUT_LEFT);
  return pass(WEFT_STAT_SHORTCUT_LEFT_TCP);
}

/* More would wait unread at the other end than may. */
static __always_inline int is_full(const struct weft_shortcut_end* end, struct weft_shortcut* pair,
                                   __u32 unread, __u32 size) {
  if (!unread) pair->sends[end->side & 1] = 0;
  return unread &&
         (unread + size > WEFT_SHORTCUT_UNREAD || pair->sends[end->side & 1] >= WEFT_SHORTCUT_SENDS);
}

static __always_inline int redirect(struct sk_msg_md* msg, struct weft_shortcut_end* end,
                                    struct weft_shortcut* pair) {
  __u32 side = end->side & 1;
  __u64 peer = pair->cookie[shortcut_other(end) & 1];
  __u32 size = msg->size;
  __u64 now = bpf_ktime_get_coarse_ns();
  /* SK_DROP, which it answers when the other socket is gone, would be EACCES for the sender, for ever; TCP
   * says what is right. */
  if (bpf_msg_redirect_hash(msg, &m_shortcut_sock, &peer, BPF_F_INGRESS) != SK_PASS)
    return pass(WEFT_STAT_SHORTCUT_GONE);
  if (pair->bytes[side] == 0 && side == WEFT_SHORTCUT_ACCEPTED) {
    __u64 exact = bpf_ktime_get_ns();
    shortcut_first_byte(pair->cookie[WEFT_SHORTCUT_ACCEPTED], exact);
    shortcut_first_byte(pair->cookie[WEFT_SHORTCUT_DIALLED], exact);
  }
  __sync_fetch_and_add(&pair->bytes[side], size);
  __sync_fetch_and_add(&pair->sends[side], 1);
  stat_count(WEFT_STAT_SHORTCUT_MESSAGE);
  stat_add(WEFT_STAT_SHORTCUT_BYTES, size);
  if ((__s64)(now - end->reported_ns) >= (__s64)cfg_report_ns) {
    end->reported_ns = now;
    shortcut_report(end, pair);
  }
  return SK_PASS;
}

/* EINVAL, from a socket that takes nothing. Without an agent there is none: then the pod's end has two
 * queues. */
static __always_inline int put_off(struct sk_msg_md* msg) {
  __u64 plug = 0;
  return pass(bpf_msg_redirect_hash(msg, &m_shortcut_sock, &plug, 0) == SK_PASS ? WEFT_STAT_SHORTCUT_WAIT
                                                                                : WEFT_STAT_SHORTCUT_MIXED);
}

static __always_inline int send_of_proxy(struct sk_msg_md* msg, struct bpf_sock* sk,
                                         struct weft_shortcut_end* end, struct weft_shortcut* pair) {
  if ((pair->state & (WEFT_SHORTCUT_JOINED | WEFT_SHORTCUT_LEFT)) != WEFT_SHORTCUT_JOINED) return leave(pair);
  const struct tcp_sock* peer = shortcut_peer(end, pair);
  if (!peer) return pass(WEFT_STAT_SHORTCUT_GONE);
  if (!tcp_is_read(sk, peer)) return pass(WEFT_STAT_SHORTCUT_MIXED);
  __u32 unread = tcp_unread(peer);
  if (is_full(end, pair, unread, msg->size)) __sync_fetch_and_or(&pair->state, WEFT_SHORTCUT_BULK);
  if (unread && (pair->state & WEFT_SHORTCUT_BULK)) return put_off(msg);
  if (!unread && (msg->size > WEFT_SHORTCUT_UNREAD || (pair->state & WEFT_SHORTCUT_BULK))) return leave(pair);
  if (tcp_is_owned(peer)) return put_off(msg);
  return redirect(msg, end, pair);
}

static __always_inline int send_of_pod(struct sk_msg_md* msg, struct bpf_sock* sk,
                                       struct weft_shortcut_end* end, struct weft_shortcut* pair) {
  if ((pair->state & (WEFT_SHORTCUT_JOINED | WEFT_SHORTCUT_LEFT)) != WEFT_SHORTCUT_JOINED)
    return pass(WEFT_STAT_SHORTCUT_TCP);
  const struct tcp_sock* peer = shortcut_peer(end, pair);
  if (!peer) return pass(WEFT_STAT_SHORTCUT_GONE);
  if (!tcp_is_read(sk, peer)) return pass(WEFT_STAT_SHORTCUT_TCP);
  if (is_full(end, pair, tcp_unread(peer), msg->size) || msg->size > WEFT_SHORTCUT_UNREAD) {
    __sync_fetch_and_or(&pair->state, WEFT_SHORTCUT_BULK);
    bpf_msg_apply_bytes(msg, BULK_BYTES);
    return pass(WEFT_STAT_SHORTCUT_FULL);
  }
  if (tcp_is_owned(peer)) return pass(WEFT_STAT_SHORTCUT_TCP);
  return redirect(msg, end, pair);
}

SEC("sk_msg")
int mesh_shortcut(struct sk_msg_md* msg) {
  struct bpf_sock* sk = msg->sk;
  struct weft_shortcut_end* end = sk ? bpf_sk_storage_get(&m_shortcut_sk, sk, 0, 0) : 0;
  struct weft_shortcut* pair = end ? shortcut_of(end) : 0;
  if (!pair) return pass(WEFT_STAT_SHORTCUT_GONE);
  return end->is_proxy ? send_of_proxy(msg, sk, end, pair) : send_of_pod(msg, sk, end, pair);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
