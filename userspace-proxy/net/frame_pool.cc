// frame_pool.h: classes of 256 bytes up to 8 KiB; larger blocks go to operator new.
#include "userspace-proxy/net/frame_pool.h"

#include <array>
#include <new>

namespace weft::proxy {
namespace {

constexpr size_t kClassBytes = 256;
constexpr size_t kClasses = 32;

struct FreeBlock {
  FreeBlock* next;
};

// Constant initialised and trivially destroyed: access costs no guard.
constinit thread_local std::array<FreeBlock*, kClasses> t_free{};

size_t class_of(size_t size) { return (size - 1) / kClassBytes; }

}  // namespace

void* take_frame(size_t size) {
  const size_t index = class_of(size);
  if (index >= kClasses) return ::operator new(size);
  FreeBlock* block = t_free[index];
  if (block == nullptr) return ::operator new((index + 1) * kClassBytes);
  t_free[index] = block->next;
  return block;
}

void give_frame(void* block, size_t size) {
  const size_t index = class_of(size);
  if (index >= kClasses) return ::operator delete(block);
  t_free[index] = new (block) FreeBlock{t_free[index]};
}

void trim_frames() {
  for (FreeBlock*& head : t_free) {
    while (head != nullptr) {
      FreeBlock* next = head->next;
      ::operator delete(head);
      head = next;
    }
  }
}

}  // namespace weft::proxy
