// Gives up root: what weft-proxy keeps after start is CAP_SYS_ADMIN, for setns(2) into the pods it dials
// from, and nothing else. Called by main before any thread exists.
#pragma once

#include <string>

#include "absl/status/status.h"

namespace weft::proxy {

// Does nothing (OK) when the process is not root and `user` is empty. `user` empty as root: "nobody".
absl::Status drop_privileges(const std::string& user);

}  // namespace weft::proxy
