// The backend on io_uring: accepts and receives stay armed in the kernel, sends of a turn go out together,
// and one system call per turn submits and waits. Bytes are only touched by the kernel while it is called:
// receives choose a provided buffer when there is something, sends never wait (MSG_DONTWAIT) but are repeated
// when there is room. So an owner may free what it wanted to send as soon as it does not care any more.
// Worker thread only, but for wake().
#pragma once

#include <vector>

#include "userspace-proxy/net/io_backend.h"
#include "userspace-proxy/net/send_request.h"
#include "userspace-proxy/net/send_retries.h"
#include "userspace-proxy/net/uring_ring.h"
#include "userspace-proxy/net/wait_policy.h"

namespace weft::proxy {

// A socket or listener of the backend: lives until its last request has completed.
class UringObject : public UringTarget, public ListNode<> {
 public:
  virtual ~UringObject() = default;
  // After a dispatch in which it completed something, when it asked for it.
  virtual void settle() = 0;
  // Before a wait, when it asked for it: the time to queue requests.
  virtual void flush() = 0;
  // What it posted has succeeded, or its failure is known.
  virtual void post_settled() {}
};

class UringBackend final : public IoBackend, private UringTarget {
 public:
  static absl::StatusOr<std::unique_ptr<IoBackend>> open(IntrusiveList<Operation>& completed,
                                                         BufferPool& buffers);
  ~UringBackend() override;

  IoKind kind() const override { return IoKind::kUring; }
  void wait(int max_wait_ms, uint64_t in_flight) override;
  void send_out() override;
  void dispatch() override;
  void wake() override;
  SocketIo* open_socket(UniqueFd fd, bool writable) override;
  ListenerIo* open_listener(UniqueFd fd, ListenerIo::Sink& sink) override;

  // For the sockets and listeners.
  UringRing& ring() { return *ring_; }
  BufferPool& buffers() { return buffers_; }
  SendRequestPool& requests() { return requests_; }
  void complete(Operation*& slot);
  // On one of these lists at a time: nothing is flushed during a dispatch.
  void settle_later(UringObject& object) { to_settle_.push_back(object); }
  void flush_later(UringObject& object) { to_flush_.push_back(object); }
  // Closed, with requests that have not completed: kept until free_closed() is told.
  void keep_closed(UringObject& object) { closed_.push_back(object); }
  // Has asked for a request that completes only when it fails: released when it can do so no more.
  void posted(UringObject& object) { posted_.push_back(&object); }
  // Freed when the dispatch has ended.
  void free_later(UringObject& object) { finished_.push_back(object); }
  SendRetries& retries() { return retries_; }

 private:
  enum Tag : unsigned { kWake };

  UringBackend(std::unique_ptr<UringRing> ring, UniqueFd wake, IntrusiveList<Operation>& completed,
               BufferPool& buffers);
  void completed(unsigned tag, const io_uring_cqe& cqe) override;
  void watch_wake();
  void free_finished();
  void flush();
  void wait_for_work(int max_wait_ms, uint64_t in_flight);
  void settle_posts();

  IntrusiveList<Operation>& completed_;
  BufferPool& buffers_;
  SendRequestPool requests_;
  SendRetries retries_;
  UniqueFd wake_;
  std::unique_ptr<UringRing> ring_;
  IntrusiveList<UringObject> to_settle_, to_flush_, closed_, finished_;
  std::vector<UringObject*> posted_;
  WaitPolicy policy_;
  bool may_sleep_ = false;  // the last wait might have
};

}  // namespace weft::proxy
