// A listening socket of the io_uring backend: a multishot accept, whose connections wait here until the
// acceptor takes them. Like everything of the backend, the kernel accepts only while it is called, and a
// cancellation reaches it before that: what was stopped accepts nothing more.
#pragma once

#include <vector>

#include "userspace-proxy/net/uring_backend.h"

namespace weft::proxy {

class UringListener final : public ListenerIo, public UringObject {
 public:
  UringListener(UringBackend& backend, UniqueFd fd, Sink& sink)
      : ListenerIo(std::move(fd)), backend_(backend), sink_(sink) {}

  void start() override;
  void stop() override;
  int next(SocketAddress* peer) override { return taken(peer); }
  int taken(SocketAddress* peer) override;
  void close() override;

  void completed(unsigned tag, const io_uring_cqe& cqe) override;
  void settle() override;
  void flush() override;

 private:
  enum Tag : unsigned { kAccept };
  enum class State : uint8_t {
    kIdle,
    kAccepting,
    kStopping,    // the cancellation has not completed
    kRestarting,  // the same, but to be accepting again
    kClosed,
  };

  void accept();

  UringBackend& backend_;
  Sink& sink_;
  State state_ = State::kIdle;
  int error_ = 0;  // negative errno, not yet told
  std::vector<UniqueFd> accepted_;
  size_t next_accepted_ = 0;
};

}  // namespace weft::proxy
