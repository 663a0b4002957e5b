// Writes m_dest. Called by the dataplane; a write that fails stays unknown here, so the next apply tries it
// again.
#include "agent/dataplane/destinations.h"

#include <cstring>
#include <iterator>

#include "base/status_macros.h"

namespace weft::agent {
namespace {

weft_dest_key to_key(const SocketAddress& address) {
  weft_dest_key key{};
  std::memcpy(key.ip, address.ip.bytes.data(), sizeof(key.ip));
  key.port = address.port;
  return key;
}

}  // namespace

Destinations::Destinations(int fd) : rows_(fd, "m_dest") {
  for (const weft_dest_key& key : rows_.keys(WEFT_MAX_DESTINATIONS)) {
    SocketAddress address{.port = static_cast<uint16_t>(key.port)};
    std::memcpy(address.ip.bytes.data(), key.ip, sizeof(key.ip));
    if (const auto row = rows_.find(key)) known_[address] = row->id;
  }
  count_ = known_.size();
}

absl::Status Destinations::apply(const std::vector<DestinationEntry>& entries) {
  std::map<SocketAddress, uint32_t> desired;
  for (const DestinationEntry& entry : entries) desired[entry.address] = entry.id;
  // Removals first: a full map makes room before it is asked for more.
  for (auto it = known_.begin(); it != known_.end();) {
    const bool gone = !desired.contains(it->first);
    if (gone) rows_.erase(to_key(it->first));
    it = gone ? known_.erase(it) : std::next(it);
  }
  absl::Status first_error;
  for (const auto& [address, id] : desired) {
    const auto it = known_.find(address);
    if (it != known_.end() && it->second == id) continue;
    const absl::Status status = rows_.put(to_key(address), {.id = id, .flags = 0});
    if (status.ok()) known_[address] = id;
    if (first_error.ok()) first_error = annotate(address.to_string(), status);
  }
  count_ = known_.size();
  return first_error;
}

}  // namespace weft::agent
