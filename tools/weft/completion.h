// Shell completion and the command reference, both walked from the parsed command tree, so they cannot drift
// from it. Called by cli.cc; pure.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace weft::cli {

// bash, zsh or fish; empty for any other name.
std::string completion_script(const CLI::App& root, const std::string& shell);
// The commands section of docs/cli.md.
std::string command_reference(const CLI::App& root);
// Their meaning.
std::string exit_code_reference();

}  // namespace weft::cli
