// See curl_access.h.
#include "control-plane/kubernetes/curl_access.h"

#include "base/status_macros.h"
#include "base/strings.h"
#include "control-plane/kubernetes/json_tree.h"
#include "control-plane/kubernetes/server_text.h"

namespace weft::control_plane {
namespace {

absl::Status set_pem(CURL* easy, const PemSource& pem, CURLoption blob) {
  ASSIGN_OR_RETURN(std::string text, current_pem(pem));
  if (text.empty()) return absl::OkStatus();
  curl_blob bytes{.data = text.data(), .len = text.size(), .flags = CURL_BLOB_COPY};
  if (curl_easy_setopt(easy, blob, &bytes) == CURLE_OK) return absl::OkStatus();
  return absl::InternalError("libcurl does not take PEM text");
}

}  // namespace

absl::Status begin_curl() {
  // Once for the process; never undone, for other threads may use libcurl.
  static const CURLcode global = curl_global_init(CURL_GLOBAL_DEFAULT);
  return global == CURLE_OK ? absl::OkStatus() : absl::InternalError("libcurl cannot be initialised");
}

absl::Status secure(const ApiAccess& access, CURL* easy) {
  // As text, not as files: libcurl knows connections by the names of files, and would go on with the one of
  // a certificate that was rotated.
  RETURN_IF_ERROR(set_pem(easy, access.authority, CURLOPT_CAINFO_BLOB));
  RETURN_IF_ERROR(set_pem(easy, access.certificate, CURLOPT_SSLCERT_BLOB));
  RETURN_IF_ERROR(set_pem(easy, access.key, CURLOPT_SSLKEY_BLOB));
  // libcurl is built with a folder of authorities and would trust those too.
  if (access.authority.given()) curl_easy_setopt(easy, CURLOPT_CAPATH, nullptr);
  curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, access.verify ? 1L : 0L);
  curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, access.verify ? 2L : 0L);
  curl_easy_setopt(easy, CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
  return absl::OkStatus();
}

bool is_about_tls(CURLcode code) {
  return code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CONNECT_ERROR ||
         code == CURLE_SSL_CERTPROBLEM || code == CURLE_SSL_CACERT_BADFILE;
}

std::string refusal_text(long status, const std::string& body) {
  const absl::StatusOr<YamlNode> parsed = parse_json(body);
  const std::string text = server_text(parsed.ok() ? json_text(*parsed, "message") : std::string_view(body));
  return text.empty() ? str_cat("HTTP status ", status) : str_cat("HTTP status ", status, ": ", text);
}

}  // namespace weft::control_plane
