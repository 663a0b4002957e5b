// Enrolments made with `weft enroll`, kept in <run-dir>/enrollments.json so that a restarted agent goes on
// with them. Pods that manifests enrol are not here: they are derived again. Called by the reconciler; never
// touches a namespace.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace weft::agent {

struct Enrollment {
  std::string ns;
  std::string name;
  std::string netns_path;
  bool operator==(const Enrollment&) const = default;
};

// A namespace that was captured when the file was written, for whatever reason: what a later agent or a
// cleanup must look at.
struct CapturedNamespace {
  uint64_t netns_cookie = 0;
  std::string netns_path;
  bool operator==(const CapturedNamespace&) const = default;
};

struct StoredPods {
  std::vector<Enrollment> enrollments;
  std::vector<CapturedNamespace> captured;
  bool operator==(const StoredPods&) const = default;
};

class EnrollmentStore {
 public:
  explicit EnrollmentStore(std::string path) : path_(std::move(path)) {}

  // Empty when there is no file; kDataLoss when it cannot be understood.
  absl::StatusOr<StoredPods> load() const;
  // Replaces the file in one step (write beside it, fsync, rename).
  absl::Status save(const StoredPods& pods) const;

 private:
  std::string path_;
};

}  // namespace weft::agent
