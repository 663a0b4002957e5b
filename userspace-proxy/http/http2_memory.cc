// Http2Memory: classes of powers of two from 32 bytes to 32 KiB, each block behind a header that names its
// class; larger ones go to operator new.
#include "userspace-proxy/http/http2_memory.h"

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <new>

namespace weft::proxy {
namespace {

constexpr size_t kSmallest = 32;
constexpr size_t kClasses = 11;
// Kept for reuse in one class; more than a burst needs would be memory nobody gets back.
constexpr size_t kMaxFreeBytes = 1024 * 1024;

// In front of every block, keeps the alignment of what follows.
struct alignas(std::max_align_t) BlockHeader {
  size_t size;  // of the block behind it
};

struct FreeBlock {
  FreeBlock* next;
};

struct FreeList {
  FreeBlock* head = nullptr;
  size_t bytes = 0;
};

constinit thread_local std::array<FreeList, kClasses> t_free{};

// Ends with its thread.
struct Trim {
  ~Trim() {
    for (FreeList& list : t_free) {
      while (list.head != nullptr) {
        FreeBlock* next = list.head->next;
        ::operator delete(reinterpret_cast<BlockHeader*>(list.head) - 1);
        list.head = next;
      }
      list.bytes = 0;
    }
  }
};

size_t class_of(size_t size) {
  if (size <= kSmallest) return 0;
  return static_cast<size_t>(std::bit_width((size - 1) / kSmallest));
}

BlockHeader* header_of(void* block) { return static_cast<BlockHeader*>(block) - 1; }

BlockHeader* take_block(size_t* size) {
  const size_t index = class_of(*size);
  if (index >= kClasses) return static_cast<BlockHeader*>(::operator new(sizeof(BlockHeader) + *size));
  *size = kSmallest << index;
  FreeList& list = t_free[index];
  if (list.head == nullptr) {
    static thread_local const Trim trim;
    static_cast<void>(trim);
    return static_cast<BlockHeader*>(::operator new(sizeof(BlockHeader) + *size));
  }
  FreeBlock* block = list.head;
  list.head = block->next;
  list.bytes -= *size;
  return header_of(block);
}

void give_block(BlockHeader* header) {
  const size_t index = class_of(header->size);
  if (index >= kClasses || t_free[index].bytes + header->size > kMaxFreeBytes)
    return ::operator delete(header);
  FreeList& list = t_free[index];
  list.bytes += header->size;
  list.head = new (header + 1) FreeBlock{list.head};
}

void* hook_malloc(size_t size, void* self) { return static_cast<Http2Memory*>(self)->take(size); }
void hook_free(void* block, void* self) { static_cast<Http2Memory*>(self)->give(block); }
void* hook_calloc(size_t count, size_t size, void* self) {
  if (size > 0 && count > SIZE_MAX / size) return nullptr;
  void* block = static_cast<Http2Memory*>(self)->take(count * size);
  return block == nullptr ? nullptr : std::memset(block, 0, count * size);
}
void* hook_realloc(void* block, size_t size, void* self) {
  return static_cast<Http2Memory*>(self)->resize(block, size);
}

}  // namespace

Http2Memory::Http2Memory(size_t limit)
    : hooks_{this, hook_malloc, hook_free, hook_calloc, hook_realloc}, limit_(limit) {}

void* Http2Memory::take(size_t size) {
  if (in_use_ + size > limit_) {
    exhausted_ = true;
    return nullptr;
  }
  BlockHeader* header = take_block(&size);
  header->size = size;
  in_use_ += size;
  return header + 1;
}

void Http2Memory::give(void* block) {
  if (block == nullptr) return;
  BlockHeader* header = header_of(block);
  in_use_ -= header->size;
  give_block(header);
}

void* Http2Memory::resize(void* block, size_t size) {
  if (block == nullptr) return take(size);
  const size_t old = header_of(block)->size;
  if (size <= old && size > 0) return block;
  void* bigger = take(size);
  if (bigger == nullptr) return nullptr;
  std::memcpy(bigger, block, old);
  give(block);
  return bigger;
}

}  // namespace weft::proxy
