// Waiting with a deadline for things that give no event to wait for: a port of another process, a figure of a
// metrics page. The only place of the tests that polls.
#pragma once

#include <chrono>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "base/address.h"

namespace weft::harness {

using std::chrono::milliseconds;

class Process;

// Runs `work` on a thread of its own inside the namespace (setns is per thread) and waits for it.
absl::Status in_namespace(const std::string& netns, const std::function<void()>& work);

// True as soon as `condition` is; asked again every 20 ms, false at the deadline.
bool wait_until(milliseconds deadline, const std::function<bool()>& condition);

// Until somebody accepts at `address` inside the namespace. Fails early when `server` (may be null) ends.
absl::Status wait_for_port(const std::string& netns, const SocketAddress& address, Process* server,
                           milliseconds deadline = milliseconds(10'000));

// A TCP port of 127.0.0.1 in our namespace that was free a moment ago.
uint16_t free_port();

}  // namespace weft::harness
