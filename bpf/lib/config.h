/* Knobs of the kernel programs: written by the agent into .rodata before load, constant for the verifier
 * afterwards. Every hook file includes this; nothing here is ever written by BPF. */
#ifndef WEFT_BPF_LIB_CONFIG_H
#define WEFT_BPF_LIB_CONFIG_H

#include <linux/types.h>

#include <bpf/bpf_helpers.h>

/* Listener slot of the namespace that mesh_lookup is loaded for; one load per namespace. sk_lookup has
 * neither netns cookie nor socket storage, so identity is bound when the program is made. */
const volatile __u32 cfg_slot __weak = 0;
/* 1: rows of workload_id 0 in m_excl_port and m_excl_cidr exist and apply to everybody. */
const volatile __u32 cfg_global_excl __weak = 0;
/* 1: the kernel has bpf_set_retval for connect hooks, so a refusal can say ECONNREFUSED instead of EPERM. */
const volatile __u32 cfg_refuse_errno __weak = 0;
/* A proxy whose last beat is older than this counts as down. */
const volatile __u64 cfg_beat_stale_ns __weak = 3000000000ull;
/* An open connection adds what it moved, and a sample of its round trip time, at most this often. */
const volatile __u64 cfg_report_ns __weak = 1000000000ull;
/* 1: the agent was told to allow the shortcut and the kernel passed its trial, or connections of a former
 * agent still have it. Its maps exist only then. */
const volatile __u32 cfg_shortcut __weak = 0;
/* 1: new connections may take it. */
const volatile __u32 cfg_shortcut_join __weak = 0;

#endif
