// See guess_limit.h.
#include "control-plane/join/guess_limit.h"

#include <algorithm>

#include "absl/strings/str_replace.h"
#include "base/address.h"

namespace weft::control_plane {

absl::Duration GuessLimit::wait(const std::string& who, absl::Time now) {
  const absl::MutexLock lock(&mutex_);
  const auto found = rows_.find(who);
  if (found == rows_.end() || found->second.failures < kFailures) return absl::ZeroDuration();
  return std::max(found->second.begin + kWindow - now, absl::ZeroDuration());
}

void GuessLimit::failed(const std::string& who, absl::Time now) {
  const absl::MutexLock lock(&mutex_);
  if (rows_.size() >= kMostKept && !rows_.contains(who)) {
    std::erase_if(rows_, [now](const auto& row) { return row.second.begin + kWindow <= now; });
    if (rows_.size() >= kMostKept)
      rows_.erase(std::min_element(rows_.begin(), rows_.end(), [](const auto& a, const auto& b) {
        return a.second.begin < b.second.begin;
      }));
  }
  Row& row = rows_[who];
  if (row.failures == 0 || row.begin + kWindow <= now) row = {.failures = 0, .begin = now};
  ++row.failures;
}

size_t GuessLimit::kept() const {
  const absl::MutexLock lock(&mutex_);
  return rows_.size();
}

std::string guesser_of(const std::string& peer) {
  const size_t colon = peer.find(':');
  if (colon == std::string::npos) return peer;
  const auto address =
      SocketAddress::parse(absl::StrReplaceAll(peer.substr(colon + 1), {{"%5B", "["}, {"%5D", "]"}}));
  if (!address) return peer;
  IpAddress who = address->ip;
  // Who has one address of a /64 has them all.
  if (!who.is_v4()) std::fill(who.bytes.begin() + 8, who.bytes.end(), uint8_t{0});
  return who.to_string();
}

}  // namespace weft::control_plane
