// The certificate authority of a mesh, or of one node: makes its own root at the first start, or signs with
// an intermediate that an operator put into its folder. Any thread.
//
//   ca.crt     who signs; behind it the intermediates up to the root, when an operator supplied it
//   ca.key     its key, mode 0600; never leaves the folder
//   roots.crt  only with an operator's intermediate: what peers are to trust, one or more roots
//   crl.pem    optional: revoked certificates, for everybody who asks
//   next.crt, next.key  while the own root is being replaced
//
// Replacing the own root takes two overlaps of one leaf lifetime each: first everybody learns the new one
// while the old one signs, then the new one signs while the old one is still trusted, then the old one is
// gone. So no certificate ever meets a peer that does not know its root.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "base/spiffe_id.h"
#include "control-plane/identity/certificate_request.h"
#include "control-plane/identity/issue.h"

namespace weft::control_plane {

class CertificateAuthority {
 public:
  struct Options {
    std::string folder;  // made with mode 0700 when it is missing
    std::string trust_domain = kDefaultTrustDomain;
    absl::Duration leaf_lifetime = absl::Hours(24);
    absl::Duration root_lifetime = absl::Hours(10 * 365 * 24);
  };
  // An error says what in the folder is wrong and what to do.
  static absl::StatusOr<std::unique_ptr<CertificateAuthority>> open(Options options, absl::Time now);

  // A leaf for the request, at most `lifetime` or a leaf's lifetime long (zero: that). PEM each: the leaf,
  // the intermediates, and last the bundle of roots, as Istio's certificate service answers.
  absl::StatusOr<std::vector<std::string>> sign(const CertificateRequest& request, absl::Duration lifetime,
                                                absl::Time now);

  // Begins to replace the own root. kFailedPrecondition with an operator's intermediate, or while one is
  // being replaced.
  absl::Status rotate(absl::Time now);

  // The roots to trust at that time, PEM.
  std::string bundle(absl::Time now);
  // crl.pem as it is now; empty when there is none.
  absl::StatusOr<std::string> revocations() const;
  const std::string& trust_domain() const { return options_.trust_domain; }

  struct Root {
    std::string serial;
    absl::Time from, to;
    bool signs = false;
  };
  std::vector<Root> roots(absl::Time now);

 private:
  explicit CertificateAuthority(Options options) : options_(std::move(options)) {}
  std::string path(const char* name) const;
  absl::Status load(absl::Time now);
  absl::Status make_first(absl::Time now);
  absl::Status make_root(const char* certificate, const char* key, absl::Time now);
  absl::StatusOr<Issuer> read_issuer(const char* certificate, const char* key, std::vector<X509Ptr>* chain);
  absl::Status finish_replacing();
  absl::Status load_operators_roots(absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool next_signs(absl::Time now) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void settle(absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::string bundle_now() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Options options_;
  absl::Mutex mutex_;
  Issuer current_ ABSL_GUARDED_BY(mutex_);
  Issuer next_ ABSL_GUARDED_BY(mutex_);                           // empty: none
  std::vector<X509Ptr> intermediates_ ABSL_GUARDED_BY(mutex_);    // above current_, without the root
  std::vector<X509Ptr> operators_roots_ ABSL_GUARDED_BY(mutex_);  // empty: current_ is our own root
};

}  // namespace weft::control_plane
