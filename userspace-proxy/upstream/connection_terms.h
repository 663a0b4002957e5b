// ConnectionTerms: what the connections and requests of one source to one cluster must keep to, and what is
// counted of them. Connections under different terms are never shared. Worker thread only, but for the
// counts.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>

#include "userspace-proxy/upstream/shared_clusters.h"

namespace weft::proxy {

struct ConnectionTerms {
  // Of this worker's; never 0.
  uint64_t id = 0;
  std::shared_ptr<const ConnectionSettings> settings;
  std::shared_ptr<SourceCounts> counts;
  // Others have taken their place, or their cluster is gone: no further request on their connections.
  bool over = false;
};

using ConnectionTermsPtr = std::shared_ptr<const ConnectionTerms>;

// "Never", for timers.
inline constexpr uint64_t kNeverMs = uint64_t{1000} * 60 * 60 * 24 * 30;

// Milliseconds of a setting of which 0 means never.
inline uint64_t idle_of(const std::optional<uint64_t>& setting, uint64_t otherwise) {
  if (!setting) return otherwise;
  return *setting == 0 ? kNeverMs : *setting;
}

}  // namespace weft::proxy
