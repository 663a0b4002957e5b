// Memory for bytes in flight: chunks of four sizes from a per-worker pool, and InputBuffer, the unread bytes
// of one socket. A buffer without unread bytes holds no chunk, so idle connections cost none; one whose reads
// keep filling its chunk gets a larger one. Worker thread only.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "userspace-proxy/telemetry/counter.h"

namespace weft::proxy {

enum class ChunkSize : uint8_t {
  kSmall,   // one message of the usual length: what io_uring receives into
  kNormal,  // what a buffer begins with
  kLarge,   // a stream that filled a normal one
  kBulk,    // one that fills even that
};
inline constexpr size_t kChunkSizes = 4;
inline constexpr size_t kChunkBytes = 16 * 1024;  // of a normal one

struct Chunk {
  Chunk* next = nullptr;  // in the pool, or in the queue of a socket
  char* bytes = nullptr;
  uint32_t begin = 0, end = 0;
  uint32_t capacity = 0;
  ChunkSize size = ChunkSize::kNormal;
  Gauge* account = nullptr;  // of whoever pays for it, until it is given back

  std::string_view unread() const { return std::string_view(bytes + begin, end - begin); }
};

class BufferPool {
 public:
  BufferPool() = default;
  ~BufferPool();
  BufferPool(const BufferPool&) = delete;
  BufferPool& operator=(const BufferPool&) = delete;

  // A normal chunk instead of a large or bulk one when those hold kMaxBulkBytes already.
  Chunk* take(ChunkSize size = ChunkSize::kNormal);
  void give(Chunk* chunk);
  // Adds the chunk's bytes to `account`, which outlives its use; null: nobody pays.
  static void charge(Chunk* chunk, Gauge* account) {
    if (chunk->account == account) return;
    if (chunk->account != nullptr) chunk->account->subtract(chunk->capacity);
    if (account != nullptr) account->add(chunk->capacity);
    chunk->account = account;
  }

  // Chunks of any size.
  size_t in_use() const { return in_use_; }
  // Their bytes.
  size_t bytes() const { return bytes_; }
  size_t peak() const { return peak_; }
  // Of free chunks that are kept.
  size_t spare_bytes() const;
  // Gives back half of the free chunks that nobody needed since the last call, the last few at once: what a
  // burst took goes in a few calls.
  void trim();

 private:
  // Bytes that large and bulk chunks of one worker may hold: slow readers of long bodies must not add up.
  static constexpr size_t kMaxBulkBytes = 32 * 1024 * 1024;

  struct Free {
    Chunk* first = nullptr;
    size_t count = 0;
    size_t least = 0;  // of count, since the last trim()
  };
  std::array<Free, kChunkSizes> free_;
  size_t in_use_ = 0;
  size_t peak_ = 0;
  size_t bytes_ = 0;
  size_t bulk_bytes_ = 0;
};

class InputBuffer {
 public:
  // What it holds is charged to `account`; null: to nobody.
  explicit InputBuffer(BufferPool& pool, Gauge* account = nullptr) : pool_(pool), account_(account) {}
  ~InputBuffer() { clear(); }
  InputBuffer(const InputBuffer&) = delete;
  InputBuffer& operator=(const InputBuffer&) = delete;

  std::string_view unread() const { return chunk_ == nullptr ? std::string_view() : chunk_->unread(); }
  bool empty() const { return chunk_ == nullptr; }
  void consume(size_t count);
  void clear();
  // Free space behind the unread bytes, after moving them when that is needed; empty when a normal chunk or a
  // larger one is full. The more often reads filled it, the larger the next one is.
  std::span<char> space();
  void commit(size_t count);
  // Gives back a chunk that space() took and nothing was committed to.
  void trim();

  // Takes over a chunk with bytes of the same pool. Only when empty.
  void adopt(Chunk* chunk) {
    BufferPool::charge(chunk, account_);
    chunk_ = chunk;
  }
  // Copies as many of `bytes` as there is room for, in a chunk that suits `expected` when there is none yet.
  // Returns how many.
  size_t append(std::string_view bytes, size_t expected);
  // Reads fill more than a normal chunk: worth a system call of their own.
  bool in_bulk() const { return next_size_ > ChunkSize::kNormal; }

 private:
  Chunk* take(ChunkSize size) {
    Chunk* chunk = pool_.take(size);
    BufferPool::charge(chunk, account_);
    return chunk;
  }

  BufferPool& pool_;
  Gauge* const account_;
  Chunk* chunk_ = nullptr;
  ChunkSize next_size_ = ChunkSize::kNormal;
};

}  // namespace weft::proxy
