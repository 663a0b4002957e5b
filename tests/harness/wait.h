// Waiting with a deadline for things that give no event to wait for: a port of another process, a figure of a
// metrics page. The only place of the tests that polls.
#pragma once

#include <chrono>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "base/address.h"
#include "base/fd.h"

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

// A TCP port of 127.0.0.1 in our namespace, free for a program that binds it with SO_REUSEADDR and for nobody
// else: it is bound here and not listened on, so no bind() or connect() that asks for any port gets it.
class ReservedPort {
 public:
  ReservedPort();
  // 0: there was none.
  uint16_t number() const { return number_; }

 private:
  UniqueFd socket_;
  uint16_t number_ = 0;
};

}  // namespace weft::harness
