// Files that others read while we write them: whole, old or new, also when the machine stops in between. Any
// thread; one writer for each path.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace weft::agent {

// Writes beside `path`, fsync, rename. The file beside it begins with a dot and ends with ".new", so that no
// reader of the folder takes it for one of its own.
absl::Status replace_file(const std::string& path, std::string_view text, mode_t mode);

}  // namespace weft::agent
