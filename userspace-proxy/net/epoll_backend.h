// The backend on edge-triggered epoll (epoll(7)): the kernel says what is ready, the sockets make the system
// calls. Works everywhere; used where io_uring is refused. Worker thread only, but for wake().
#pragma once

#include <sys/epoll.h>

#include <array>

#include "userspace-proxy/net/io_backend.h"
#include "userspace-proxy/net/send_request.h"
#include "userspace-proxy/net/send_retries.h"

namespace weft::proxy {

// Something watched: told what became ready. Freed by the backend, between two waits, once it is closed:
// events that were already taken from the kernel still refer to it.
class EpollWatched : public ListNode<> {
 public:
  virtual ~EpollWatched() = default;
  // Not called any more after retire().
  virtual void on_events(uint32_t events) = 0;
  bool retired() const { return linked(); }
};

class EpollBackend final : public IoBackend {
 public:
  static absl::StatusOr<std::unique_ptr<IoBackend>> open(IntrusiveList<Operation>& completed);
  ~EpollBackend() override;

  IoKind kind() const override { return IoKind::kEpoll; }
  void wait(int max_wait_ms, uint64_t in_flight) override;
  void dispatch() override;
  void wake() override;
  SocketIo* open_socket(UniqueFd fd, bool writable) override;
  ListenerIo* open_listener(UniqueFd fd, ListenerIo::Sink& sink) override;

  // For the sockets and listeners.
  void complete(Operation*& slot);
  SendRequestPool& requests() { return requests_; }
  void retire(EpollWatched& watched) { retired_.push_back(watched); }
  SendRetries& retries() { return retries_; }
  // Only where the descriptor is also held elsewhere, which would keep the registration: closing it is enough
  // otherwise.
  void unwatch(int fd);

 private:
  static constexpr size_t kMaxEvents = 256;

  EpollBackend(UniqueFd epoll, UniqueFd wake, IntrusiveList<Operation>& completed)
      : epoll_(std::move(epoll)), wake_(std::move(wake)), completed_(completed) {}
  bool watch(int fd, EpollWatched& watched, uint32_t events);
  void free_retired();

  UniqueFd epoll_;
  UniqueFd wake_;
  IntrusiveList<Operation>& completed_;
  SendRequestPool requests_;
  IntrusiveList<EpollWatched> retired_;
  SendRetries retries_;
  std::array<epoll_event, kMaxEvents> events_{};
  int event_count_ = 0;
};

}  // namespace weft::proxy
