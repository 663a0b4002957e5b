// One question to a certificate service that is elsewhere: weft-control's, or istiod's. Any thread; waits for
// the answer, at most four seconds.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "control-plane/remote/control_channel.h"

namespace weft::control_plane {

// Has `request` (PEM) signed for a workload of this node. `lifetime`: whole seconds; zero: what the service
// gives. PEM each: the leaf, the intermediates, the bundle of roots; at least two. `who` stands before every
// error: "weft-control 10.0.0.1:15012".
absl::StatusOr<std::vector<std::string>> call_for_certificate(ControlChannel& channel, std::string_view who,
                                                              const std::string& request,
                                                              const std::string& identity,
                                                              absl::Duration lifetime);

}  // namespace weft::control_plane
