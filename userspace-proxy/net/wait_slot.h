// WaitSlot: where an object keeps the one operation that waits for it, as a socket does for its own.
#pragma once

#include "userspace-proxy/net/operation.h"

namespace weft::proxy {

class WaitSlot {
 public:
  WaitSlot() = default;
  ~WaitSlot() {
    if (operation_ != nullptr) operation_->cancel();
  }
  WaitSlot(const WaitSlot&) = delete;
  WaitSlot& operator=(const WaitSlot&) = delete;

  void park(Operation& operation) { operation.park(&operation_); }
  bool waiting() const { return operation_ != nullptr; }
  // Runs what waits, if anything. To be the caller's last step: it may end the object that holds the slot.
  // Only from the loop, never inside the call that parked.
  void run() {
    Operation* operation = operation_;
    if (operation == nullptr) return;
    operation->unpark();
    operation->run();
  }

 private:
  Operation* operation_ = nullptr;
};

}  // namespace weft::proxy
