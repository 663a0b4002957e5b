// Writes m_dest. Called by the dataplane; a write that fails stays unknown here, so the next apply tries it
// again.
#include "agent/dataplane/destinations.h"

#include <cstring>

#include "absl/container/flat_hash_set.h"
#include "base/status_macros.h"

namespace weft::agent {
namespace {

weft_dest_key to_key(const SocketAddress& address) {
  weft_dest_key key{};
  std::memcpy(key.ip, address.ip.bytes.data(), sizeof(key.ip));
  key.port = address.port;
  return key;
}

// Rows that are written at a time: enough for the batch to pay.
constexpr size_t kSlice = 16384;

}  // namespace

Destinations::Destinations(int fd) : rows_(fd, "m_dest") {
  for (const weft_dest_key& key : rows_.keys(WEFT_MAX_DESTINATIONS)) {
    SocketAddress address{.port = static_cast<uint16_t>(key.port)};
    std::memcpy(address.ip.bytes.data(), key.ip, sizeof(key.ip));
    if (const auto row = rows_.find(key)) known_.put(address, row->id);
  }
  count_ = known_.size();
}

void Destinations::remove(const SocketAddress& address) {
  if (known_.erase(address)) rows_.erase(to_key(address));
}

void Destinations::remove_unnamed(const std::vector<DestinationEntry>& entries) {
  if (known_.empty()) return;
  absl::flat_hash_set<SocketAddress> named;
  for (const DestinationEntry& entry : entries) named.insert(entry.address);
  std::vector<SocketAddress> unnamed;
  for (const auto& [address, id] : known_) {
    if (!named.contains(address)) unnamed.push_back(address);
  }
  for (const SocketAddress& address : unnamed) remove(address);
}

absl::Status Destinations::apply(const std::vector<DestinationEntry>& entries,
                                 const std::vector<SocketAddress>& gone, bool full) {
  // Removals first: a full map makes room before it is asked for more.
  for (const SocketAddress& address : gone) remove(address);
  if (full) remove_unnamed(entries);
  absl::Status first;
  std::vector<const DestinationEntry*> changed;
  const auto write_changed = [&] {
    std::vector<bool> refused(changed.size());
    absl::Status status = batch_.write(rows_, [&refused](size_t i) { refused[i] = true; });
    for (size_t i = 0; i < changed.size(); ++i) {
      if (!refused[i]) known_.put(changed[i]->address, changed[i]->id);
    }
    changed.clear();
    if (first.ok()) first = std::move(status);
  };
  for (const DestinationEntry& entry : entries) {
    const uint32_t* known = known_.find(entry.address);
    if (known != nullptr && *known == entry.id) continue;
    batch_.put(to_key(entry.address), {.id = entry.id, .flags = 0});
    changed.push_back(&entry);
    if (changed.size() == kSlice) write_changed();
  }
  write_changed();
  count_ = known_.size();
  return first;
}

uint32_t Destinations::owner(const SocketAddress& address) const {
  for (const uint16_t port : {address.port, uint16_t{0}}) {
    if (const auto row = rows_.find(to_key({address.ip, port}))) return row->id;
  }
  return WEFT_ID_UNKNOWN;
}

DriftRow Destinations::drift(const std::vector<DestinationEntry>& wanted) const {
  DriftRow out{.scope = "destinations", .desired = wanted.size(), .agent = known_.size()};
  absl::flat_hash_set<SocketAddress> asked;
  for (const DestinationEntry& entry : wanted) {
    asked.insert(entry.address);
    const uint32_t* known = known_.find(entry.address);
    if (known == nullptr)
      out.note(entry.address.to_string(), entry.id, "not written by the agent");
    else if (*known != entry.id)
      out.note(entry.address.to_string(), entry.id, "written with another id by the agent");
  }
  for (const auto& [address, id] : known_) {
    if (!asked.contains(address))
      out.note(address.to_string(), id, "written by the agent, but nobody asks for it");
    const auto row = rows_.find(to_key(address));
    if (!row)
      out.note(address.to_string(), id, "missing in the kernel");
    else if (row->id != id)
      out.note(address.to_string(), id, "another id in the kernel");
  }
  for (const weft_dest_key& key : rows_.keys(WEFT_MAX_DESTINATIONS)) {
    ++out.kernel;
    SocketAddress address{.port = static_cast<uint16_t>(key.port)};
    std::memcpy(address.ip.bytes.data(), key.ip, sizeof(key.ip));
    const auto row = rows_.find(key);
    if (row && !known_.contains(address)) out.note(address.to_string(), row->id, "only in the kernel");
  }
  return out;
}

}  // namespace weft::agent
