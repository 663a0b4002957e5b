// The run directory: made 0755, locked by one agent at a time through <run-dir>/agent.pid. Used by main.cc to
// run and to clean up; never removes another live agent's files.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "base/fd.h"

namespace weft::agent {

// Makes the directory if needed and takes the lock until the descriptor is closed; kAlreadyExists names the
// other agent's pid.
absl::StatusOr<UniqueFd> lock_run_dir(const std::string& path);

// Removes our files from it, and the directory itself when nothing else is inside.
void remove_run_files(const std::string& path);

}  // namespace weft::agent
