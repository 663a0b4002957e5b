// Debug check that a class is used by one thread only. The first checked call binds it to its thread.
#pragma once

#include <cassert>
#include <thread>

namespace weft {

class ThreadCheck {
 public:
  void check() const {
#ifndef NDEBUG
    if (owner_ == std::thread::id()) owner_ = std::this_thread::get_id();
    assert(owner_ == std::this_thread::get_id() && "object used outside its thread");
#endif
  }
  // The next checked call binds again; for objects built on one thread and run on another.
  void detach() { owner_ = std::thread::id(); }

 private:
  mutable std::thread::id owner_;
};

}  // namespace weft
