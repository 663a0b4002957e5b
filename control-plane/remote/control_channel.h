// The way to weft-control: TLS that only its authority vouches for, and who we are, by a token or a client
// certificate. Files are read for each connection and each call, so that what was rotated is used from the
// next one on. Any thread. What is secret here is in no log and no error.
#pragma once

#include <memory>
#include <string>

#include <grpcpp/grpcpp.h>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"

namespace weft::control_plane {

struct ControlAccess {
  std::string target;            // "HOST:PORT"
  std::string authority_file;    // PEM: who may have signed the server's certificate
  std::string token_file;        // a ServiceAccount's token; empty: none
  std::string certificate_file;  // PEM, with key_file; empty: none
  std::string key_file;
  std::string server_name;  // in its certificate; empty: HOST
  // What istiod calls the cluster that the token is of (metadata "clusterid"); empty: not said.
  std::string cluster_id;
};

class ControlChannel {
 public:
  explicit ControlChannel(ControlAccess access) : access_(std::move(access)) {}

  const std::string& target() const { return access_.target; }
  // A new one, for a stream. Errors: a file cannot be read or is empty, the authority's has no certificate.
  absl::StatusOr<std::shared_ptr<grpc::Channel>> connect() const;
  // One that calls share until a file is another one.
  absl::StatusOr<std::shared_ptr<grpc::Channel>> shared();
  // Adds the token, and the cluster's name, to a call.
  absl::Status prepare(grpc::ClientContext& context) const;

 private:
  absl::StatusOr<grpc::SslCredentialsOptions> read_credentials() const;
  std::shared_ptr<grpc::Channel> dial(const grpc::SslCredentialsOptions& credentials) const;

  const ControlAccess access_;
  absl::Mutex mutex_;
  std::shared_ptr<grpc::Channel> shared_ ABSL_GUARDED_BY(mutex_);
  std::string shared_for_ ABSL_GUARDED_BY(mutex_);  // the files' texts
};

}  // namespace weft::control_plane
