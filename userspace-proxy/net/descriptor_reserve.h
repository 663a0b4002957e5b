// Descriptors kept for the moment when the process has no more: given up, they let a worker accept clients
// and tell them why they are refused, instead of leaving them in the listener's queue. Owned by the worker,
// worker thread only.
#pragma once

#include <sys/eventfd.h>

#include <array>
#include <cstddef>

#include "base/fd.h"

namespace weft::proxy {

class DescriptorReserve {
 public:
  static constexpr size_t kCount = 16;

  bool whole() const { return have_ == kCount; }
  void release() {
    while (have_ > 0) reserve_[--have_].reset();
  }
  // As far as there are descriptors; true when it is whole.
  bool refill() {
    while (have_ < kCount) {
      // Any descriptor does; this one needs no file system.
      UniqueFd fd(::eventfd(0, EFD_CLOEXEC));
      if (!fd.valid()) return false;
      reserve_[have_++] = std::move(fd);
    }
    return true;
  }

 private:
  std::array<UniqueFd, kCount> reserve_;
  size_t have_ = 0;
};

}  // namespace weft::proxy
