// Where the API server is and how to prove who asks: from a kubeconfig, or from what Kubernetes mounts into a
// pod. Reads files; opens no connection. What is secret here is never logged and never in an error.
#pragma once

#include <string>

#include "absl/status/statusor.h"

namespace weft::control_plane {

// A PEM file, or PEM text; both empty: none.
struct PemSource {
  std::string file;
  std::string text;
  bool given() const { return !file.empty() || !text.empty(); }
};

struct ApiAccess {
  // "https://10.96.0.1:443", without a slash at the end, a user or a password. http:// on loopback only.
  std::string server;
  PemSource authority;
  bool verify = true;  // false: insecure-skip-tls-verify
  PemSource certificate;
  PemSource key;
  std::string token;       // as given
  std::string token_file;  // read for each request, for Kubernetes rotates it; beats `token`
  std::string proxy;       // proxy-url; empty: what the environment says
};

// `context` empty: the file's current-context. Relative paths are relative to the file, as kubectl has it.
// Errors: NotFound (no such file, context, cluster or user), InvalidArgument (what is wrong in it),
// Unimplemented (a way to authenticate that Weft does not know: exec, auth-provider, user and password).
absl::StatusOr<ApiAccess> read_kubeconfig(const std::string& path, const std::string& context = "");

// From KUBERNETES_SERVICE_HOST, KUBERNETES_SERVICE_PORT and the files in `folder`. Error: FailedPrecondition,
// this is no pod, or the pod has no ServiceAccount token.
inline constexpr char kServiceAccountFolder[] = "/var/run/secrets/kubernetes.io/serviceaccount";
absl::StatusOr<ApiAccess> in_cluster_access(const std::string& folder = kServiceAccountFolder);

// The PEM text to use now; "" when none is given. A file is read for each request, for it may be rotated.
// Errors: the file cannot be read or is empty.
absl::StatusOr<std::string> current_pem(const PemSource& pem);

// The token to send now; "" when none is configured. Errors: the file cannot be read or is empty.
absl::StatusOr<std::string> current_token(const ApiAccess& access);

}  // namespace weft::control_plane
