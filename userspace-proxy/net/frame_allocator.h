// The frame pool as an allocator of the standard library: containers that come and go with a request keep
// their type and cost no malloc once the worker is warm. Freed on the thread that allocated.
#pragma once

#include <string>
#include <vector>

#include "userspace-proxy/net/frame_pool.h"

namespace weft::proxy {

template <typename T>
struct FrameAllocator {
  using value_type = T;

  FrameAllocator() = default;
  template <typename U>
  FrameAllocator(const FrameAllocator<U>&) {}

  T* allocate(size_t count) { return static_cast<T*>(take_frame(count * sizeof(T))); }
  void deallocate(T* block, size_t count) { give_frame(block, count * sizeof(T)); }
  bool operator==(const FrameAllocator&) const = default;
};

template <typename T>
using PooledVector = std::vector<T, FrameAllocator<T>>;
using PooledString = std::basic_string<char, std::char_traits<char>, FrameAllocator<char>>;

}  // namespace weft::proxy
