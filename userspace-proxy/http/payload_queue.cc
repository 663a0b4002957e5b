// PayloadQueue of payload_queue.h.
#include "userspace-proxy/http/payload_queue.h"

#include <algorithm>
#include <cstring>
#include <new>

#include "userspace-proxy/net/frame_pool.h"

namespace weft::proxy {

void PayloadQueue::append(std::string_view bytes) {
  bytes_ += bytes.size();
  while (!bytes.empty()) {
    if (last_ == nullptr || last_->room() == 0) {
      const size_t size = std::clamp(bytes.size() + sizeof(Block), kSmallestBlock, kLargestBlock);
      auto* block = new (take_frame(size)) Block{nullptr, static_cast<uint32_t>(size), 0, 0};
      (last_ == nullptr ? first_ : last_->next) = block;
      last_ = block;
    }
    const size_t count = std::min(last_->room(), bytes.size());
    std::memcpy(last_->text() + last_->end, bytes.data(), count);
    last_->end += static_cast<uint32_t>(count);
    bytes.remove_prefix(count);
  }
}

size_t PayloadQueue::gather(Pieces& pieces) const {
  size_t bytes = 0;
  for (Block* block = first_; block != nullptr && !pieces.full(); block = block->next) {
    const size_t count = block->end - block->begin;
    pieces.add(std::string_view(block->text() + block->begin, count));
    bytes += count;
  }
  return bytes;
}

void PayloadQueue::drop(size_t bytes) {
  bytes_ -= bytes;
  while (first_ != nullptr) {
    const size_t count = std::min<size_t>(first_->end - first_->begin, bytes);
    first_->begin += static_cast<uint32_t>(count);
    bytes -= count;
    if (first_->begin < first_->end) return;
    Block* next = first_->next;
    give_frame(first_, first_->size);
    first_ = next;
    if (first_ == nullptr) last_ = nullptr;
  }
}

}  // namespace weft::proxy
