// Sockets made inside a pod's network namespace by a thread that lives in another: setns in, socket(), setns home. The socket
// stays in the namespace it was made in, so only its creation needs the visit. Used by upstream dialling.
#pragma once

#include "absl/status/statusor.h"
#include "base/fd.h"

namespace weft::proxy {

// The calling thread's own namespace, kept open so that it can always go home.
class HomeNetns {
 public:
  static absl::StatusOr<HomeNetns> open();

  // A non-blocking TCP socket of `family` in `netns`, or here when `netns` is negative; invalid with errno set on failure.
  // Must run on the thread that open() ran on. Ends the process when the way home fails: a thread that stayed in a pod's
  // namespace would dial for the wrong pod.
  UniqueFd tcp_socket(int netns, int family) const;

 private:
  explicit HomeNetns(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

}  // namespace weft::proxy
