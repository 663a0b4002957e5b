// UpstreamPool of pool.h. The idle lists own what is linked in them.
#include "userspace-proxy/upstream/pool.h"

#include <algorithm>

#include "userspace-proxy/upstream/stream_request.h"

namespace weft::proxy {

UpstreamPool::~UpstreamPool() {
  clear();
  for (auto& [key, entry] : entries_) {
    while (Http2Upstream* connection = entry->http2.pop_front()) delete connection;
  }
}

UpstreamPoolEntry& UpstreamPool::entry(const UpstreamKey& key, const DialParameters& dial) {
  std::unique_ptr<UpstreamPoolEntry>& found = entries_[key];
  if (found == nullptr)
    found = std::make_unique<UpstreamPoolEntry>(key, dial.use->shared_from_this(), dial.terms);
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
    if (!owned->watch_.pending() || owned->watch_.linked() || owned->is_over_age()) continue;
    owned->watch_.cancel();
    return owned;
  }
  return nullptr;
}

Http2Upstream* UpstreamPool::find_http2(UpstreamPoolEntry& entry, bool dialling) {
  for (Http2Upstream* each = entry.http2.front(); each != nullptr; each = entry.http2.after(*each)) {
    if (each->has_room() && (!dialling || each->connecting())) return each;
  }
  return nullptr;
}

Http2Upstream& UpstreamPool::dial_http2(UpstreamPoolEntry& entry, const DialParameters& dial) {
  auto* connection = new Http2Upstream(*this, entry);
  entry.http2.push_front(*connection);
  connection->dial(dial);
  return *connection;
}

void UpstreamPool::serve_http2(UpstreamPoolEntry& entry) {
  while (StreamRequest* first = entry.waiting.front()) {
    Http2Upstream* connection = find_http2(entry, false);
    if (connection == nullptr && full(entry)) return;
    first->serve_http2(connection);
  }
}

void UpstreamPool::give(Http1Upstream* connection) {
  UpstreamPoolEntry& entry = connection->entry_;
  if (StreamRequest* waiter = entry.waiting.front()) return waiter->serve(connection);
  if (connection->socket_.recv(connection->watch_, connection->input_)) return discard(connection);
  const bool surplus = entry.idle_count >= limits_.max_idle;
  const uint64_t idle_ms =
      surplus ? std::min(connection->idle_ms(), limits_.surplus_idle_ms) : connection->idle_ms();
  connection->idle_until_ = loop_.now() + idle_ms * kNsPerMs;
  // Armed already it may be for later.
  if (surplus || !connection->idle_.linked()) loop_.arm(connection->idle_, idle_ms);
  entry.idle.push_front(*connection);
  ++entry.idle_count;
  ++idle_;
}

void UpstreamPool::discard(Http1Upstream* connection) {
  UpstreamPoolEntry& entry = connection->entry_;
  delete connection;
  if (StreamRequest* waiter = entry.waiting.front()) waiter->serve(nullptr);
}

void UpstreamPool::close_idle(UpstreamPoolEntry& entry) {
  while (Http1Upstream* connection = entry.idle.pop_front()) delete connection;
  idle_ -= entry.idle_count;
  entry.idle_count = 0;
  for (Http2Upstream* each = entry.http2.front(); each != nullptr;) {
    Http2Upstream* next = entry.http2.after(*each);
    each->drain();
    each = next;
  }
  if (entry.key.protocol == UpstreamProtocol::kHttp2) serve_http2(entry);
}

void UpstreamPool::remove_idle(Http1Upstream& connection) {
  UpstreamPoolEntry& entry = connection.entry_;
  --idle_;
  --entry.idle_count;
  delete &connection;
  if (entry.open == 0 && entry.waiting.empty()) entries_.erase(entry.key);
}

uint64_t UpstreamPool::trim(uint64_t count) {
  uint64_t closed = 0;
  for (auto& [key, entry] : entries_) {
    for (; closed < count && !entry->idle.empty(); ++closed) {
      delete entry->idle.pop_back();
      --idle_;
      --entry->idle_count;
    }
  }
  return closed;
}

void UpstreamPool::forget(uint64_t netns_cookie) {
  for (auto& [key, entry] : entries_) {
    if (key.netns_cookie == netns_cookie) close_idle(*entry);
  }
  prune();
}

void UpstreamPool::prune() {
  for (auto& [key, entry] : entries_) {
    if (entry->terms != nullptr && entry->terms->over) close_idle(*entry);
  }
  absl::erase_if(entries_,
                 [](const auto& keyed) { return keyed.second->open == 0 && keyed.second->waiting.empty(); });
}

void UpstreamPool::clear() {
  for (auto& [key, entry] : entries_) close_idle(*entry);
  prune();
}

}  // namespace weft::proxy
