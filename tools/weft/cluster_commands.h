// `weft install|upgrade|uninstall`, and where `weft check --cluster` asks. They drive Helm, so that what they
// made can be looked at, changed and removed with Helm too. Called by cli.cc and commands.cc.
#pragma once

#include "tools/weft/commands.h"

namespace weft::cli {

// --kubeconfig, else what kubectl would take; empty: as the pod that this runs in.
ClusterAsk cluster_of(const Flags& flags, bool before);

int install(const Flags& flags, Environment& env);
int upgrade(const Flags& flags, Environment& env);
int uninstall(const Flags& flags, Environment& env);

}  // namespace weft::cli
