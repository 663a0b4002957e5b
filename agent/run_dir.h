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

inline constexpr char kDefaultRunDir[] = "/run/weft";
inline constexpr char kLastingCaDir[] = "/var/lib/weft/ca";
inline constexpr char kLastingNodeDir[] = "/var/lib/weft/node";

// Where the certificate authority is when nobody says: `lasting` for the usual run dir, which a reboot
// empties; beside it for another one, so that two agents share none. An authority that is already beside the
// usual one stays, with a warning, as long as there is no other.
std::string default_ca_dir(const std::string& run_dir, const std::string& usual = kDefaultRunDir,
                           const std::string& lasting = kLastingCaDir);

// Where the certificate of a node that joined is when nobody says: as default_ca_dir().
std::string default_node_dir(const std::string& run_dir);

// Removes our files from it, and the directory itself when nothing else is inside.
void remove_run_files(const std::string& path);

}  // namespace weft::agent
