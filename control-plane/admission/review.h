// What a validating webhook answers about one object: the checks and the words of `weft analyze`, for an
// AdmissionReview of admission.k8s.io/v1
// (https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/). An object that
// would be refused may not be created or changed; what is only suspicious is a warning to whoever applies it.
// Pure.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "control-plane/kubernetes/json_tree.h"

namespace weft::control_plane {

// Of a review: what one object may be, twice.
inline constexpr size_t kMaxReviewBytes = kMaxObjectBytes;

struct ReviewAnswer {
  bool allowed = true;
  std::string body;  // an AdmissionReview with its response
};

// What needs other objects to be seen (a host that no Service has) is not said here but in the object's
// status. Allowed without a look: kinds that Weft does not read, deletions, subresources, objects that are
// being deleted. Allowed with warnings only: a change of an object that leaves its spec as it was, so that
// what was refused before Weft was there can still be labelled and deleted. Errors: InvalidArgument (no
// review, no JSON), ResourceExhausted (a limit).
absl::StatusOr<ReviewAnswer> review(std::string_view body);

}  // namespace weft::control_plane
