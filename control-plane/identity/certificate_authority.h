// The certificate authority of a mesh, or of one node: makes its own root at the first start, or signs with
// an intermediate that an operator put into its folder. Any thread.
//
//   ca.crt     who signs; behind it the intermediates up to the root, when an operator supplied it
//   ca.key     its key, mode 0600; never leaves the folder
//   roots.crt  only with an operator's intermediate: what peers are to trust, one or more roots
//   crl.pem    optional: revoked certificates, for everybody who asks
//   made.crt   a copy of ca.crt, while that is a root that this made
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
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
  // The folder's parents are made too. An error says what in the folder is wrong and what to do; that
  // something has expired is none: there is an authority then that signs nothing.
  static absl::StatusOr<std::unique_ptr<CertificateAuthority>> open(Options options, absl::Time now);
  // Removes an authority that open() made there; another one stays.
  static void remove_made(const std::string& folder);

  // A leaf for the request, at most `lifetime` or a leaf's lifetime long (zero: that), and never longer than
  // the authority is valid; kFailedPrecondition when that is over. PEM each: the leaf, the intermediates, and
  // last the bundle of roots, as Istio's certificate service answers.
  absl::StatusOr<std::vector<std::string>> sign(const CertificateRequest& request, absl::Duration lifetime,
                                                absl::Time now) const;

  // The roots to trust, PEM.
  std::string bundle() const;
  // crl.pem as it is now; empty when there is none.
  absl::StatusOr<std::string> revocations() const;
  const std::string& trust_domain() const { return options_.trust_domain; }

  struct Root {
    std::string serial;
    absl::Time from, to;
    bool signs = false;
  };
  std::vector<Root> roots() const;

 private:
  explicit CertificateAuthority(Options options) : options_(std::move(options)) {}
  std::string path(const char* name) const;
  absl::Status load(absl::Time now);
  absl::Status make_root(absl::Time now);
  absl::StatusOr<Issuer> read_issuer(std::vector<X509Ptr>* chain) const;
  absl::Status read_roots();

  const Options options_;
  // Written by open() only.
  Issuer issuer_;
  std::vector<X509Ptr> intermediates_;    // above issuer_, without the root
  std::vector<X509Ptr> operators_roots_;  // empty: issuer_ is our own root
  absl::Time end_;                        // of the first of them that ends
};

}  // namespace weft::control_plane
