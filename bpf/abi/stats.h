/* Counters of the kernel programs: m_stats, per-CPU array indexed by enum weft_stat. Every helper failure and
 * every skipped decision adds to exactly one. The list also makes the metric
 * `weft_bpf_events_total{event="…"}` and its documentation. */
#ifndef WEFT_BPF_ABI_STATS_H
#define WEFT_BPF_ABI_STATS_H

/* X(NAME, "metric label", "what it means") */
#define WEFT_STATS(X)                                                                                        \
  X(CAPTURED, "captured", "connects marked for the proxy")                                                   \
  X(LEFT_LOOPBACK, "left_loopback", "connects of enrolled pods to loopback, left alone")                     \
  X(LEFT_EXCLUDED, "left_excluded", "connects of enrolled pods to an excluded port or address, left alone")  \
  X(LEFT_PROXY, "left_proxy", "connects of the proxy itself")                                                \
  X(MARK_FAILED, "mark_failed", "connects refused because the capture mark could not be set")                \
  X(STEERED, "steered", "connections handed to a capture listener")                                          \
  X(NO_LISTENER, "no_listener", "captured connections dropped because no capture listener exists")           \
  X(ASSIGN_FAILED, "assign_failed", "captured connections dropped because the listener was refused")         \
  X(PORT_PROTECTED, "port_protected", "connections from outside to a capture port, dropped")                 \
  X(STORAGE_FAILED, "storage_failed", "connections not measured: socket storage could not be made")          \
  X(FLOW_OVERFLOW, "flow_overflow", "measurements added to the overflow bucket: no room for a row")          \
  X(FLOW_LOST, "flow_lost", "measurements lost: not even the overflow bucket exists")                        \
  X(DIRECT, "direct", "connects sent straight to a backend, no proxy")                                       \
  X(LEFT_ENDPOINT, "left_endpoint", "connects to an endpoint of a service without L7, left alone")           \
  X(NO_BACKEND, "no_backend", "connects and datagrams refused: the service has no usable backend")           \
  X(PICK_RACED, "pick_raced", "lookups that met a replacement of a service's table several times in a row")  \
  X(DIRECT_FAILED, "direct_failed", "connects and datagrams refused: no socket storage for the backend")     \
  X(AFFINITY_FAILED, "affinity_failed", "picks whose client will not be remembered")                         \
  X(DATAGRAM, "datagram", "datagrams of unconnected sockets sent to a backend")                              \
  X(BYPASSED, "bypassed", "connections of open workloads let past a proxy that does not answer")             \
  X(FAILED_CLOSED, "failed_closed", "connections of closed workloads refused: the proxy does not answer")    \
  X(DENIED, "denied", "connections from outside refused by policy, before the application sees them")        \
  X(DENIED_UNKNOWN, "denied_unknown", "connections refused because their policy is not in the kernel")       \
  X(PROBE, "probe", "connections from the node itself, let in whatever policy says")                         \
  X(INSPECTED, "inspected", "connections from outside handed to the plaintext listener")                     \
  X(HBONE, "hbone", "connections from outside handed to the HBONE listener")                                 \
  X(FAILING_LOST, "failing_lost", "reports of a failing backend lost: nobody read the earlier ones")         \
  X(DENIED_EGRESS, "denied_egress", "connects refused because policy at the other end would refuse them")    \
  X(PROXY_DIAL_LOST, "proxy_dial_lost", "dials of the proxy into its own namespace not remembered: no room") \
  X(PROXY_DIAL, "proxy_dial",                                                                                \
    "connections of the proxy itself to an inspected port, handed to the application")                       \
  X(SOCKET_OVERFLOW, "socket_overflow",                                                                      \
    "connections remembered by a storage of their own: their part of the socket table is full")              \
  X(SHORTCUT_JOINED, "shortcut_joined",                                                                      \
    "connections between a pod and the proxy that may take the shortcut")                                    \
  X(SHORTCUT_MESSAGE, "shortcut_message", "sends that went past TCP")                                        \
  X(SHORTCUT_BYTES, "shortcut_bytes", "bytes of those sends")                                                \
  X(SHORTCUT_WAIT, "shortcut_wait",                                                                          \
    "sends of the proxy that were put off: the pod has not read, or holds its socket")                       \
  X(SHORTCUT_FULL, "shortcut_full", "sends of a pod by TCP: too much waits unread at the proxy")             \
  X(SHORTCUT_TCP, "shortcut_tcp",                                                                            \
    "sends of a pod by TCP: earlier ones are not read yet, or the proxy holds its socket")                   \
  X(SHORTCUT_LEFT_TCP, "shortcut_left", "sends of the proxy by TCP, on connections that left the shortcut")  \
  X(SHORTCUT_MIXED, "shortcut_mixed",                                                                        \
    "sends of the proxy by TCP while the pod has bytes past TCP unread: no agent runs")                      \
  X(SHORTCUT_GONE, "shortcut_gone", "sends by TCP because the other end has closed")                         \
  X(SHORTCUT_NO_ROOM, "shortcut_no_room", "connections without the shortcut: no room or memory for it")

enum weft_stat {
#define X(name, label, help) WEFT_STAT_##name,
  WEFT_STATS(X)
#undef X
      WEFT_STAT_COUNT
};

#endif
