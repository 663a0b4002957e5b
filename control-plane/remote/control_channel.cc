// See control_channel.h.
#include "control-plane/remote/control_channel.h"

#include <fstream>
#include <sstream>

#include "absl/strings/ascii.h"
#include "base/status_macros.h"
#include "base/x509.h"
#include "xds/stream_channel.h"

namespace weft::control_plane {
namespace {

absl::StatusOr<std::string> read_file(const char* what, const std::string& path) {
  if (path.empty()) return std::string();
  std::ifstream file(path);
  std::ostringstream text;
  if (!file || !(text << file.rdbuf()))
    return absl::FailedPreconditionError(str_cat(what, ": ", path, " cannot be read or is empty"));
  return text.str();
}

}  // namespace

absl::StatusOr<grpc::SslCredentialsOptions> ControlChannel::read_credentials() const {
  grpc::SslCredentialsOptions out;
  ASSIGN_OR_RETURN(out.pem_root_certs, read_file("authority", access_.authority_file));
  // Of none gRPC would make the authorities that the machine trusts.
  if (const auto roots = read_certificates(out.pem_root_certs); !roots.ok())
    return absl::FailedPreconditionError(
        str_cat("authority: ", access_.authority_file.empty() ? "no file is named" : access_.authority_file,
                ": ", roots.status().message(),
                "; next: --control-ca with the PEM certificates of who signed weft-control's"));
  ASSIGN_OR_RETURN(out.pem_cert_chain, read_file("client certificate", access_.certificate_file));
  // Of one file with both, once: between two readings it may be replaced.
  if (access_.key_file == access_.certificate_file) {
    out.pem_private_key = out.pem_cert_chain;
    return out;
  }
  ASSIGN_OR_RETURN(out.pem_private_key, read_file("client key", access_.key_file));
  return out;
}

std::shared_ptr<grpc::Channel> ControlChannel::dial(const grpc::SslCredentialsOptions& credentials) const {
  return xds::stream_channel(access_.target, xds::kMaxMessageBytes, grpc::SslCredentials(credentials),
                             access_.server_name);
}

absl::StatusOr<std::shared_ptr<grpc::Channel>> ControlChannel::connect() const {
  ASSIGN_OR_RETURN(const grpc::SslCredentialsOptions credentials, read_credentials());
  return dial(credentials);
}

absl::StatusOr<std::shared_ptr<grpc::Channel>> ControlChannel::shared() {
  ASSIGN_OR_RETURN(const grpc::SslCredentialsOptions credentials, read_credentials());
  const std::string now =
      str_cat(credentials.pem_root_certs, credentials.pem_cert_chain, credentials.pem_private_key);
  const absl::MutexLock lock(&mutex_);
  if (shared_ == nullptr || shared_for_ != now) {
    shared_ = dial(credentials);
    shared_for_ = now;
  }
  return shared_;
}

absl::Status ControlChannel::prepare(grpc::ClientContext& context) const {
  if (!access_.cluster_id.empty()) context.AddMetadata("clusterid", access_.cluster_id);
  if (access_.token_file.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::string text, read_file("token", access_.token_file));
  const std::string token(absl::StripAsciiWhitespace(text));
  // What no header can carry would end the process.
  for (const unsigned char c : token) {
    if (c <= ' ' || c >= 0x7f)
      return absl::FailedPreconditionError(str_cat("token: ", access_.token_file, " holds no token"));
  }
  if (token.empty())
    return absl::FailedPreconditionError(str_cat("token: ", access_.token_file, " is empty"));
  context.AddMetadata("authorization", "Bearer " + token);
  return absl::OkStatus();
}

}  // namespace weft::control_plane
