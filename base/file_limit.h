// How many descriptors this process may have open. Called by main before any thread exists.
#pragma once

#include <cstdint>

namespace weft {

// Soft limit to the hard limit (setrlimit(2), RLIMIT_NOFILE); returns the limit in force, 0 when nobody knows
// it.
uint64_t raise_file_limit();

}  // namespace weft
