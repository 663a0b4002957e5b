/* Why this hook: before sockets of pods take the shortcut (bpf/shortcut.bpf.c), bpf/user/shortcut_trial.cc
 * tries on two sockets of its own whether this kernel does what the protocol builds on. This program sends
 * what they send to the other one and writes down what it sees of its own socket. Attached to a map that only
 * the trial has; how it fails: the shortcut stays off. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "bpf/lib/kernel_types.h"

struct {
  __uint(type, BPF_MAP_TYPE_SOCKHASH);
  __uint(max_entries, 3);
  __type(key, __u64);
  __type(value, __u64);
} trial_sockets SEC(".maps");

__u64 trial_to;     /* key of the socket that gets the next message */
__u64 trial_flags;  /* BPF_F_INGRESS, or 0 for the plug */
__u32 trial_unread; /* of the sender, when it sent */
__u32 trial_written;
__u32 trial_copied;
__u64 trial_runs;

SEC("sk_msg")
int shortcut_trial(struct sk_msg_md* msg) {
  struct bpf_sock* sk = msg->sk;
  const struct tcp_sock* tcp = sk ? bpf_skc_to_tcp_sock(sk) : 0;
  if (!tcp) return SK_PASS;
  trial_unread = tcp->inet_conn.icsk_inet.sk.sk_backlog.rmem_alloc.counter;
  trial_written = tcp->write_seq;
  trial_copied = tcp->copied_seq;
  ++trial_runs;
  __u64 to = trial_to;
  return bpf_msg_redirect_hash(msg, &trial_sockets, &to, trial_flags);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
