// See server_certificate.h.
#include "control-plane/serve/server_certificate.h"

#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_credentials_options.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/log.h"
#include "base/status_macros.h"
#include "control-plane/identity/key_file.h"

namespace weft::control_plane {
namespace {

constexpr unsigned int kLookSeconds = 10;

absl::Status check_pair(const std::string& certificate_file, const std::string& key_file) {
  ASSIGN_OR_RETURN(const std::string text, read_text_file(certificate_file, Folder::kMounted));
  const auto certificates = read_certificates(text);
  if (!certificates.ok()) return annotate(certificate_file, certificates.status());
  ASSIGN_OR_RETURN(const std::string key_text, read_text_file(key_file, Folder::kMounted));
  const auto key = read_private_key(key_text);
  if (!key.ok()) return annotate(key_file, key.status());
  if (X509_check_private_key(certificates->front().get(), key->get()) == 1) return absl::OkStatus();
  static_cast<void>(openssl_status(""));
  return absl::FailedPreconditionError(
      str_cat(key_file, " is not the key of ", certificate_file, "; next: give both of one pair"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<ServerCertificate>> ServerCertificate::open(
    Options options, const CertificateAuthority& authority, absl::Time now) {
  std::unique_ptr<ServerCertificate> out(new ServerCertificate(std::move(options), authority));
  Options& o = out->options_;
  if (!o.client_authority_file.empty()) {
    ASSIGN_OR_RETURN(const std::string text, read_text_file(o.client_authority_file, Folder::kMounted));
    RETURN_IF_ERROR(annotate(o.client_authority_file, read_certificates(text).status()));
  }
  if (!o.certificate_file.empty()) {
    RETURN_IF_ERROR(check_pair(o.certificate_file, o.key_file));
    return out;
  }
  if (::mkdir(o.folder.c_str(), 0700) != 0 && errno != EEXIST) return errno_status(o.folder, errno);
  o.certificate_file = o.folder + "/server.crt";
  o.key_file = o.folder + "/server.key";
  // One key for the life of the process: gRPC never sees a certificate that is not of the key beside it.
  ::unlink(o.key_file.c_str());
  ASSIGN_OR_RETURN(out->key_, make_key());
  RETURN_IF_ERROR(write_key_file(o.key_file, out->key_.get()));
  RETURN_IF_ERROR(annotate("certificate of the server", out->make(now)));
  return out;
}

absl::Status ServerCertificate::make(absl::Time now) {
  ASSIGN_OR_RETURN(const std::string chain, authority_.sign_server(key_.get(), options_.names, now));
  ASSIGN_OR_RETURN(const std::vector<X509Ptr> read, read_certificates(chain));
  RETURN_IF_ERROR(write_text_file(options_.certificate_file, chain));
  const absl::Time end = not_after(read.front().get());
  renew_at_ = now + (end - now) / 2;
  log::info("server_certificate_made",
            {{"until", absl::FormatTime(absl::RFC3339_sec, end, absl::UTCTimeZone())}});
  return absl::OkStatus();
}

absl::Status ServerCertificate::renew(absl::Time now) {
  return now < renew_at_ ? absl::OkStatus() : make(now);
}

std::shared_ptr<grpc::ServerCredentials> ServerCertificate::credentials() const {
  namespace tls = grpc::experimental;
  const bool asks = !options_.client_authority_file.empty();
  const auto files =
      asks ? std::make_shared<tls::FileWatcherCertificateProvider>(
                 options_.key_file, options_.certificate_file, options_.client_authority_file, kLookSeconds)
           : std::make_shared<tls::FileWatcherCertificateProvider>(options_.key_file,
                                                                   options_.certificate_file, kLookSeconds);
  tls::TlsServerCredentialsOptions options(files);
  options.watch_identity_key_cert_pairs();
  if (asks) options.watch_root_certs();
  // Who shows none may still have a token.
  options.set_cert_request_type(asks ? GRPC_SSL_REQUEST_CLIENT_CERTIFICATE_AND_VERIFY
                                     : GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE);
  return tls::TlsServerCredentials(options);
}

}  // namespace weft::control_plane
