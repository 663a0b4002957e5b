// The wait of epoll_backend.h, and what can be watched.
#include "userspace-proxy/net/epoll_backend.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/status_macros.h"
#include "userspace-proxy/net/epoll_listener.h"
#include "userspace-proxy/net/epoll_socket.h"

namespace weft::proxy {

absl::StatusOr<std::unique_ptr<IoBackend>> EpollBackend::open(IntrusiveList<Operation>& completed) {
  UniqueFd epoll(epoll_create1(EPOLL_CLOEXEC));
  if (!epoll.valid()) return errno_status("epoll_create1", errno);
  UniqueFd wake(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake.valid()) return errno_status("eventfd", errno);
  epoll_event event{.events = EPOLLIN | EPOLLET, .data = {.ptr = nullptr}};
  if (epoll_ctl(epoll.get(), EPOLL_CTL_ADD, wake.get(), &event) != 0) return errno_status("epoll_ctl", errno);
  return std::unique_ptr<IoBackend>(new EpollBackend(std::move(epoll), std::move(wake), completed));
}

EpollBackend::~EpollBackend() { free_retired(); }

void EpollBackend::free_retired() {
  while (EpollWatched* watched = retired_.pop_front()) delete watched;
}

void EpollBackend::wait(int max_wait_ms, uint64_t) {
  // No event refers to them: the last batch is dispatched.
  free_retired();
  event_count_ = std::max(
      epoll_wait(epoll_.get(), events_.data(), static_cast<int>(kMaxEvents), retries_.limit(max_wait_ms)), 0);
}

void EpollBackend::dispatch() {
  for (int i = 0; i < event_count_; ++i) {
    auto* watched = static_cast<EpollWatched*>(events_[i].data.ptr);
    // Null is the wake-up descriptor: edge-triggered, so there is no need to read it.
    if (watched != nullptr && !watched->retired()) watched->on_events(events_[i].events);
  }
  event_count_ = 0;
  retries_.run();
}

void EpollBackend::wake() {
  const uint64_t one = 1;
  // Cannot fail but by overflow, which still leaves the descriptor readable.
  [[maybe_unused]] const ssize_t ignored = write(wake_.get(), &one, sizeof(one));
}

void EpollBackend::complete(Operation*& slot) {
  Operation* operation = slot;
  operation->unpark();
  completed_.push_back(*operation);
}

bool EpollBackend::watch(int fd, EpollWatched& watched, uint32_t events) {
  epoll_event event{.events = events | EPOLLET, .data = {.ptr = &watched}};
  return epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0;
}

void EpollBackend::unwatch(int fd) { epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr); }

SocketIo* EpollBackend::open_socket(UniqueFd fd, bool writable) {
  auto socket = std::make_unique<EpollSocket>(*this, std::move(fd), writable);
  if (!watch(socket->fd(), *socket, EPOLLIN | EPOLLOUT | EPOLLRDHUP)) return nullptr;
  return socket.release();
}

ListenerIo* EpollBackend::open_listener(UniqueFd fd, ListenerIo::Sink& sink) {
  auto listener = std::make_unique<EpollListener>(*this, std::move(fd), sink);
  if (!watch(listener->fd(), *listener, EPOLLIN)) return nullptr;
  return listener.release();
}

}  // namespace weft::proxy
