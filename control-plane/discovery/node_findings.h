// Findings and revocation lists as resources of delta ADS: weft-control makes them, agents read them, so that
// the CLI of every node says what is wrong and every proxy refuses what is revoked. Pure.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "control-plane/control_plane.h"

namespace weft::control_plane {

// Between weft-control and agents only; elsewhere Change::findings, and what
// CertificateAuthority::revocations() gives.
inline constexpr char kFindingType[] = "type.googleapis.com/weft.node.v1.Finding";
inline constexpr char kRevocationsType[] = "type.googleapis.com/weft.node.v1.Revocations";

// Equal findings give equal names and bytes, whichever replica makes them.
Resource finding_resource(const Finding& finding);
// `body`: a serialised weft.node.v1.Finding; kInvalidArgument: it is none.
absl::StatusOr<Finding> read_finding(const std::string& body);

// `lists`: PEM, empty: nothing is revoked.
Resource revocations_resource(const std::string& lists);
// kInvalidArgument: it is no weft.node.v1.Revocations, or its lists cannot be read.
absl::StatusOr<std::string> read_revocations(const std::string& body);

// The findings as told last.
class NodeFindings {
 public:
  // More are not told: nobody reads them, and each goes to every node. Errors come first.
  static constexpr size_t kMost = 1'000;

  // Adds to `out` what turns what was told last into `findings`.
  void update(const std::vector<Finding>& findings, Change& out);

 private:
  std::set<std::string> known_;  // names
};

}  // namespace weft::control_plane
