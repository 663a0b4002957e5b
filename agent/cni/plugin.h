// The chained CNI plugin weft-cni: asks the node's agent to capture a pod before its containers start, and
// lets no pod of the mesh start without (github.com/containernetworking/cni, SPEC.md 0.4.0 and 1.0.0). Pure
// but for the two functions that it is given. A program that runs for one call.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/cni/message.h"

namespace weft::agent {

struct CniPlugin {
  // A variable of the environment; "" when it is not set.
  std::function<std::string(const char* name)> environment;
  // Asks the agent on that socket. nullopt: nobody is there, or nobody answered in time.
  std::function<std::optional<CniAnswer>(const std::string& socket, const CniRequest&, int timeout_seconds)>
      ask;
  // The text of a file; nullopt: there is none.
  std::function<std::optional<std::string>(const std::string& path)> read_file;

  struct Outcome {
    int exit_code = 0;
    std::string output;  // JSON for the runtime
  };
  // `input`: what the runtime wrote to standard input.
  Outcome run(std::string_view input) const;
};

// How the agent's installer writes the plugin into a list of plugins, and what run() reads of it again.
struct CniPluginConfig {
  std::string socket;
  // File with a namespace on each line: those whose pods must not start while the agent is away.
  std::string namespaces_file;
  // Namespaces whose pods start in any case while the agent is away: a cluster must be able to begin.
  std::vector<std::string> exempt;
  int timeout_seconds = 10;  // 1 to 100: kubelets wait two minutes for a sandbox
};
inline constexpr char kCniPluginName[] = "weft-cni";

}  // namespace weft::agent
