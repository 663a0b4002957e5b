// UpstreamPool of pool.h. The stacks own what is linked in them.
#include "userspace-proxy/upstream/pool.h"

namespace weft::proxy {

UpstreamPool::~UpstreamPool() { clear(); }

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
}

void UpstreamPool::clear() {
  for (auto& [key, stack] : stacks_) {
    while (Http1Upstream* connection = stack->pop_front()) delete connection;
  }
  stacks_.clear();
  idle_ = 0;
}

}  // namespace weft::proxy
