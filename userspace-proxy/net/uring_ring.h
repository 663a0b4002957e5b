// One io_uring instance (io_uring(7), liburing) with the features that the backend is made of: a single
// issuer whose completions are worked off only when it asks (Linux 6.1), and a ring of provided buffers for
// multishot receives, whose entries are small chunks of the pool. What is asked for is queued and reaches the
// kernel in one system call at the next wait. Used by UringBackend only, on the thread that opened it.
#pragma once

#include <liburing.h>

#include <array>
#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "base/fd.h"
#include "userspace-proxy/net/buffer.h"

namespace weft::proxy {

// Who is told about completions. The address of one, with a tag in its low bits, is the user_data of a
// request.
class alignas(8) UringTarget {
 public:
  virtual void completed(unsigned tag, const io_uring_cqe& cqe) = 0;

 protected:
  ~UringTarget() = default;
};

class UringRing {
 public:
  static absl::StatusOr<std::unique_ptr<UringRing>> open(BufferPool& buffers);
  ~UringRing();

  // An empty request for `target`, tag 0 to 7; queued as soon as it is filled in. Submits what is queued
  // first when the queue is full.
  io_uring_sqe* request(UringTarget* target, unsigned tag);
  // Takes back what was asked for with this target and tag: it ends with ECANCELED, unless it has already.
  void cancel(UringTarget* target, unsigned tag);
  // A multishot receive into provided buffers.
  void receive(int fd, UringTarget* target, unsigned tag);
  // One report as soon as any of `events` (poll(2)) or an end of the connection is there.
  void poll_once(int fd, unsigned events, UringTarget* target, unsigned tag);
  // A report now and at every change of them. The kernel adds POLLERR, POLLHUP and POLLRDHUP to what is asked
  // for, so asking once, again and again, would spin after a FIN.
  void poll_changes(int fd, unsigned events, UringTarget* target, unsigned tag);

  // Submits, then waits for a completion for at most `max_wait_ms` (-1: no limit). Works off completions.
  void wait(int max_wait_ms);
  // Requests made so far begin; completions stay for the next wait.
  void submit();
  // Submits, then looks for completions for at most `us` microseconds without a system call. False: none.
  bool look(uint32_t us);
  // As wait(), but a completion may be kept for `us` microseconds, unless `completions` of them are there
  // before. The same as wait() before Linux 6.12.
  void gather(int max_wait_ms, uint32_t completions, uint32_t us);
  // Tells the targets, oldest completion first. Returns how many there were.
  uint32_t dispatch();

  // Memory for bytes that a request of this turn sends; null when it is used up. Taken back by reclaim().
  char* borrow(size_t bytes);
  // After a dispatch. False when the kernel has not looked at all requests yet, or has more to tell: what was
  // borrowed stays.
  bool reclaim();

  // The chunk that holds the bytes of a receive completion; another one takes its place in the ring.
  Chunk* take_chunk(const io_uring_cqe& cqe);

 private:
  static constexpr unsigned kRequests = 512;
  static constexpr unsigned kCompletions = 4096;
  static constexpr unsigned kBuffers = 128;  // a power of two
  static constexpr int kBufferGroup = 0;

  explicit UringRing(BufferPool& buffers) : buffers_(buffers) {}
  absl::Status provide_buffers();
  bool has_completions() const { return io_uring_cq_ready(&ring_) > 0; }
  void provide(unsigned index, int offset);

  BufferPool& buffers_;
  io_uring ring_{};
  bool open_ = false;
  io_uring_buf_ring* ring_of_buffers_ = nullptr;
  std::array<Chunk*, kBuffers> provided_{};
  // Pages of it are touched as they are needed.
  static constexpr size_t kScratchBytes = 128 * 1024;
  std::unique_ptr<char[]> scratch_{new char[kScratchBytes]};
  size_t borrowed_ = 0;
};

}  // namespace weft::proxy
