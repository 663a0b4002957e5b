/* The shortcut between a pod's socket and the node proxy's: what is known of the two ends of one TCP
 * connection. The protocol is at the head of bpf/shortcut.bpf.c. User space only reads. Addresses as in
 * abi/capture.h. */
#ifndef WEFT_BPF_ABI_SHORTCUT_H
#define WEFT_BPF_ABI_SHORTCUT_H

#include <linux/types.h>

/* Connections of one node; bytes and sends that may wait unread at one end (a send takes about a kilobyte
 * besides its bytes). More would be memory that no reader asked for. */
#define WEFT_MAX_SHORTCUTS 32768u
#define WEFT_SHORTCUT_UNREAD 131072u
#define WEFT_SHORTCUT_SENDS 256u
/* Set in the mark of the proxy's ends, beside WEFT_MARK_PROXY: what they receive may wait in two queues, so a
 * short read does not mean that nothing is left. */
#define WEFT_MARK_SHORTCUT 0x10000u

/* m_shortcut_dial: a connection whose accepting end has not been seen. netns_cookie: of the one namespace of
 * both ends; 0: they are in two, whose addresses are different. */
struct weft_shortcut_key {
  __u8 from_ip[16];
  __u8 to_ip[16];
  __u64 netns_cookie;
  __u16 from_port;
  __u16 to_port;
  __u32 reserved;
};

/* Places in the arrays of struct weft_shortcut. */
#define WEFT_SHORTCUT_DIALLED 0u
#define WEFT_SHORTCUT_ACCEPTED 1u

#define WEFT_SHORTCUT_JOINED (1ull << 0)  /* both ends are in m_shortcut_sock */
#define WEFT_SHORTCUT_LEFT (1ull << 1)    /* the proxy sends by TCP from now on */
#define WEFT_SHORTCUT_REMOVED (1ull << 2) /* the pod's end is an ordinary socket again */
#define WEFT_SHORTCUT_BULK (1ull << 3)    /* it leaves as soon as all has been read */

/* Pointers that only programs follow, and user space sees as zeros. */
#ifdef __bpf__
struct tcp_sock;
#define WEFT_SHORTCUT_SOCKET(name) struct tcp_sock __attribute__((btf_type_tag("kptr_untrusted"))) * name;
#else
#define WEFT_SHORTCUT_SOCKET(name) __u64 name;
#endif

/* m_shortcut: socket cookie of the end that dialled -> struct weft_shortcut. */
struct weft_shortcut {
  __u64 cookie[2]; /* 0: not there yet */
  WEFT_SHORTCUT_SOCKET(dialled)
  WEFT_SHORTCUT_SOCKET(accepted)
  __u64 state;    /* WEFT_SHORTCUT_* */
  __u64 bytes[2]; /* that this end sent past TCP */
  __u64 ends;     /* that are open */
  __u32 sends[2]; /* of this end since all that it sent had been read */
};

/* is_proxy: the connect hook saw the proxy's task dial; the connection is not established yet. */
#define WEFT_SHORTCUT_PROXY_DIALS 2u

/* m_shortcut_sk: socket -> what it is. */
struct weft_shortcut_end {
  __u64 pair;        /* key in m_shortcut */
  __u64 reported_ns; /* coarse clock */
  __u64 sent;        /* bytes past TCP that m_flow has */
  __u64 received;
  __u32 side;     /* WEFT_SHORTCUT_DIALLED or WEFT_SHORTCUT_ACCEPTED */
  __u32 is_proxy; /* 0, 1 or WEFT_SHORTCUT_PROXY_DIALS */
};

#ifdef __cplusplus
static_assert(sizeof(weft_shortcut_key) == 48 && sizeof(weft_shortcut) == 72);
static_assert(sizeof(weft_shortcut_end) == 40);
#else
_Static_assert(sizeof(struct weft_shortcut_key) == 48 && sizeof(struct weft_shortcut) == 72, "abi");
_Static_assert(sizeof(struct weft_shortcut_end) == 40, "abi");
#endif
#endif
