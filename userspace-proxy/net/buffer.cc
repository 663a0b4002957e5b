// The chunk pool and InputBuffer of buffer.h.
#include "userspace-proxy/net/buffer.h"

#include <algorithm>
#include <cstring>

namespace weft::proxy {

BufferPool::~BufferPool() {
  while (free_ != nullptr) {
    Chunk* chunk = free_;
    free_ = chunk->next_free;
    delete chunk;
  }
}

Chunk* BufferPool::take() {
  Chunk* chunk = free_;
  if (chunk != nullptr) {
    free_ = chunk->next_free;
    --free_count_;
  } else {
    chunk = new Chunk;
  }
  chunk->begin = chunk->end = 0;
  ++in_use_;
  peak_ = std::max(peak_, in_use_);
  return chunk;
}

void BufferPool::give(Chunk* chunk) {
  --in_use_;
  if (free_count_ >= kMaxFree) {
    delete chunk;
    return;
  }
  chunk->next_free = free_;
  free_ = chunk;
  ++free_count_;
}

void InputBuffer::consume(size_t count) {
  if (chunk_ == nullptr) return;
  chunk_->begin += static_cast<uint32_t>(count);
  trim();
}

void InputBuffer::clear() {
  if (chunk_ != nullptr) pool_.give(chunk_);
  chunk_ = nullptr;
}

void InputBuffer::trim() {
  if (chunk_ != nullptr && chunk_->begin == chunk_->end) clear();
}

std::span<char> InputBuffer::space() {
  if (chunk_ == nullptr) chunk_ = pool_.take();
  if (chunk_->end == kChunkBytes && chunk_->begin > 0) {
    std::memmove(chunk_->bytes, chunk_->bytes + chunk_->begin, chunk_->end - chunk_->begin);
    chunk_->end -= chunk_->begin;
    chunk_->begin = 0;
  }
  return std::span<char>(chunk_->bytes + chunk_->end, kChunkBytes - chunk_->end);
}

}  // namespace weft::proxy
