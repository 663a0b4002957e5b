// See api_access.h. The kubeconfig is read with the manifests' YAML reader: bounded, and it says what is
// wrong where.
#include "control-plane/kubernetes/api_access.h"

#include <unistd.h>

#include <array>
#include <cstdlib>
#include <string_view>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "base/address.h"
#include "base/status_macros.h"
#include "control-plane/kubernetes/json_tree.h"
#include "control-plane/source/directory_source.h"

namespace weft::control_plane {
namespace {

// Of "http://HOST:PORT/PATH", "http://[HOST]:PORT".
bool is_on_loopback(std::string_view server) {
  std::string_view host = server.substr(server.find("://") + 3);
  if (host.starts_with('[')) {
    host = host.substr(1, host.find(']') - 1);
  } else {
    host = host.substr(0, host.find_first_of(":/?#"));
  }
  const auto ip = IpAddress::parse(host);
  return host == "localhost" || (ip.has_value() && ip->is_loopback());
}

class Kubeconfig {
 public:
  Kubeconfig(std::string path, YamlNode root) : path_(std::move(path)), root_(std::move(root)) {}

  absl::StatusOr<ApiAccess> access(const std::string& wanted) const {
    const std::string name = wanted.empty() ? std::string(json_text(root_, "current-context")) : wanted;
    if (name.empty())
      return absl::NotFoundError(
          str_cat(path_, ": no current-context; next: kubectl config use-context NAME"));
    ASSIGN_OR_RETURN(const YamlNode* context, named("contexts", "context", name));
    ASSIGN_OR_RETURN(const YamlNode* cluster,
                     named("clusters", "cluster", std::string(json_text(*context, "cluster"))));
    ASSIGN_OR_RETURN(const YamlNode* user, named("users", "user", std::string(json_text(*context, "user"))));
    ApiAccess out;
    RETURN_IF_ERROR(read_cluster(*cluster, out));
    RETURN_IF_ERROR(read_user(*user, out));
    return out;
  }

 private:
  // The map called `inner` of the entry of that name in the list called `list`.
  absl::StatusOr<const YamlNode*> named(std::string_view list, std::string_view inner,
                                        const std::string& name) const {
    const YamlNode* entries = root_.find(list);
    if (entries != nullptr) {
      for (const YamlNode& entry : entries->items) {
        const YamlNode* value = entry.find(inner);
        if (value != nullptr && json_text(entry, "name") == name) return value;
      }
    }
    return absl::NotFoundError(str_cat(path_, ": ", list, " has no \"", name,
                                       "\"; next: kubectl --kubeconfig ", path_, " config get-contexts"));
  }

  absl::Status wrong(std::string_view field, std::string_view what) const {
    return absl::InvalidArgumentError(str_cat(path_, ": ", field, ": ", what));
  }

  absl::Status read_cluster(const YamlNode& cluster, ApiAccess& out) const {
    out.server = json_text(cluster, "server");
    while (out.server.ends_with('/')) out.server.pop_back();
    if (!out.server.starts_with("https://") && !out.server.starts_with("http://"))
      return wrong("clusters[].cluster.server", "not a https:// address; next: correct it");
    // The address stands in logs and reports.
    if (out.server.find('@') != std::string::npos)
      return wrong("clusters[].cluster.server", "a user in the address is not supported; next: take it out");
    if (out.server.starts_with("http://") && !is_on_loopback(out.server))
      return wrong("clusters[].cluster.server",
                   "http:// would show tokens and objects to the network; next: use https://");
    out.proxy = json_text(cluster, "proxy-url");
    out.verify = json_text(cluster, "insecure-skip-tls-verify") != "true";
    if (!json_text(cluster, "tls-server-name").empty())
      return absl::UnimplementedError(str_cat(
          path_, ": tls-server-name is not supported yet; next: name the server as its certificate does"));
    return pem(cluster, "certificate-authority", out.authority);
  }

  absl::Status read_user(const YamlNode& user, ApiAccess& out) const {
    for (const char* unknown : {"exec", "auth-provider", "username", "as"}) {
      if (user.find(unknown) == nullptr) continue;
      return absl::UnimplementedError(
          str_cat(path_, ": users[].user.", unknown,
                  " is not supported; next: use tokenFile, token or a client certificate"));
    }
    RETURN_IF_ERROR(pem(user, "client-certificate", out.certificate));
    RETURN_IF_ERROR(pem(user, "client-key", out.key));
    if (out.certificate.given() != out.key.given())
      return wrong("users[].user", "client-certificate and client-key go together; next: give both");
    out.token = json_text(user, "token");
    if (const std::string_view file = json_text(user, "tokenFile"); !file.empty())
      out.token_file = absolute(file);
    return absl::OkStatus();
  }

