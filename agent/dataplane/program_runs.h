// How often the attached programs ran and how long, as the kernel counts it while kernel.bpf_stats_enabled is
// 1. Found by the pinned links, so every program of ours is in it. Any thread.
#pragma once

#include <string>
#include <vector>

#include "agent/dataplane/dataplane.h"

namespace weft::agent {

// One row per program; those loaded once per namespace are added up. `links` is the directory of the pins.
std::vector<ProgramRuns> read_program_runs(const std::string& links);

}  // namespace weft::agent
