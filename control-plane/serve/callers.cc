// See callers.h.
#include "control-plane/serve/callers.h"

#include <openssl/evp.h>
#include <openssl/x509.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/strings/escaping.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "base/x509.h"
#include "control-plane/identity/node_name.h"
#include "control-plane/join/join_token.h"

namespace weft::control_plane {
namespace {

// A projected token has some 1.2 KiB.
constexpr size_t kLongestToken = 16 * 1024;
constexpr std::string_view kAccountPrefix = "system:serviceaccount:";

std::string digest(std::string_view text) {
  unsigned char out[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  EVP_Digest(text.data(), text.size(), out, &size, EVP_sha256(), nullptr);
  return std::string(reinterpret_cast<char*>(out), size);
}

}  // namespace

absl::Time end_of_token(std::string_view token) {
  const size_t first = token.find('.');
  if (first == std::string_view::npos) return absl::InfiniteFuture();
  const size_t second = token.find('.', first + 1);
  if (second == std::string_view::npos) return absl::InfiniteFuture();
  std::string claims;
  if (!absl::WebSafeBase64Unescape(to_absl(token.substr(first + 1, second - first - 1)), &claims))
    return absl::InfiniteFuture();
  const auto parsed = nlohmann::json::parse(claims, nullptr, false);
  if (!parsed.is_object() || !parsed.contains("exp") || !parsed["exp"].is_number_integer())
    return absl::InfiniteFuture();
  return absl::FromUnixSeconds(parsed["exp"].get<int64_t>());
}

absl::Status Callers::refuse(const char* reason, const std::string& message) {
  const absl::MutexLock lock(&mutex_);
  ++counts_.refused[reason];
  return absl::UnauthenticatedError(message);
}

Callers::Counts Callers::counts() const {
  const absl::MutexLock lock(&mutex_);
  return counts_;
}

absl::StatusOr<std::string> Callers::of_certificate(const std::string& pem) {
  const auto certificates = read_certificates(pem);
  if (!certificates.ok()) return refuse("certificate", "its certificate cannot be read");
  X509* const leaf = certificates->front().get();
  std::string node = node_of_certificate(leaf);
  if (node.empty())
    return refuse("certificate",
                  "its certificate is of no node; next: one with O=system:nodes, CN=system:node:NAME");
  const absl::Status admitted = options_.admit ? options_.admit(leaf, node) : absl::OkStatus();
  if (admitted.ok()) return node;
  tell_refused(admitted, options_.now());
  return refuse("removed", std::string(admitted.message()));
}

absl::StatusOr<std::string> Callers::of_review(const ReviewedToken& reviewed) {
  if (!reviewed.authenticated)
    return refuse("token", str_cat("its token is refused", reviewed.error.empty() ? "" : ": ", reviewed.error,
                                   "; next: mount a projected token for weft-control's audience"));
  std::string account = reviewed.user;
  if (account.starts_with(kAccountPrefix)) account.erase(0, kAccountPrefix.size());
  std::replace(account.begin(), account.end(), ':', '/');
  if (!reviewed.user.starts_with(kAccountPrefix) || !options_.accounts.contains(account))
    return refuse("account", str_cat(reviewed.user,
                                     " is no agent; next: start weft-control with "
                                     "--agent-account NAMESPACE/NAME of the agents'"));
  if (reviewed.node.empty())
    return refuse("node",
                  "its token is not bound to a pod on a node; next: use a token that the kubelet projects "
                  "into the pod (Kubernetes 1.30 or newer)");
  return reviewed.node;
}

void Callers::keep(const std::string& key, Answer answer) {
  const absl::MutexLock lock(&mutex_);
  const bool good = answer.node.ok();
  std::map<std::string, Answer>& kept = good ? answers_ : refusals_;
  const size_t most = good ? options_.most_kept : options_.most_refused;
  if (kept.size() >= most) {
    const absl::Time now = options_.now();
    std::erase_if(kept, [now](const auto& row) { return row.second.until <= now; });
    // Still full: whoever is forgotten is asked about again.
    if (kept.size() >= most) kept.clear();
  }
  kept.insert_or_assign(key, std::move(answer));
  (good ? refusals_ : answers_).erase(key);
}

void Callers::tell_refused(const absl::Status& why, absl::Time now) {
  uint64_t count = 0;
  {
    const absl::MutexLock lock(&mutex_);
    count = refused_log_.count(now);
  }
  if (count > 0) log::warn("caller_refused", {{"reason", why.message()}, {"count", count}});
}

absl::Status Callers::begin_review() {
  const absl::MutexLock lock(&mutex_);
  if (stopped_) return absl::UnavailableError("the server is going down; connect again later");
  if (under_way_ >= options_.reviews_at_once) {
    ++counts_.refused["busy"];
    return absl::UnavailableError("too many tokens are being reviewed; connect again later");
  }
  ++under_way_;
  ++counts_.reviews;
  return absl::OkStatus();
}

void Callers::end_review() {
  const absl::MutexLock lock(&mutex_);
  --under_way_;
}

void Callers::stop() {
  const absl::MutexLock lock(&mutex_);
  stopped_ = true;
  mutex_.Await(absl::Condition(this, &Callers::none_under_way));
}

absl::StatusOr<std::string> Callers::known_node_of(std::string_view token, const std::string& certificate) {
  if (token.empty()) {
    if (!certificate.empty()) return of_certificate(certificate);
    return refuse("nothing",
                  "neither token nor client certificate; next: start the agent with --control-token");
  }
  // It is a secret that is none of the API server's.
  if (token.starts_with(kJoinTokenPrefix))
    return refuse("token", "a join token proves nothing but once; next: weft-agent --join-token-file FILE");
  if (!review_) return refuse("token", "tokens are not accepted here; next: use a client certificate");
  if (token.size() > kLongestToken) return refuse("token", "its token is too long");
  const std::string key = digest(token);
  const absl::Time now = options_.now();
  const absl::MutexLock lock(&mutex_);
  if (const auto known = answers_.find(key); known != answers_.end() && known->second.until > now)
    return known->second.node;
  const auto refused = refusals_.find(key);
  if (refused == refusals_.end() || refused->second.until <= now)
    return absl::UnavailableError("its token has to be reviewed");
  ++counts_.refused["again"];
  return refused->second.node;
}

absl::StatusOr<std::string> Callers::node_of(std::string_view token, const std::string& certificate) {
  absl::StatusOr<std::string> known = known_node_of(token, certificate);
  if (!absl::IsUnavailable(known.status())) return known;
  RETURN_IF_ERROR(begin_review());
  const absl::StatusOr<ReviewedToken> reviewed = review_(std::string(token));
  end_review();
  if (!reviewed.ok()) {
    log::warn("caller_not_reviewed", {{"error", reviewed.status().message()},
                                      {"next",
                                       "see that the API server answers and weft-control may create "
                                       "tokenreviews.authentication.k8s.io"}});
    return absl::UnavailableError("its token could not be reviewed; next: see weft-control's log");
  }
  absl::StatusOr<std::string> node = of_review(*reviewed);
  const absl::Time now = options_.now();
  if (!node.ok()) tell_refused(node.status(), now);
  keep(digest(token), {.node = node,
                       .until = node.ok() ? std::min(now + options_.good_for, end_of_token(token))
                                          : now + options_.refused_for});
  return node;
}

}  // namespace weft::control_plane
