// The client certificate of a node that joined: got once for a join token, kept in a folder of the node, and
// renewed by itself from then on. The key is made here, with every certificate anew, and never leaves the
// folder. A thread of its own renews; everything else is any thread's.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "control-plane/remote/control_channel.h"

namespace weft::control_plane {

class NodeCertificate {
 public:
  struct Options {
    ControlAccess access;  // target, authority_file, server_name
    std::string node_name;
    std::string token_file;  // mode 0600; read only when there is no certificate that is valid and counts
    std::string folder;      // made with mode 0700; node.pem in it has the certificate and the key
    // weft-control must have answered after so long.
    absl::Duration first_limit = absl::Seconds(60);
    // Asked while that is awaited; true: the process is to end. May be empty.
    std::function<bool()> give_up = {};
    std::function<absl::Time()> now = absl::Now;
  };
  // Returns with a certificate that is valid: the one of the folder, or a new one. One of the folder is
  // renewed at once where weft-control is there; when that refuses it, the node was removed and needs another
  // token. Errors: weft-control was not reached or refuses (in its own words), the token file cannot be used,
  // the folder cannot be written.
  static absl::StatusOr<std::unique_ptr<NodeCertificate>> open(Options options);
  virtual ~NodeCertificate() = default;

  // PEM file with both the certificate and its key; replaced as a whole.
  virtual std::string file() const = 0;
  // Why it was not renewed though it is time, ending with " (next: …)"; empty: it was.
  virtual std::vector<std::string> problems() const = 0;
  // Renews now, whatever the time is, by the token of the file when weft-control refuses the certificate; for
  // tests of what follows.
  virtual absl::Status renew() = 0;

 protected:
  NodeCertificate() = default;
};

}  // namespace weft::control_plane
