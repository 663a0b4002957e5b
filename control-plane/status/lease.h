// One of several processes writes: whoever holds a Lease of the API server (coordination.k8s.io/v1), as
// Kubernetes' own controllers elect. Another one's lease is over when nothing was renewed for its duration,
// by our clock alone. Bound to one thread; calls wait for the server.
#pragma once

#include <string>

#include "absl/time/time.h"
#include "control-plane/kubernetes/api_caller.h"

namespace weft::control_plane {

class Lease {
 public:
  struct Options {
    std::string ns, name;
    std::string holder;  // ours; no other process may have the same
    absl::Duration duration = absl::Seconds(15);
  };
  Lease(ApiCaller& api, Options options) : api_(api), options_(std::move(options)) {}

  // Looks, and takes or renews; to be called some times within the duration. True: it is ours, for at least
  // two thirds of the duration from a success on.
  bool hold(absl::Time now);
  // Gives it back, so that another one has it at its next look.
  void release();
  // Why the last hold() could not ask; empty: it could.
  const std::string& problem() const { return problem_; }

 private:
  struct Record {
    std::string holder, renewed, version;
    int64_t transitions = 0;
  };
  std::string path() const;
  absl::StatusOr<Record> read();
  absl::Status create(absl::Time now);
  absl::Status update(const Record& before, const std::string& holder, absl::Time now);

  ApiCaller& api_;
  const Options options_;
  std::string seen_;  // the other one's last renewal, and when it was new to us
  absl::Time seen_at_ = absl::InfinitePast();
  absl::Time ours_until_ = absl::InfinitePast();
  std::string problem_;
};

}  // namespace weft::control_plane
