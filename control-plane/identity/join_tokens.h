// One-time secrets by which a node that has no certificate yet proves itself to the authority. Only their
// digests are kept. Any thread.
#pragma once

#include <array>
#include <map>
#include <string>
#include <string_view>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace weft::control_plane {

class JoinTokens {
 public:
  // A new token for the node, good until `expires`: 43 characters of base64url, to be told to the node once.
  absl::StatusOr<std::string> make(std::string_view node, absl::Time expires);
  // The node, once: kPermissionDenied for a token that is unknown, expired or was used before.
  absl::StatusOr<std::string> redeem(std::string_view token, absl::Time now);

 private:
  using Digest = std::array<unsigned char, 32>;
  struct Entry {
    std::string node;
    absl::Time expires;
  };
  static Digest digest_of(std::string_view token);

  absl::Mutex mutex_;
  std::map<Digest, Entry> entries_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace weft::control_plane
