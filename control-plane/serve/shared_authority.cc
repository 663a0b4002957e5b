// See shared_authority.h.
#include "control-plane/serve/shared_authority.h"

#include <openssl/crypto.h>

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "base/backoff.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "base/x509.h"
#include "control-plane/identity/certificate_authority.h"
#include "control-plane/identity/key_file.h"
#include "control-plane/kubernetes/json_fields.h"

namespace weft::control_plane {
namespace {

using Json = nlohmann::json;

constexpr std::chrono::seconds kDeadline{10};
constexpr char kCertificate[] = "ca.crt";
constexpr char kKey[] = "ca.key";
constexpr char kRoots[] = "roots.crt";
// Two replicas that start at once need two.
constexpr int kAttempts = 5;
// Of a server that is away.
constexpr std::chrono::milliseconds kAskAgain{500};
constexpr std::chrono::milliseconds kAskAgainAtMost{15'000};
constexpr absl::Duration kAskGiveUp = absl::Milliseconds(100);

std::string path_of(const char* plural, const ObjectPlace& place) {
  return str_cat("/api/v1/namespaces/", place.ns, "/", plural, "/", place.name);
}

absl::StatusOr<Json> read_object(ApiCaller& api, const std::string& path) {
  ASSIGN_OR_RETURN(std::string text, api.call({.path = path, .deadline = kDeadline}));
  Json object = Json::parse(text, nullptr, false);
  OPENSSL_cleanse(text.data(), text.size());
  const auto metadata = object.is_object() ? object.find("metadata") : object.end();
  if (!object.is_object() || metadata == object.end() || !metadata->is_object())
    return absl::UnavailableError("its answer is no such object");
  return object;
}

absl::Status patch(ApiCaller& api, const std::string& path, const Json& change) {
  return api
      .call({.path = path,
             .deadline = kDeadline,
             .method = "PATCH",
             .body = change.dump(),
             .content_type = "application/merge-patch+json"})
      .status();
}

// "": the Secret has no such entry.
absl::StatusOr<std::string> entry(const Json& secret, const char* key) {
  std::string out;
  if (!absl::Base64Unescape(text_at(object_at(secret, "data"), key), &out))
    return absl::FailedPreconditionError(str_cat("its ", key, " is not base64"));
  return out;
}

absl::Status empty_folder(const std::string& folder) {
  std::error_code error;
  std::filesystem::remove_all(folder, error);
  std::filesystem::create_directories(folder, error);
  if (!error) std::filesystem::permissions(folder, std::filesystem::perms::owner_all, error);
  return error ? absl::FailedPreconditionError(str_cat(folder, ": ", error.message())) : absl::OkStatus();
}

// False: there is nothing in the Secret.
absl::StatusOr<bool> store_files(const Json& secret, const std::string& folder) {
  ASSIGN_OR_RETURN(const std::string certificate, entry(secret, kCertificate));
  ASSIGN_OR_RETURN(std::string key_text, entry(secret, kKey));
  ASSIGN_OR_RETURN(const std::string roots, entry(secret, kRoots));
  if (certificate.empty() && key_text.empty()) return false;
  if (certificate.empty() || key_text.empty())
    return absl::FailedPreconditionError(str_cat("it has ", certificate.empty() ? kKey : kCertificate,
                                                 " without ", certificate.empty() ? kCertificate : kKey,
                                                 "; next: put both there, or none for a new root"));
  const absl::StatusOr<KeyPtr> key = read_private_key(key_text);
  OPENSSL_cleanse(key_text.data(), key_text.size());
  if (!key.ok()) return annotate(kKey, key.status());
  RETURN_IF_ERROR(write_key_file(str_cat(folder, "/", kKey), key->get()));
  RETURN_IF_ERROR(write_text_file(str_cat(folder, "/", kCertificate), certificate));
  if (!roots.empty()) RETURN_IF_ERROR(write_text_file(str_cat(folder, "/", kRoots), roots));
  return true;
}

// The version makes it fail (kAlreadyExists) when another replica wrote meanwhile.
absl::Status make_one(ApiCaller& api, const std::string& path, const Json& secret, const std::string& folder,
                      absl::Time now) {
  RETURN_IF_ERROR(CertificateAuthority::open({.folder = folder}, now).status());
  ASSIGN_OR_RETURN(const std::string certificate, read_text_file(str_cat(folder, "/", kCertificate)));
  ASSIGN_OR_RETURN(std::string key, read_text_file(str_cat(folder, "/", kKey)));
  const Json change{
      {"metadata", {{"resourceVersion", text_at(object_at(secret, "metadata"), "resourceVersion")}}},
      {"data", {{kCertificate, absl::Base64Escape(certificate)}, {kKey, absl::Base64Escape(key)}}}};
  OPENSSL_cleanse(key.data(), key.size());
  return patch(api, path, change);
}

absl::Status fetch_once(ApiCaller& api, const ObjectPlace& place, const std::string& folder, absl::Time now) {
  RETURN_IF_ERROR(empty_folder(folder));
  const std::string path = path_of("secrets", place);
  ASSIGN_OR_RETURN(const Json secret, read_object(api, path));
  ASSIGN_OR_RETURN(const bool stored, store_files(secret, folder));
  if (stored) return absl::OkStatus();
  RETURN_IF_ERROR(make_one(api, path, secret, folder, now));
  log::info("authority_made", {{"secret", str_cat(place.ns, "/", place.name)}});
  return absl::OkStatus();
}

}  // namespace

absl::Status fetch_authority(ApiCaller& api, const ObjectPlace& secret, const std::string& folder,
                             absl::Time now) {
  absl::Status status;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    status = fetch_once(api, secret, folder, now);
    if (!absl::IsAlreadyExists(status)) break;
  }
  return annotate(str_cat("Secret ", secret.ns, "/", secret.name,
                          " (next: see that it is there and that weft-control may get and patch it)"),
                  status);
}

absl::Status await_authority(ApiCaller& api, const ObjectPlace& secret, const std::string& folder,
                             const std::function<bool()>& give_up) {
  weft::Backoff backoff(kAskAgain, kAskAgainAtMost);
  for (;;) {
    const absl::Status fetched = fetch_authority(api, secret, folder, absl::Now());
    if (!absl::IsUnavailable(fetched) && !absl::IsDeadlineExceeded(fetched)) return fetched;
    log::warn("authority_not_fetched", {{"error", fetched.message()}, {"next", "asking again"}});
    const absl::Time again = absl::Now() + absl::FromChrono(backoff.next());
    // A signal that is blocked wakes nobody: whether there is one is asked.
    absl::Mutex mutex;
    const absl::MutexLock lock(&mutex);
    const auto told = [&give_up] { return give_up(); };
    while (absl::Now() < again) {
      if (mutex.AwaitWithTimeout(absl::Condition(&told), kAskGiveUp))
        return absl::CancelledError(str_cat("told to stop: ", fetched.message()));
    }
  }
}

absl::Status publish_roots(ApiCaller& api, const ObjectPlace& config_map, const std::string& roots) {
  const std::string path = path_of("configmaps", config_map);
  const auto publish = [&]() -> absl::Status {
    ASSIGN_OR_RETURN(const Json now, read_object(api, path));
    if (text_at(object_at(now, "data"), kCertificate) == roots) return absl::OkStatus();
    return patch(api, path, {{"data", {{kCertificate, roots}}}});
  };
  return annotate(str_cat("ConfigMap ", config_map.ns, "/", config_map.name,
                          " (next: see that it is there and that weft-control may get and patch it)"),
                  publish());
}

}  // namespace weft::control_plane
