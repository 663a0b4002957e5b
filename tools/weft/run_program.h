// Runs another program with the terminal of this one, for `weft install` and the like. Called by main.cc.
#pragma once

#include <string>
#include <vector>

namespace weft::cli {

// argv[0] is looked for in PATH. Its exit code; 128 and the number of a signal that ended it; 127 when it
// cannot be run.
int run_program(const std::vector<std::string>& argv);

}  // namespace weft::cli
