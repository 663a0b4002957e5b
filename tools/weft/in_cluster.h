// A command that asks agents, where they are those of a cluster and not the one of this node: which of them
// it asks, and what becomes of their answers. Used by cli.cc.
#pragma once

#include "tools/weft/commands.h"

namespace weft::cli {

// Whom a command asks.
enum class Reach : uint8_t {
  kNobody,  // or this node's agent alone
  kEach,    // every agent
  kOne,     // one, that --node names
  kClient,  // that of the node of the workload `Flags::from`
  kServer,  // that of the node of the workload `Flags::to`, a port behind it left out
};

using Command = int (*)(const Flags&, Environment&);

// Of the command that was parsed.
Reach reach_of(Command command, const Flags& flags);

// Where a command that asks nobody elsewhere was given --node, or one of this node's agent or files a
// cluster: says so, and it is not to run, for it would do here what was meant for there.
bool is_astray(Command command, const Flags& flags, Environment& env);

// --node, --context or --kubeconfig say so, or there is a kubeconfig and no agent on this machine.
bool asks_cluster(const Flags& flags);

// The exit code: of the command; kPartial when only some agents answered.
int run_in_cluster(const Flags& flags, Reach reach, Command command, Environment& env);

// `weft __relay`: copies its standard input to the agent's socket and what comes from it to its standard
// output, until either ends.
int relay(const Flags& flags, Environment& env);

}  // namespace weft::cli
