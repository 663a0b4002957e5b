// See fetch_keys.h.
#include "control-plane/source/fetch_keys.h"

#include <curl/curl.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <mutex>
#include <utility>

#include "base/jwk_set.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "control-plane/resource/key_source.h"
#include "control-plane/source/issuer_document.h"

namespace weft::control_plane {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kShownBytes = 256;  // of a URL
constexpr char kGetIt[] = "see that this node can get it, for example with curl";

struct EasyDeleter {
  void operator()(CURL* easy) const { curl_easy_cleanup(easy); }
};

size_t on_body(char* bytes, size_t size, size_t count, void* context) {
  std::string& body = *static_cast<std::string*>(context);
  if (body.size() + size * count > JwkSet::kMaxBytes) return 0;
  body.append(bytes, size * count);
  return size * count;
}

absl::Status not_had(std::string_view what, std::string_view next = kGetIt) {
  return absl::UnavailableError(str_cat(what, "; next: ", next));
}

// The body of an answer with 200.
absl::StatusOr<std::string> get(const std::string& url, Clock::time_point until) {
  static std::once_flag once;
  std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
  const std::unique_ptr<CURL, EasyDeleter> easy(curl_easy_init());
  if (easy == nullptr) return not_had("no memory");
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now());
  std::string body;
  CURL* const handle = easy.get();
  curl_easy_setopt(handle, CURLOPT_URL, url.c_str());
  curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(handle, CURLOPT_FOLLOWLOCATION, 0L);
  // 0 would be without a limit.
  curl_easy_setopt(handle, CURLOPT_TIMEOUT_MS, std::max<long>(1, static_cast<long>(left.count())));
  curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, on_body);
  curl_easy_setopt(handle, CURLOPT_WRITEDATA, &body);
  const CURLcode code = curl_easy_perform(handle);
  if (code == CURLE_WRITE_ERROR)
    return not_had(str_cat("more than ", JwkSet::kMaxBytes, " bytes"), "give the keys in jwks");
  if (code != CURLE_OK) return not_had(curl_easy_strerror(code));
  long status = 0;
  curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &status);
  if (status != 200) return not_had(str_cat("HTTP status ", status));
  return body;
}

absl::Status at(std::string_view url, const absl::Status& status) {
  return annotate(url.substr(0, kShownBytes), status);
}

// Where the issuer says that its keys are.
absl::StatusOr<std::string> discover(std::string_view issuer, Clock::time_point until) {
  const std::string url = discovery_url(issuer);
  const auto document = get(url, until);
  if (!document.ok()) return at(url, document.status());
  auto out = jwks_uri_of(*document, issuer);
  if (!out.ok()) return at(url, out.status());
  return out;
}

}  // namespace

absl::StatusOr<std::vector<std::string>> fetch_keys(const std::string& source) {
  const Clock::time_point until = Clock::now() + std::chrono::seconds(kFetchSeconds);
  std::string url = source;
  if (const auto issuer = discovering_issuer(source)) {
    ASSIGN_OR_RETURN(url, discover(*issuer, until));
  }
  auto body = get(url, until);
  if (!body.ok()) return at(url, body.status());
  if (const auto set = JwkSet::parse(*body); !set.ok())
    return at(url, not_had(std::string(set.status().message()),
                           "see that it is a JSON Web Key Set with RSA or EC keys"));
  return std::vector<std::string>{*std::move(body)};
}

}  // namespace weft::control_plane
