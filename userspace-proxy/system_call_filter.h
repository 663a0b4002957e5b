// What the process may still ask of the kernel once it serves: seccomp(2), by libseccomp. A fault in a parser
// then is not a shell on the node. io_uring's operations pass no such filter; what they can do is bounded by
// the user and the capabilities.
#pragma once

#include "absl/status/status.h"

namespace weft::proxy {

// For all threads of the process, and those that they make; there is no way back. Sets no_new_privs. A call
// that a proxy never makes and an intruder would (execve, ptrace, bpf, mount and the like) kills the process;
// any other that is not on the list fails with EPERM, or ENOSYS where a library then takes an older one. The
// kernel's audit log names both (type=SECCOMP).
absl::Status confine_system_calls();

}  // namespace weft::proxy
