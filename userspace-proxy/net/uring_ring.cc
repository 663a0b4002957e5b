// UringRing of uring_ring.h.
#include "userspace-proxy/net/uring_ring.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>

#include "base/clock.h"
#include "base/status_macros.h"

namespace weft::proxy {
namespace {

constexpr uint64_t kTagMask = 7;

// Linux 6.12, newer than the header: the field after sigmask_sz is then the time that a completion may wait.
constexpr unsigned kFeatureMinWait = 1u << 15;
struct MinWaitArgument {
  uint64_t signals = 0;
  uint32_t signals_size = _NSIG / 8;
  uint32_t min_wait_us = 0;
  uint64_t limit = 0;
};
static_assert(sizeof(MinWaitArgument) == sizeof(io_uring_getevents_arg));

__kernel_timespec time_of(int ms) {
  return __kernel_timespec{.tv_sec = ms / 1000, .tv_nsec = (ms % 1000) * 1'000'000LL};
}

void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

uint64_t user_data(UringTarget* target, unsigned tag) { return reinterpret_cast<uintptr_t>(target) | tag; }

}  // namespace

absl::StatusOr<std::unique_ptr<UringRing>> UringRing::open(BufferPool& buffers) {
  std::unique_ptr<UringRing> ring(new UringRing(buffers));
  io_uring_params params{};
  params.flags = IORING_SETUP_CQSIZE | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER |
                 IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG;
  params.cq_entries = kCompletions;
  const int error = io_uring_queue_init_params(kRequests, &ring->ring_, &params);
  if (error != 0) return errno_status("io_uring_setup", -error);
  ring->open_ = true;
  // Saves a look-up of the descriptor in every call; works without.
  io_uring_register_ring_fd(&ring->ring_);
  RETURN_IF_ERROR(ring->provide_buffers());
  return ring;
}

UringRing::~UringRing() {
  if (open_) io_uring_queue_exit(&ring_);
  for (Chunk* chunk : provided_) {
    if (chunk != nullptr) buffers_.give(chunk);
  }
  std::free(ring_of_buffers_);
}

absl::Status UringRing::provide_buffers() {
  // io_uring_register_buf_ring(3): page-aligned.
  constexpr size_t kPage = 4096;
  ring_of_buffers_ = static_cast<io_uring_buf_ring*>(
      std::aligned_alloc(kPage, std::max(kPage, kBuffers * sizeof(io_uring_buf))));
  if (ring_of_buffers_ == nullptr) return errno_status("io_uring buffers", ENOMEM);
  io_uring_buf_ring_init(ring_of_buffers_);
  io_uring_buf_reg registration{};
  registration.ring_addr = reinterpret_cast<uintptr_t>(ring_of_buffers_);
  registration.ring_entries = kBuffers;
  registration.bgid = kBufferGroup;
  const int error = io_uring_register_buf_ring(&ring_, &registration, 0);
  if (error != 0) return errno_status("io_uring_register_buf_ring", -error);
  for (unsigned i = 0; i < kBuffers; ++i) provide(i, static_cast<int>(i));
  io_uring_buf_ring_advance(ring_of_buffers_, kBuffers);
  return absl::OkStatus();
}

void UringRing::provide(unsigned index, int offset) {
  Chunk* chunk = buffers_.take(ChunkSize::kSmall);
  provided_[index] = chunk;
  io_uring_buf_ring_add(ring_of_buffers_, chunk->bytes, chunk->capacity, static_cast<uint16_t>(index),
                        io_uring_buf_ring_mask(kBuffers), offset);
}

Chunk* UringRing::take_chunk(const io_uring_cqe& cqe) {
  const unsigned index = cqe.flags >> IORING_CQE_BUFFER_SHIFT;
  Chunk* chunk = provided_[index];
  chunk->end = cqe.res > 0 ? static_cast<uint32_t>(cqe.res) : 0;
  provide(index, 0);
  io_uring_buf_ring_advance(ring_of_buffers_, 1);
  return chunk;
}

io_uring_sqe* UringRing::request(UringTarget* target, unsigned tag) {
  io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
  while (sqe == nullptr) {
    // Only submits: completions are worked off in wait() alone, so nothing runs behind our back here.
    io_uring_submit(&ring_);
    sqe = io_uring_get_sqe(&ring_);
  }
  // The prepare functions of liburing leave user_data alone.
  sqe->user_data = user_data(target, tag);
  return sqe;
}

void UringRing::cancel(UringTarget* target, unsigned tag) {
  io_uring_sqe* sqe = request(nullptr, 0);
  io_uring_prep_cancel64(sqe, user_data(target, tag), 0);
  sqe->user_data = 0;
  io_uring_sqe_set_flags(sqe, IOSQE_CQE_SKIP_SUCCESS);
}

void UringRing::receive(int fd, UringTarget* target, unsigned tag) {
  io_uring_sqe* sqe = request(target, tag);
  io_uring_prep_recv_multishot(sqe, fd, nullptr, 0, 0);
  io_uring_sqe_set_flags(sqe, IOSQE_BUFFER_SELECT);
  sqe->buf_group = kBufferGroup;
}

void UringRing::poll_once(int fd, unsigned events, UringTarget* target, unsigned tag) {
  io_uring_prep_poll_add(request(target, tag), fd, events);
}

void UringRing::poll_changes(int fd, unsigned events, UringTarget* target, unsigned tag) {
  io_uring_prep_poll_multishot(request(target, tag), fd, events);
}

void UringRing::wait(int max_wait_ms) {
  if (max_wait_ms == 0) {
    io_uring_submit_and_get_events(&ring_);
    return;
  }
  io_uring_cqe* first = nullptr;
  __kernel_timespec limit = time_of(max_wait_ms);
  // Errors are time-outs and signals: the turn goes on with what there is.
  io_uring_submit_and_wait_timeout(&ring_, &first, 1, max_wait_ms < 0 ? nullptr : &limit, nullptr);
}

void UringRing::submit() {
  if (io_uring_sq_ready(&ring_) > 0) io_uring_submit(&ring_);
}

// The kernel raises a flag in memory that we share when it has something to work off.
bool UringRing::look(uint32_t us) {
  if (io_uring_sq_ready(&ring_) > 0) io_uring_submit_and_get_events(&ring_);
  if (has_completions()) return true;
  constexpr int kGlancesPerClock = 16;
  const SystemClock clock;
  const MonotonicNs end = clock.now() + us * MonotonicNs{1000};
  do {
    for (int i = 0; i < kGlancesPerClock; ++i) {
      if ((IO_URING_READ_ONCE(*ring_.sq.kflags) & IORING_SQ_TASKRUN) != 0) {
        io_uring_get_events(&ring_);
        return has_completions();
      }
      relax();
    }
  } while (clock.now() < end);
  return false;
}

void UringRing::gather(int max_wait_ms, uint32_t completions, uint32_t us) {
  if ((ring_.features & kFeatureMinWait) == 0 || max_wait_ms == 0) return wait(max_wait_ms);
  // What io_uring_submit_and_wait_timeout(3) does, with one more argument.
  ring_.sq.sqe_head = ring_.sq.sqe_tail;
  io_uring_smp_store_release(ring_.sq.ktail, ring_.sq.sqe_tail);
  const __kernel_timespec limit = time_of(max_wait_ms);
  MinWaitArgument argument;
  argument.min_wait_us = us;
  if (max_wait_ms > 0) argument.limit = reinterpret_cast<uintptr_t>(&limit);
  const bool registered = ring_.enter_ring_fd != ring_.ring_fd;
  const unsigned flags =
      IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG | (registered ? IORING_ENTER_REGISTERED_RING : 0);
  io_uring_enter2(static_cast<unsigned>(ring_.enter_ring_fd), io_uring_sq_ready(&ring_), completions, flags,
                  reinterpret_cast<sigset_t*>(&argument), sizeof(argument));
}

char* UringRing::borrow(size_t bytes) {
  if (bytes > kScratchBytes - borrowed_) return nullptr;
  borrowed_ += bytes;
  return scratch_.get() + borrowed_ - bytes;
}

bool UringRing::reclaim() {
  const bool more = (IO_URING_READ_ONCE(*ring_.sq.kflags) & IORING_SQ_CQ_OVERFLOW) != 0;
  if (more || io_uring_sq_ready(&ring_) > 0) return false;
  borrowed_ = 0;
  return true;
}

uint32_t UringRing::dispatch() {
  unsigned head = 0;
  unsigned count = 0;
  io_uring_cqe* cqe = nullptr;
  io_uring_for_each_cqe(&ring_, head, cqe) {
    ++count;
    auto* target = reinterpret_cast<UringTarget*>(cqe->user_data & ~kTagMask);
    if (target != nullptr) target->completed(static_cast<unsigned>(cqe->user_data & kTagMask), *cqe);
  }
  io_uring_cq_advance(&ring_, count);
  return count;
}

}  // namespace weft::proxy
