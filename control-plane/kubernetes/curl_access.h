// How libcurl proves who asks an API server, and what a server's refusal says; of requests (api_client.h) and
// of streams (pod_exec.h). No secret is in an error.
#pragma once

#include <curl/curl.h>

#include <string>

#include "absl/status/status.h"
#include "control-plane/kubernetes/api_access.h"

namespace weft::control_plane {

struct EasyDeleter {
  void operator()(CURL* easy) const { curl_easy_cleanup(easy); }
};

// Before any other call of libcurl; any thread, as often as one likes.
absl::Status begin_curl();

// Certificates and keys as they are now. Errors: a file cannot be read.
absl::Status secure(const ApiAccess& access, CURL* easy);

// libcurl's longer words say of these what is wrong.
bool is_about_tls(CURLcode code);

// "HTTP status 403: pods is forbidden": Kubernetes answers with a Status whose message says why.
std::string refusal_text(long status, const std::string& body);

}  // namespace weft::control_plane
