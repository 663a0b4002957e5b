/* Counters of the kernel programs: m_stats, per-CPU array indexed by enum weft_stat. Every helper failure and
 * every skipped decision adds to exactly one. The list also makes the metric
 * `weft_bpf_events_total{event="…"}` and its documentation. */
#ifndef WEFT_BPF_ABI_STATS_H
#define WEFT_BPF_ABI_STATS_H

/* X(NAME, "metric label", "what it means") */
#define WEFT_STATS(X)                                                                                       \
  X(CAPTURED, "captured", "connects marked for the proxy")                                                  \
  X(LEFT_LOOPBACK, "left_loopback", "connects of enrolled pods to loopback, left alone")                    \
  X(LEFT_EXCLUDED, "left_excluded", "connects of enrolled pods to an excluded port or address, left alone") \
  X(LEFT_PROXY, "left_proxy", "connects of the proxy itself")                                               \
  X(MARK_FAILED, "mark_failed", "connects refused because the capture mark could not be set")               \
  X(STEERED, "steered", "connections handed to a capture listener")                                         \
  X(NO_LISTENER, "no_listener", "captured connections dropped because no capture listener exists")          \
  X(ASSIGN_FAILED, "assign_failed", "captured connections dropped because the listener was refused")        \
  X(PORT_PROTECTED, "port_protected", "connections from outside to a capture port, dropped")                \
  X(STORAGE_FAILED, "storage_failed", "connections not measured: socket storage could not be made")         \
  X(FLOW_OVERFLOW, "flow_overflow", "measurements added to the overflow bucket: no room for a row")         \
  X(FLOW_LOST, "flow_lost", "measurements lost: not even the overflow bucket exists")

enum weft_stat {
#define X(name, label, help) WEFT_STAT_##name,
  WEFT_STATS(X)
#undef X
      WEFT_STAT_COUNT
};

#endif
