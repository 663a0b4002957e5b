// Certificates that a manifest names as files of the node (serverCertificate, privateKey, caCertificates,
// caCrl) stand in a Secret of a name that no other can have, so that whoever uses certificates knows Secrets
// only. What is in it is read by source/certificate_files.h.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "control-plane/resource/field_reader.h"

namespace weft::control_plane {

// Absolute; empty: not named.
struct CertificatePaths {
  std::string certificate, key, ca, crl;

  // "files:/certs/tls.crt|/certs/tls.key||"
  std::string secret_name() const;
  // nullopt: the name is another Secret's.
  static std::optional<CertificatePaths> of(std::string_view secret_name);
  // "files /certs/tls.crt, /certs/tls.key".
  std::string to_string() const;
};

// What the fields of `tls` name; `certificate` is what the API calls the certificate. nullopt: no file.
// Reports what is no path, and a certificate without its key.
std::optional<CertificatePaths> parse_certificate_paths(const FieldReader& tls, std::string_view certificate);

// Of files that are not there.
inline constexpr char kFilesRemedy[] =
    "start weft-agent with --certificate-files FOLDER, below which they are, see what is said about them, or "
    "use a "
    "Secret";

// Of a Secret that is not there, as far as is seen.
inline constexpr char kSecretRemedy[] =
    "add it, correct the name or the Secret, or, in a cluster, let Weft read it (docs/kubernetes.md#secrets)";

// For messages: "Secret shop/edge", or the files that it stands for.
std::string secret_text(std::string_view ns, std::string_view name);

}  // namespace weft::control_plane
