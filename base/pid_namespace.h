// Whether process ids are here what kernel programs see. They know the proxy by its id in the first PID
// namespace (m_proxy), and the agent learns it from the proxy's socket, in its own.
#pragma once

#include <string>

namespace weft {

inline constexpr char kPidNamespaceHint[] =
    "give the agent's pod hostPID: true, as the chart does; a node that is a container itself (kind) needs "
    "the machine's PID namespace";

// What is wrong with it, for people; empty: nothing. `path` names the namespace. Any thread.
std::string pid_namespace_problem(const std::string& path = "/proc/self/ns/pid");

}  // namespace weft
