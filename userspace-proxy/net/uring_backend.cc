// Turn order and lifetimes of uring_backend.h.
#include "userspace-proxy/net/uring_backend.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>

#include "base/status_macros.h"
#include "userspace-proxy/net/uring_listener.h"
#include "userspace-proxy/net/uring_socket.h"

namespace weft::proxy {

absl::StatusOr<std::unique_ptr<IoBackend>> UringBackend::open(IntrusiveList<Operation>& completed,
                                                              BufferPool& buffers) {
  ASSIGN_OR_RETURN(std::unique_ptr<UringRing> ring, UringRing::open(buffers));
  UniqueFd wake(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake.valid()) return errno_status("eventfd", errno);
  return std::unique_ptr<IoBackend>(new UringBackend(std::move(ring), std::move(wake), completed, buffers));
}

UringBackend::UringBackend(std::unique_ptr<UringRing> ring, UniqueFd wake,
                           IntrusiveList<Operation>& completed, BufferPool& buffers)
    : completed_(completed), buffers_(buffers), wake_(std::move(wake)), ring_(std::move(ring)) {
  watch_wake();
}

UringBackend::~UringBackend() {
  // The kernel first: then nothing completes any more, and what waited for it can go.
  ring_.reset();
  finished_.splice(closed_);
  free_finished();
}

void UringBackend::free_finished() {
  while (UringObject* object = finished_.pop_front()) delete object;
}

void UringBackend::wait(int max_wait_ms, uint64_t in_flight) {
  max_wait_ms = retries_.limit(max_wait_ms);
  flush();
  may_sleep_ = max_wait_ms != 0;
  may_sleep_ ? wait_for_work(max_wait_ms, in_flight) : ring_->wait(0);
}

void UringBackend::flush() {
  while (UringObject* object = to_flush_.pop_front()) object->flush();
}

void UringBackend::send_out() {
  flush();
  ring_->submit();
}

void UringBackend::wait_for_work(int max_wait_ms, uint64_t in_flight) {
  const WaitPolicy::Wait wait = policy_.next(in_flight);
  switch (wait.kind) {
    case WaitPolicy::Kind::kSleep:
      return ring_->wait(max_wait_ms);
    case WaitPolicy::Kind::kGather:
      return ring_->gather(max_wait_ms, wait.completions, WaitPolicy::kGatherUs);
    case WaitPolicy::Kind::kLook:
      const bool found = ring_->look(WaitPolicy::kLookUs);
      policy_.looked(found);
      if (!found) ring_->wait(max_wait_ms);
  }
}

void UringBackend::dispatch() {
  const uint32_t completions = ring_->dispatch();
  if (may_sleep_) policy_.came(completions);
  settle_posts();
  while (UringObject* object = to_settle_.pop_front()) object->settle();
  retries_.run();
  free_finished();
}

void UringBackend::settle_posts() {
  if (!ring_->reclaim()) return;
  for (UringObject* object : posted_) object->post_settled();
  posted_.clear();
}

void UringBackend::wake() {
  const uint64_t one = 1;
  // Cannot fail but by overflow, which still leaves the descriptor readable.
  [[maybe_unused]] const ssize_t ignored = write(wake_.get(), &one, sizeof(one));
}

// Reports every write, so there is no need to read it.
void UringBackend::watch_wake() { ring_->poll_changes(wake_.get(), POLLIN, this, kWake); }

void UringBackend::completed(unsigned, const io_uring_cqe& cqe) {
  if ((cqe.flags & IORING_CQE_F_MORE) == 0) watch_wake();
}

void UringBackend::complete(Operation*& slot) {
  Operation* operation = slot;
  operation->unpark();
  completed_.push_back(*operation);
}

SocketIo* UringBackend::open_socket(UniqueFd fd, bool) { return new UringSocket(*this, std::move(fd)); }

ListenerIo* UringBackend::open_listener(UniqueFd fd, ListenerIo::Sink& sink) {
  return new UringListener(*this, std::move(fd), sink);
}

}  // namespace weft::proxy
