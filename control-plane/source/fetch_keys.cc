// See fetch_keys.h.
#include "control-plane/source/fetch_keys.h"

#include <curl/curl.h>

#include <memory>
#include <mutex>

#include "base/jwk_set.h"
#include "base/log.h"
#include "base/strings.h"

namespace weft::control_plane {
namespace {

struct EasyDeleter {
  void operator()(CURL* easy) const { curl_easy_cleanup(easy); }
};

size_t on_body(char* bytes, size_t size, size_t count, void* context) {
  std::string& body = *static_cast<std::string*>(context);
  if (body.size() + size * count > JwkSet::kMaxBytes) return 0;
  body.append(bytes, size * count);
  return size * count;
}

// Empty: all is well.
std::string get(const std::string& url, std::string* body) {
  static std::once_flag once;
  std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
  const std::unique_ptr<CURL, EasyDeleter> easy(curl_easy_init());
  if (easy == nullptr) return "no memory";
  CURL* const handle = easy.get();
  curl_easy_setopt(handle, CURLOPT_URL, url.c_str());
  curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(handle, CURLOPT_FOLLOWLOCATION, 0L);
  curl_easy_setopt(handle, CURLOPT_TIMEOUT, kFetchSeconds);
  curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, on_body);
  curl_easy_setopt(handle, CURLOPT_WRITEDATA, body);
  const CURLcode code = curl_easy_perform(handle);
  if (code == CURLE_WRITE_ERROR) return str_cat("more than ", JwkSet::kMaxBytes, " bytes");
  if (code != CURLE_OK) return curl_easy_strerror(code);
  long status = 0;
  curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &status);
  return status == 200 ? "" : str_cat("HTTP status ", status);
}

}  // namespace

std::optional<std::vector<std::string>> fetch_keys(const std::string& url) {
  std::string body;
  std::string problem = get(url, &body);
  if (problem.empty()) {
    if (const auto set = JwkSet::parse(body); !set.ok()) problem = std::string(set.status().message());
  }
  if (problem.empty()) return std::vector<std::string>{std::move(body)};
  log::debug("keys_not_fetched", {{"url", url}, {"reason", problem}});
  return std::nullopt;
}

}  // namespace weft::control_plane
