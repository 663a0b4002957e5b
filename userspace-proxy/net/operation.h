// Operation: one asynchronous step and whom to tell when it is done. Embedded in its owner, reused, never allocated. Sockets
// complete operations; the loop runs them, so a completion never runs inside the call that caused it.
#pragma once

#include "userspace-proxy/net/intrusive_list.h"

namespace weft::proxy {

template <auto Method>
struct MethodTag {};
// Names a member function: Operation op_{this, method<&Owner::on_done>};
template <auto Method>
inline constexpr MethodTag<Method> method{};

class Operation : public ListNode<> {
 public:
  // Calls (owner->*Method)(result).
  template <typename T, auto Method>
  Operation(T* owner, MethodTag<Method>)
      : owner_(owner), call_([](void* o, int r) { (static_cast<T*>(o)->*Method)(r); }) {}
  ~Operation() { cancel(); }

  // Bytes moved, 0 (end of stream, connected) or a negative errno.
  int result = 0;

  // A socket or the loop holds it.
  bool pending() const { return slot_ != nullptr || linked(); }
  // The owner is not told any more. Fine when nothing is pending.
  void cancel() {
    unlink();
    if (slot_ != nullptr) *slot_ = nullptr;
    slot_ = nullptr;
  }
  void run() { call_(owner_, result); }

  // For the socket that holds the operation: parks it in `slot`, which cancel() clears.
  void park(Operation** slot) {
    slot_ = slot;
    *slot = this;
  }
  void unpark() {
    if (slot_ != nullptr) *slot_ = nullptr;
    slot_ = nullptr;
  }

 private:
  void* owner_;
  void (*call_)(void*, int);
  Operation** slot_ = nullptr;
};

}  // namespace weft::proxy
