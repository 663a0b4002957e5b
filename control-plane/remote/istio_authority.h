// An Istio control plane as the authority of this node's pods: its certificate service
// (istio.v1.auth.IstioCertificateService/CreateCertificate) is asked as ztunnel asks it, and what it answers
// is looked at before anybody uses it. Keys stay where they were made: requests alone pass through here. When
// a certificate is asked for again, and how long after a failure, the proxy decides. Any thread.
#pragma once

#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "control-plane/identity/certificate_request.h"
#include "control-plane/remote/control_channel.h"

namespace weft::control_plane {

// istiod's own default (CLUSTER_ID).
inline constexpr char kIstioCluster[] = "Kubernetes";

class IstioAuthority {
 public:
  // `access`: token_file holds a token for the audience istio-ca; both files are read anew for each call.
  explicit IstioAuthority(ControlAccess access)
      : channel_(std::move(access)), who_("istiod " + channel_.target()) {}

  // PEM each, as CertificateService::Sign asks: the leaf, the intermediates, the bundle of roots. Waits for
  // istiod, at most four seconds. Errors name istiod and what to do next: it was not reached, it refuses, or
  // what it answered is not for this request, not valid now, or leads to none of the roots beside it.
  absl::StatusOr<std::vector<std::string>> sign(const std::string& pem, const CertificateRequest& request,
                                                absl::Duration lifetime, absl::Time now);

  // The last answer, when it was a failure, ending with " (next: …)"; else nothing.
  std::vector<std::string> problems() const;

 private:
  absl::StatusOr<std::vector<std::string>> ask(const std::string& pem, const CertificateRequest& request,
                                               absl::Duration lifetime, absl::Time now);

  ControlChannel channel_;
  const std::string who_;
  mutable absl::Mutex mutex_;
  std::string problem_ ABSL_GUARDED_BY(mutex_);
};

// Whether a chain answers the request: of its key and identity, valid at `now`, and leading to one of the
// roots at its end. Pure; in the header for its test.
absl::Status check_answer(const std::vector<std::string>& chain, const CertificateRequest& request,
                          absl::Time now);

}  // namespace weft::control_plane
