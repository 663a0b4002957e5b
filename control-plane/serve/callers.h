// Who calls weft-control, and of which node it is: proven by a ServiceAccount token that the API server
// reviews, or by a client certificate whose authority we were given. What was answered about a token is kept
// for a while, bounded in time and number; refusals have a place of their own, so that a flood of bad tokens
// makes nobody forget a good one. Any thread.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <string_view>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "base/log_rate.h"
#include "base/x509.h"
#include "control-plane/serve/token_review.h"

namespace weft::control_plane {

class Callers {
 public:
  struct Options {
    // Whose tokens count: "<namespace>/<name>" of ServiceAccounts.
    std::set<std::string> accounts;
    // A good answer counts for so long, and never longer than the token; a refusal for `refused_for`, so that
    // who tries again and again costs the API server little.
    absl::Duration good_for = absl::Minutes(5);
    absl::Duration refused_for = absl::Seconds(10);
    size_t most_kept = 20'000;  // good answers
    size_t most_refused = 4'096;
    // Further callers hear Unavailable: whoever waits holds a thread.
    size_t reviews_at_once = 64;
    // Has the last word about a client certificate of a node; empty: whoever is verified counts.
    std::function<absl::Status(X509* certificate, const std::string& node)> admit = {};
    std::function<absl::Time()> now = absl::Now;
  };
  // Waits for the API server.
  using Review = std::function<absl::StatusOr<ReviewedToken>(const std::string& token)>;

  // `review` empty: no token counts.
  Callers(Options options, Review review) : options_(std::move(options)), review_(std::move(review)) {}

  // The node of the caller. `token`: of "authorization: Bearer …"; `certificate`: what the peer's handshake
  // proved, PEM, empty: nothing. May wait for the API server. Errors: Unauthenticated with a reason for the
  // caller; Unavailable when nobody could be asked.
  absl::StatusOr<std::string> node_of(std::string_view token, const std::string& certificate);
  // No more reviews: who needs one hears Unavailable. Waits for those under way.
  void stop();
  // The same as node_of() without waiting: Unavailable when the API server would have to be asked.
  absl::StatusOr<std::string> known_node_of(std::string_view token, const std::string& certificate);

  struct Counts {
    uint64_t reviews = 0;
    std::map<std::string, uint64_t> refused;  // by reason, a closed list
  };
  Counts counts() const;

 private:
  struct Answer {
    absl::StatusOr<std::string> node;
    absl::Time until;
  };

  absl::StatusOr<std::string> of_certificate(const std::string& pem);
  absl::StatusOr<std::string> of_review(const ReviewedToken& reviewed);
  absl::Status refuse(const char* reason, const std::string& message);
  absl::Status begin_review();
  void end_review();
  void keep(const std::string& key, Answer answer);
  void tell_refused(const absl::Status& why, absl::Time now);
  bool none_under_way() const ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return under_way_ == 0; }

  const Options options_;
  const Review review_;
  mutable absl::Mutex mutex_;
  // By SHA-256 of the token: the tokens themselves are not kept.
  std::map<std::string, Answer> answers_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, Answer> refusals_ ABSL_GUARDED_BY(mutex_);
  size_t under_way_ ABSL_GUARDED_BY(mutex_) = 0;  // reviews
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  LogRate refused_log_ ABSL_GUARDED_BY(mutex_);
  Counts counts_ ABSL_GUARDED_BY(mutex_);
};

// When a JWT says that it ends ("exp"); InfiniteFuture when it does not say. The signature is not looked at.
absl::Time end_of_token(std::string_view token);

}  // namespace weft::control_plane
