// Memory for bytes in flight: 16 KiB chunks from a per-worker pool, and InputBuffer, the unread bytes of one socket. A
// buffer without unread bytes holds no chunk, so idle connections cost none. Worker thread only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

namespace weft::proxy {

inline constexpr size_t kChunkBytes = 16 * 1024;

struct Chunk {
  Chunk* next_free = nullptr;
  uint32_t begin = 0, end = 0;
  char bytes[kChunkBytes];
};

class BufferPool {
 public:
  BufferPool() = default;
  ~BufferPool();
  BufferPool(const BufferPool&) = delete;
  BufferPool& operator=(const BufferPool&) = delete;

  Chunk* take();
  void give(Chunk* chunk);

  size_t in_use() const { return in_use_; }
  size_t peak() const { return peak_; }

 private:
  // Chunks kept for reuse; more than a burst needs would be memory nobody gets back.
  static constexpr size_t kMaxFree = 1024;

  Chunk* free_ = nullptr;
  size_t free_count_ = 0;
  size_t in_use_ = 0;
  size_t peak_ = 0;
};

class InputBuffer {
 public:
  explicit InputBuffer(BufferPool& pool) : pool_(pool) {}
  ~InputBuffer() { clear(); }
  InputBuffer(const InputBuffer&) = delete;
  InputBuffer& operator=(const InputBuffer&) = delete;

  std::string_view unread() const {
    return chunk_ == nullptr ? std::string_view()
                             : std::string_view(chunk_->bytes + chunk_->begin, chunk_->end - chunk_->begin);
  }
  bool empty() const { return chunk_ == nullptr; }
  void consume(size_t count);
  void clear();
  // Free space behind the unread bytes, after moving them to the front when that is needed; empty when full.
  std::span<char> space();
  void commit(size_t count) { chunk_->end += static_cast<uint32_t>(count); }
  // Gives back a chunk that space() took and nothing was committed to.
  void trim();

 private:
  BufferPool& pool_;
  Chunk* chunk_ = nullptr;
};

}  // namespace weft::proxy
