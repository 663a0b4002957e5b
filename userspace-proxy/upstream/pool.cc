// UpstreamPool of pool.h. The stacks own what is linked in them.
#include "userspace-proxy/upstream/pool.h"

namespace weft::proxy {

UpstreamPool::~UpstreamPool() {
  clear();
  for (auto& [key, list] : http2_) {
    while (Http2Upstream* connection = list->pop_front()) delete connection;
  }
}

std::unique_ptr<Http1Upstream> UpstreamPool::make(const UpstreamKey& key) {
  return std::make_unique<Http1Upstream>(loop_, buffers_, *this, key);
}

std::unique_ptr<Http1Upstream> UpstreamPool::take(const UpstreamKey& key) {
  const auto found = stacks_.find(key);
  if (found == stacks_.end()) return nullptr;
  while (Http1Upstream* connection = found->second->pop_front()) {
    --idle_;
    std::unique_ptr<Http1Upstream> owned(connection);
    owned->idle_.cancel();
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
  std::unique_ptr<Http1Upstream> owned(connection);
  if (owned->socket_.recv(owned->watch_, owned->input_)) return;
  std::unique_ptr<Stack>& stack = stacks_[owned->key_];
  if (stack == nullptr) stack = std::make_unique<Stack>();
  loop_.arm(owned->idle_, limits_.idle_ms);
  stack->push_front(*owned.release());
  ++idle_;
}

void UpstreamPool::remove_idle(Http1Upstream& connection) {
  const auto found = stacks_.find(connection.key_);
  --idle_;
  delete &connection;
  if (found != stacks_.end() && found->second->empty()) stacks_.erase(found);
}

void UpstreamPool::prune() {
  for (auto it = stacks_.begin(); it != stacks_.end();) {
    const auto stack = it++;
    if (stack->second->empty()) stacks_.erase(stack);
  }
  for (auto it = http2_.begin(); it != http2_.end();) {
    const auto list = it++;
    if (list->second->empty()) http2_.erase(list);
  }
}

void UpstreamPool::clear() {
  for (auto& [key, list] : http2_) {
    for (Http2Upstream* each = list->front(); each != nullptr;) {
      Http2Upstream* next = list->after(*each);
      each->drain();
      each = next;
    }
  }
  for (auto& [key, stack] : stacks_) {
    while (Http1Upstream* connection = stack->pop_front()) delete connection;
  }
  stacks_.clear();
  idle_ = 0;
}

}  // namespace weft::proxy
