// Asks the API server whose a ServiceAccount token is (authentication.k8s.io/v1 TokenReview). Any thread; a
// call waits for the server, at most ten seconds. The token is in no log and no error.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "control-plane/kubernetes/api_caller.h"

namespace weft::control_plane {

struct ReviewedToken {
  bool authenticated = false;
  std::string error;  // why it is not, in the server's words; may be empty
  std::string user;   // "system:serviceaccount:<namespace>:<name>"
  // Of the pod that the token is bound to (Kubernetes 1.30 and newer say it); empty: of none.
  std::string node;
};

class TokenReviewer {
 public:
  TokenReviewer(ApiAccess access, std::string audience)
      : api_(std::move(access)), audience_(std::move(audience)) {}

  // A token for another audience is not authenticated. Errors: the server was not reached, or does not let us
  // ask.
  absl::StatusOr<ReviewedToken> review(const std::string& token);

 private:
  ApiCaller api_;
  const std::string audience_;
};

// Of a server's answer; what is missing is empty. In the header for its test.
absl::StatusOr<ReviewedToken> read_review(const std::string& body, const std::string& audience);

}  // namespace weft::control_plane
