// The TLS certificate of weft-control: files that somebody else keeps current, or one of our own authority,
// kept current here. gRPC reads the files again when they change, so that no connection is lost for a new
// one.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <grpcpp/grpcpp.h>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/x509.h"
#include "control-plane/identity/certificate_authority.h"

namespace weft::control_plane {

class ServerCertificate {
 public:
  struct Options {
    // PEM files; both or none. None: `folder` gets server.crt and server.key, by the authority.
    std::string certificate_file;
    std::string key_file;
    std::vector<std::string> names;  // DNS names and IP addresses, of our own one
    std::string folder;              // made with mode 0700
    // PEM: who may have signed clients' certificates; empty: none is asked for.
    std::string client_authority_file;
  };
  // `authority` outlives it. Errors: a file is missing or no certificate, a name is none.
  static absl::StatusOr<std::unique_ptr<ServerCertificate>> open(Options options,
                                                                 const CertificateAuthority& authority,
                                                                 absl::Time now);

  // Makes a new one when half of the life of our own is over. To be called now and then. One that fails is
  // tried again at the next call.
  absl::Status renew(absl::Time now);
  std::shared_ptr<grpc::ServerCredentials> credentials() const;
  // PEM files of what is shown.
  const std::string& certificate_file() const { return options_.certificate_file; }
  const std::string& key_file() const { return options_.key_file; }
  // Made by the authority, else somebody else's files.
  bool is_own() const { return key_ != nullptr; }

 private:
  ServerCertificate(Options options, const CertificateAuthority& authority)
      : options_(std::move(options)), authority_(authority) {}
  absl::Status make(absl::Time now);

  Options options_;
  const CertificateAuthority& authority_;
  KeyPtr key_;  // null: the files are somebody else's
  absl::Time renew_at_ = absl::InfiniteFuture();
};

}  // namespace weft::control_plane
