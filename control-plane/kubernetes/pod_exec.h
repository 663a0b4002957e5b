// A command in a container, by the API server: its standard streams over one WebSocket (the "exec"
// subresource of a pod, v5.channel.k8s.io or v4), so that a program inside is spoken to as over a socket. No
// kubectl is needed. Logs nothing; its errors hold no secrets. The process ignores SIGPIPE.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/fd.h"
#include "control-plane/kubernetes/api_access.h"

namespace weft::control_plane {

struct PodCommand {
  std::string ns, pod, container;
  std::vector<std::string> words;
};

class PodStream {
 public:
  // Waits until the API server has accepted, at most 15 s; that the program runs, its first bytes show.
  // Errors: PermissionDenied (who asks may not; names the verbs), NotFound (no such pod), Unavailable.
  static absl::StatusOr<std::unique_ptr<PodStream>> open(const ApiAccess& access, const PodCommand& command);
  // Ends the connection, and the command by the end of its input.
  virtual ~PodStream() = default;

  // Once: a stream socket. What is written to it is the command's input, what is read its output; its end is
  // the end of the command. The stream must outlive its use.
  virtual UniqueFd take_socket() = 0;
  // What the command wrote to its standard error and how the server says that it ended; "" so far. Any
  // thread.
  virtual std::string problem() const = 0;
};

}  // namespace weft::control_plane
