// UpstreamPool of pool.h. The stacks own what is linked in them.
#include "userspace-proxy/upstream/pool.h"

namespace weft::proxy {

UpstreamConnection::UpstreamConnection(EventLoop& loop, BufferPool& buffers, UpstreamPool& pool,
                                       const UpstreamKey& key)
    : pool_(pool), key_(key), socket_(loop), input_(buffers) {
  ++pool_.open_;
}

UpstreamConnection::~UpstreamConnection() { --pool_.open_; }

// Only ever runs while idle: take() cancels both ways here. Timers and operations run outside of on_events,
// so the connection may go at once.
void UpstreamConnection::expire() { pool_.remove_idle(*this); }

UpstreamPool::~UpstreamPool() { clear(); }

std::unique_ptr<UpstreamConnection> UpstreamPool::take(const UpstreamKey& key) {
  const auto found = stacks_.find(key);
  if (found == stacks_.end()) return nullptr;
  while (UpstreamConnection* connection = found->second->pop_front()) {
    --idle_;
    std::unique_ptr<UpstreamConnection> owned(connection);
    owned->idle_.cancel();
    // The end may already be known, only not told yet.
    if (!owned->watch_.pending() || owned->watch_.linked()) continue;
    owned->watch_.cancel();
    return owned;
  }
  return nullptr;
}

void UpstreamPool::give(std::unique_ptr<UpstreamConnection> connection) {
  if (connection->socket_.recv(connection->watch_, connection->input_)) return;
  std::unique_ptr<Stack>& stack = stacks_[connection->key_];
  if (stack == nullptr) stack = std::make_unique<Stack>();
  loop_.arm(connection->idle_, idle_ms_);
  stack->push_front(*connection.release());
  ++idle_;
}

void UpstreamPool::remove_idle(UpstreamConnection& connection) {
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
    while (UpstreamConnection* connection = stack->pop_front()) delete connection;
  }
  stacks_.clear();
  idle_ = 0;
}

}  // namespace weft::proxy