  // "NAME-data" (base64) beats "NAME" (a file), as kubectl has it.
  absl::Status pem(const YamlNode& node, const std::string& name, PemSource& out) const {
    const std::string_view data = json_text(node, name + "-data");
    if (!data.empty()) {
      if (!absl::Base64Unescape(to_absl(data), &out.text))
        return wrong(name + "-data", "not base64; next: write the file again");
      return absl::OkStatus();
    }
    if (const std::string_view file = json_text(node, name); !file.empty()) {
      out.file = absolute(file);
      if (access_file(out.file) != 0)
        return wrong(name, str_cat(out.file, " cannot be read; next: check it"));
    }
    return absl::OkStatus();
  }

  static int access_file(const std::string& file) { return ::access(file.c_str(), R_OK); }

  std::string absolute(std::string_view file) const {
    const size_t slash = path_.rfind('/');
    if (file.starts_with('/') || slash == std::string::npos) return std::string(file);
    return str_cat(std::string_view(path_).substr(0, slash + 1), file);
  }

  const std::string path_;
  const YamlNode root_;
};

}  // namespace

absl::StatusOr<ApiAccess> read_kubeconfig(const std::string& path, const std::string& context) {
  const FileContent text = read_manifest(path);
  if (!text.ok())
    return absl::Status(text.status().code(), str_cat(path, ": ", text.status().message(),
                                                      "; next: give --kubeconfig a file that can be read"));
  std::vector<YamlDocument> documents = parse_yaml(*text);
  if (documents.size() != 1 || !documents.front().error.empty()) {
    const bool any = !documents.empty() && !documents.front().error.empty();
    return absl::InvalidArgumentError(
        str_cat(path,
                any ? str_cat(":", documents.front().error_line, ": ", documents.front().error)
                    : std::string(": not one document"),
                "; next: correct it, or write it again"));
  }
  return Kubeconfig(path, std::move(documents.front().root)).access(context);
}

absl::StatusOr<ApiAccess> in_cluster_access(const std::string& folder) {
  const char* host = std::getenv("KUBERNETES_SERVICE_HOST");
  const char* port = std::getenv("KUBERNETES_SERVICE_PORT");
  if (host == nullptr || port == nullptr || *host == '\0' || *port == '\0')
    return absl::FailedPreconditionError(
        "not in a pod: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set; next: give "
        "--kubeconfig FILE");
  ApiAccess out;
  const auto ip = IpAddress::parse(host);
  const bool v6 = ip.has_value() && !ip->is_v4();
  out.server = v6 ? str_cat("https://[", host, "]:", port) : str_cat("https://", host, ":", port);
  out.authority.file = folder + "/ca.crt";
  out.token_file = folder + "/token";
  for (const std::string& file : {out.authority.file, out.token_file}) {
    if (::access(file.c_str(), R_OK) == 0) continue;
    return absl::FailedPreconditionError(
        str_cat(file, " cannot be read; next: set automountServiceAccountToken: true for this pod"));
  }
  return out;
}

absl::StatusOr<std::string> current_pem(const PemSource& pem) {
  if (!pem.text.empty() || pem.file.empty()) return pem.text;
  FileContent text = read_manifest(pem.file);
  if (!text.ok())
    return absl::Status(text.status().code(), str_cat(pem.file, ": ", text.status().message(),
                                                      "; next: check that it is there and may be read"));
  if (text->empty())
    return absl::FailedPreconditionError(str_cat(pem.file, " is empty; next: write the PEM text there"));
  return *std::move(text);
}

absl::StatusOr<std::string> current_token(const ApiAccess& access) {
  if (access.token_file.empty()) return access.token;
  const FileContent text = read_manifest(access.token_file);
  if (!text.ok())
    return absl::Status(text.status().code(), str_cat(access.token_file, ": ", text.status().message(),
                                                      "; next: check that the token is mounted"));
  const std::string token(absl::StripAsciiWhitespace(*text));
  if (token.empty())
    return absl::FailedPreconditionError(
        str_cat(access.token_file, " is empty; next: write the token there"));
  if (token.find_first_of(" \t\r\n") != std::string::npos)
    return absl::InvalidArgumentError(
        str_cat(access.token_file, " holds more than a token; next: write the token alone"));
  return token;
}

}  // namespace weft::control_plane
