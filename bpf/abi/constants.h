/* Numbers that kernel programs, agent and proxy must agree on. Plain C, included by clang -target bpf and by
 * C++. */
#ifndef WEFT_BPF_ABI_CONSTANTS_H
#define WEFT_BPF_ABI_CONSTANTS_H

#include "bpf/abi/pad.h"

/* SO_MARK of a captured application socket: an ip rule in the pod's namespace sends it to WEFT_ROUTE_TABLE.
 */
#define WEFT_MARK_CAPTURE 0x570cu
/* SO_MARK of the proxy's own sockets (listeners, accepted, dialled): never captured, never measured twice. */
#define WEFT_MARK_PROXY 0x570du
#define WEFT_MARK_MASK 0xffffu

/* `ip rule pref`, and the table that holds `local default dev lo`. Cleanup recognises ours by these. */
#define WEFT_RULE_PRIORITY 5700u
#define WEFT_ROUTE_TABLE 5700u
/* rtm_protocol of our routes and rules. */
#define WEFT_ROUTE_PROTOCOL 157u

#define WEFT_PORT_OUTBOUND 15001u
#define WEFT_PORT_INBOUND 15006u
#define WEFT_PORT_HBONE 15008u
#define WEFT_PORT_METRICS 15020u
#define WEFT_PORT_HEALTH 15021u

/* Enrolled namespaces of one node; also the number of listener slots. */
#define WEFT_MAX_NAMESPACES 1024u
#define WEFT_MAX_PROXIES 64u
#define WEFT_MAX_DESTINATIONS 524288u
#define WEFT_MAX_FLOWS 16384u
/* Dials of the proxy that are under way to the namespace that they come from, and how long one may take (the
 * kernel gives up a SYN after two minutes). */
#define WEFT_MAX_PROXY_DIALS 16384u
#define WEFT_PROXY_DIAL_S 150u
/* Sets of m_socket, a power of two: 16 MiB of slots for 131,072 sockets. */
#define WEFT_SOCKET_SETS 16384u
/* A slot whose dial sent no SYN for so long may be had by another socket. */
#define WEFT_SOCKET_DIAL_S 10u
/* Service addresses with their ports; backends of all services; rows of all alias tables, twice what the
 * backends need because a table is replaced by a new one beside it. */
#define WEFT_MAX_SERVICES 262144u
#define WEFT_MAX_BACKENDS 524288u
#define WEFT_MAX_PICKS 1048576u
#define WEFT_MAX_AFFINITIES 65536u
/* Connects that take no longer are never slow, however fast other backends are. */
#define WEFT_SLOW_US 50000u
/* How long a backend must have been slow. */
#define WEFT_SLOW_FOR_S 10u
/* Bytes of the ring of failing backends: 2,000 reports that nobody has read yet. */
#define WEFT_FAILING_BYTES 65536u
#define WEFT_MAX_POLICIES 4096u
#define WEFT_MAX_POLICY_ROWS 262144u
#define WEFT_MAX_LOCAL_ADDRESSES 8192u
#define WEFT_MAX_EXCLUSIONS (8192u + WEFT_ABI_MORE_ROWS)

/* The id of nobody: unknown workload or destination, and the overflow bucket of the flow table. */
#define WEFT_ID_UNKNOWN 0u
#define WEFT_ID_OVERFLOW 0xffffffffu

#endif
