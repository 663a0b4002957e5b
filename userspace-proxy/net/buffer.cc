// The chunk pool and InputBuffer of buffer.h.
#include "userspace-proxy/net/buffer.h"

#include <algorithm>
#include <cstring>
#include <new>

namespace weft::proxy {
namespace {

// A small chunk with its header is one page.
constexpr std::array<uint32_t, kChunkSizes> kCapacity = {4096 - sizeof(Chunk), kChunkBytes, 64 * 1024,
                                                         256 * 1024};
// Chunks kept for reuse, until trim() sees that nobody needs them: 16 MiB of each size but the smallest. On
// io_uring each connection in bulk holds a chunk to the end of the turn, when the sends go out. One that was
// not kept would be mapped and faulted in anew for the next read: a fault for each page.
constexpr std::array<size_t, kChunkSizes> kMaxFree = {1024, 1024, 256, 64};

size_t index_of(ChunkSize size) { return static_cast<size_t>(size); }

Chunk* allocate(ChunkSize size) {
  const uint32_t capacity = kCapacity[index_of(size)];
  char* block = static_cast<char*>(::operator new(sizeof(Chunk) + capacity));
  return new (block) Chunk{.bytes = block + sizeof(Chunk), .capacity = capacity, .size = size};
}

void free_chunk(Chunk* chunk) { ::operator delete(static_cast<void*>(chunk)); }

ChunkSize smallest_for(size_t bytes) {
  if (bytes <= kChunkBytes) return ChunkSize::kNormal;
  return bytes <= kCapacity[index_of(ChunkSize::kLarge)] ? ChunkSize::kLarge : ChunkSize::kBulk;
}

}  // namespace

BufferPool::~BufferPool() {
  for (Free& list : free_) {
    while (Chunk* chunk = list.first) {
      list.first = chunk->next;
      free_chunk(chunk);
    }
  }
}

Chunk* BufferPool::take(ChunkSize size) {
  if (size > ChunkSize::kNormal && bulk_bytes_ >= kMaxBulkBytes) size = ChunkSize::kNormal;
  Free& list = free_[index_of(size)];
  Chunk* chunk = list.first;
  if (chunk != nullptr) {
    list.first = chunk->next;
    list.least = std::min(list.least, --list.count);
  } else {
    chunk = allocate(size);
  }
  chunk->next = nullptr;
  chunk->begin = chunk->end = 0;
  if (size > ChunkSize::kNormal) bulk_bytes_ += chunk->capacity;
  ++in_use_;
  bytes_ += chunk->capacity;
  peak_ = std::max(peak_, in_use_);
  return chunk;
}

void BufferPool::give(Chunk* chunk) {
  charge(chunk, nullptr);
  --in_use_;
  bytes_ -= chunk->capacity;
  if (chunk->size > ChunkSize::kNormal) bulk_bytes_ -= chunk->capacity;
  Free& list = free_[index_of(chunk->size)];
  if (list.count >= kMaxFree[index_of(chunk->size)]) return free_chunk(chunk);
  chunk->next = list.first;
  list.first = chunk;
  ++list.count;
}

size_t BufferPool::spare_bytes() const {
  size_t bytes = 0;
  for (size_t i = 0; i < kChunkSizes; ++i) bytes += free_[i].count * kCapacity[i];
  return bytes;
}

void BufferPool::trim() {
  constexpr size_t kFew = 8;
  for (Free& list : free_) {
    size_t surplus = list.least > kFew ? list.least / 2 : list.least;
    for (; surplus > 0; --surplus, --list.count) {
      Chunk* chunk = list.first;
      list.first = chunk->next;
      free_chunk(chunk);
    }
    list.least = list.count;
  }
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
  if (chunk_ == nullptr) chunk_ = take(next_size_);
  if (chunk_->end == chunk_->capacity && (chunk_->begin > 0 || chunk_->size == ChunkSize::kSmall)) {
    const std::string_view unread = chunk_->unread();
    Chunk* to = chunk_->size == ChunkSize::kSmall ? take(ChunkSize::kNormal) : chunk_;
    std::memmove(to->bytes, unread.data(), unread.size());
    to->begin = 0;
    to->end = static_cast<uint32_t>(unread.size());
    if (to != chunk_) pool_.give(chunk_);
    chunk_ = to;
  }
  return std::span<char>(chunk_->bytes + chunk_->end, chunk_->capacity - chunk_->end);
}

void InputBuffer::commit(size_t count) {
  chunk_->end += static_cast<uint32_t>(count);
  if (chunk_->end == chunk_->capacity) {
    next_size_ = std::max(next_size_, std::min(ChunkSize::kBulk, ChunkSize(index_of(chunk_->size) + 1)));
  } else if (in_bulk() && count < chunk_->capacity / 8) {
    next_size_ = ChunkSize(index_of(next_size_) - 1);
  }
}

size_t InputBuffer::append(std::string_view bytes, size_t expected) {
  if (expected > kChunkBytes) next_size_ = std::max(next_size_, ChunkSize::kLarge);
  if (chunk_ == nullptr) chunk_ = take(smallest_for(expected));
  const std::span<char> room = space();
  const size_t count = std::min(room.size(), bytes.size());
  std::memcpy(room.data(), bytes.data(), count);
  chunk_->end += static_cast<uint32_t>(count);
  return count;
}

}  // namespace weft::proxy
