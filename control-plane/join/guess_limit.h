// How often somebody may bring a join token that is none: five times a minute from one address (of IPv6: one
// /64), then not at all until the minute is over. What is remembered is bounded: whoever failed longest ago
// is forgotten first. Any thread.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace weft::control_plane {

class GuessLimit {
 public:
  static constexpr uint32_t kFailures = 5;
  static constexpr absl::Duration kWindow = absl::Minutes(1);
  static constexpr size_t kMostKept = 4096;

  // Zero: it may try now; else how long it has to wait.
  absl::Duration wait(const std::string& who, absl::Time now);
  void failed(const std::string& who, absl::Time now);
  size_t kept() const;

 private:
  struct Row {
    uint32_t failures = 0;
    absl::Time begin;  // of the window
  };
  mutable absl::Mutex mutex_;
  std::map<std::string, Row> rows_ ABSL_GUARDED_BY(mutex_);
};

// Whom a failure counts against, of gRPC's name of a peer ("ipv4:10.0.0.1:4711", "ipv6:%5B::1%5D:4711"); the
// name itself when it is neither.
std::string guesser_of(const std::string& peer);

}  // namespace weft::control_plane
