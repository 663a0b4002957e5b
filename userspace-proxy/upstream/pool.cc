// UpstreamPool of pool.h. The idle lists own what is linked in them.
#include "userspace-proxy/upstream/pool.h"

#include "userspace-proxy/upstream/stream_request.h"

namespace weft::proxy {

UpstreamPool::~UpstreamPool() {
  clear();
  for (auto& [key, list] : http2_) {
    while (Http2Upstream* connection = list->pop_front()) delete connection;
  }
}

UpstreamPoolEntry& UpstreamPool::entry(const UpstreamKey& key) {
  std::unique_ptr<UpstreamPoolEntry>& found = entries_[key];
  if (found == nullptr) found = std::make_unique<UpstreamPoolEntry>(key);
  return *found;
}

std::unique_ptr<Http1Upstream> UpstreamPool::make(UpstreamPoolEntry& entry) {
  return std::make_unique<Http1Upstream>(loop_, buffers_, *this, entry);
}

std::unique_ptr<Http1Upstream> UpstreamPool::take(UpstreamPoolEntry& entry) {
  while (Http1Upstream* connection = entry.idle.pop_front()) {
    --idle_;
    --entry.idle_count;
    std::unique_ptr<Http1Upstream> owned(connection);
    // The end may already be known, only not told yet.
    if (!owned->watch_.pending() || owned->watch_.linked()) continue;
    owned->watch_.cancel();
    return owned;
  }
  return nullptr;
}

Http2Upstream& UpstreamPool::http2(const UpstreamKey& key, bool fresh, bool* made) {
  std::unique_ptr<IntrusiveList<Http2Upstream>>& list = http2_[key];
  if (list == nullptr) list = std::make_unique<IntrusiveList<Http2Upstream>>();
  *made = false;
  for (Http2Upstream* each = list->front(); each != nullptr && !fresh; each = list->after(*each)) {
    if (each->has_room()) return *each;
  }
  *made = true;
  auto* connection = new Http2Upstream(*this, key);
  list->push_front(*connection);
  return *connection;
}

void UpstreamPool::give(Http1Upstream* connection) {
  UpstreamPoolEntry& entry = connection->entry_;
  if (StreamRequest* waiter = entry.waiting.front()) return waiter->serve(connection);
  if (entry.idle_count >= limits_.max_idle) return discard(connection);
  if (connection->socket_.recv(connection->watch_, connection->input_)) return discard(connection);
  connection->idle_until_ = loop_.now() + limits_.idle_ms * kNsPerMs;
  if (!connection->idle_.linked()) loop_.arm(connection->idle_, limits_.idle_ms);
  entry.idle.push_front(*connection);
  ++entry.idle_count;
  ++idle_;
}

void UpstreamPool::discard(Http1Upstream* connection) {
  UpstreamPoolEntry& entry = connection->entry_;
  delete connection;
  if (StreamRequest* waiter = entry.waiting.front()) waiter->serve(nullptr);
}

void UpstreamPool::remove_idle(Http1Upstream& connection) {
  UpstreamPoolEntry& entry = connection.entry_;
  --idle_;
  --entry.idle_count;
  delete &connection;
  if (entry.open == 0 && entry.waiting.empty()) entries_.erase(entry.key);
}

void UpstreamPool::prune() {
  absl::erase_if(entries_,
                 [](const auto& keyed) { return keyed.second->open == 0 && keyed.second->waiting.empty(); });
  absl::erase_if(http2_, [](const auto& keyed) { return keyed.second->empty(); });
}

void UpstreamPool::clear() {
  for (auto& [key, list] : http2_) {
    for (Http2Upstream* each = list->front(); each != nullptr;) {
      Http2Upstream* next = list->after(*each);
      each->drain();
      each = next;
    }
  }
  for (auto& [key, entry] : entries_) {
    while (Http1Upstream* connection = entry->idle.pop_front()) delete connection;
    entry->idle_count = 0;
  }
  idle_ = 0;
  prune();
}

}  // namespace weft::proxy
