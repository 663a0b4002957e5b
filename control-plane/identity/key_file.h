// Private keys and other secrets on disk: readable by their owner alone, or refused. Used by
// CertificateAuthority, by what joins nodes, and by nodes that join. What a key is never appears in an error.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "base/x509.h"

namespace weft::control_plane {

// Where files stand. kMounted: a volume that Kubernetes fills from a Secret: names are links, and files
// belong to root and to the group of the pod, which may read them.
enum class Folder : uint8_t { kOwn, kMounted };

// A P-256 key in PEM. kNotFound without the file; kFailedPrecondition when others than this process's user
// may read or own it, or when it is a link or no file: the message says what to type.
absl::StatusOr<KeyPtr> read_key_file(const std::string& path, Folder folder = Folder::kOwn);
// Mode 0600 from the first byte on, and on disk when this returns. The file must not exist yet.
absl::Status write_key_file(const std::string& path, EVP_PKEY* key);

// A secret of at most 1 MiB; errors as read_key_file()'s.
absl::StatusOr<std::string> read_private_file(const std::string& path);
// Replaces the file as a whole, mode 0600, and on disk when this returns.
absl::Status write_private_file(const std::string& path, std::string_view text);

absl::StatusOr<std::string> read_text_file(const std::string& path, Folder folder = Folder::kOwn);
// Replaces the file as a whole, mode 0644, and on disk when this returns.
absl::Status write_text_file(const std::string& path, std::string_view text);

}  // namespace weft::control_plane
