// The certificate authority of a mesh, or of one node: makes its own root at the first start, or signs with
// an intermediate that an operator put into its folder. Any thread.
//
//   ca.crt     who signs; behind it the intermediates up to the root, when an operator supplied it
//   ca.key     its key, mode 0600; never leaves the folder
//   roots.crt  only with an operator's intermediate: what peers are to trust, one or more roots
//   crl.pem    optional: revoked certificates, for everybody who asks
//   made.crt   a copy of ca.crt, while that is a root that this made
//
// A root that this made is followed by another one in three steps, between which everybody hears of them:
//
//   ca.crt signs -> next.crt (next.key) is trusted too -> it is ca.crt, and former.crt is trusted too ->
//   ca.crt
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
#include "control-plane/identity/key_file.h"

namespace weft::control_plane {

class CertificateAuthority {
 public:
  // Clocks of nodes differ; a certificate is valid a little before it was made.
  static constexpr absl::Duration kBackdated = absl::Minutes(1);

  struct Options {
    std::string folder;  // made with mode 0700 when it is missing and not mounted
    // It is a volume that Kubernetes fills from a Secret: nothing is made there.
    bool mounted = false;
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

  // For the TLS server of this process, by these DNS names and IP addresses: PEM of the leaf and what leads
  // to a root. Lives as long as sign()'s.
  absl::StatusOr<std::string> sign_server(EVP_PKEY* key, const std::vector<std::string>& names,
                                          absl::Time now) const;

  // For the agent of a node, which shows it to weft-control (issue_node()); PEM and life as sign_server()'s.
  absl::StatusOr<std::string> sign_node(EVP_PKEY* key, const std::string& node, absl::Time now) const;

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

  enum class Step : uint8_t {
    kReread,       // an operator's files, as they are now
    kNextTrusted,  // a new root is trusted and does not sign yet
    kNextSigns,    // it signs, and the one before is still trusted
    kFormerGone,   // the one before is trusted no more
  };
  // Whether the authority is one that open() made, so that rotate() makes roots.
  bool makes_roots() const;
  // The next step to another root, or, of an authority that this did not make, what an operator has put into
  // the folder. Certificates that were issued before know nothing of it: renew them before the next step. On
  // an error everything is as it was.
  absl::StatusOr<Step> rotate(absl::Time now) ABSL_LOCKS_EXCLUDED(rotating_, mutex_);

 private:
  // What is in the folder.
  struct Material {
    Issuer issuer;
    std::vector<X509Ptr> intermediates;    // above the issuer, without the root
    std::vector<X509Ptr> operators_roots;  // empty: the issuer is a root
    std::vector<X509Ptr> beside;           // roots to trust beside an issuer that is one
    absl::Time end;                        // of the first of them that ends
  };
  using MaterialPtr = std::shared_ptr<const Material>;

  explicit CertificateAuthority(Options options) : options_(std::move(options)) {}
  std::string path(const char* name) const;
  Folder kind() const { return options_.mounted ? Folder::kMounted : Folder::kOwn; }
  absl::StatusOr<MaterialPtr> load(absl::Time now) const;
  absl::Status make_root(absl::Time now) const;
  absl::Status issue_root_as(const char* certificate, const char* key, absl::Time now) const;
  absl::StatusOr<Step> take_step(absl::Time now) const;
  absl::Status promote_next() const;
  absl::Status finish_promotion() const;
  absl::StatusOr<Issuer> read_issuer(std::vector<X509Ptr>* chain) const;
  absl::StatusOr<std::vector<X509Ptr>> read_roots() const;
  absl::StatusOr<std::vector<X509Ptr>> read_beside() const;
  absl::Status check_end(const Material& material, absl::Time now) const;
  static std::string bundle_of(const Material& material);
  static std::string with_intermediates(const Material& material, X509* leaf);
  MaterialPtr material() const ABSL_LOCKS_EXCLUDED(mutex_);

  const Options options_;
  absl::Mutex rotating_;  // around the files
  mutable absl::Mutex mutex_;
  MaterialPtr material_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace weft::control_plane
