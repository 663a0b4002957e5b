// A TCP socket of the epoll backend: readiness is remembered in flags, so a call makes a system call only
// when it may succeed, and a short read or write is known to be the last one.
#pragma once

#include "userspace-proxy/net/epoll_backend.h"

namespace weft::proxy {

class EpollSocket final : public SocketIo, public EpollWatched, public RetriedSend {
 public:
  EpollSocket(EpollBackend& backend, UniqueFd fd, bool writable)
      : SocketIo(std::move(fd)), backend_(backend), writable_(writable) {}

  bool connect(Operation& operation, const SocketAddress& address) override;
  bool recv(Operation& operation, InputBuffer& into) override;
  bool send(Operation& operation, std::span<const iovec> pieces) override;
  // A send is tried at once: nothing would be saved.
  bool post(std::span<const iovec>) override { return false; }
  bool unsent() const override { return false; }
  void watch_reset(Operation& operation) override { operation.park(&reset_operation_); }
  void shutdown_write() override;
  void close() override;

  void on_events(uint32_t events) override;
  void retry() override;

 private:
  enum class Queues : uint8_t { kUnknown, kOne, kTwo };

  // Asked when it matters first: the connection is established then.
  bool has_two_queues();
  bool try_recv(Operation& operation, InputBuffer& into);
  // True when all is sent or it failed (result in the operation); else `*sent` bytes are.
  bool try_send(Operation& operation, std::span<const iovec> pieces, size_t* sent);
  void go_on_sending();
  void complete_send();
  void drop_request();
  void finish_connect();

  EpollBackend& backend_;
  bool readable_ = false;
  bool writable_;
  bool peer_closed_ = false;  // FIN or RST seen: a short read does not mean that nothing more is to be read
  bool connecting_ = false;
  Queues queues_ = Queues::kUnknown;
  Operation* recv_operation_ = nullptr;
  Operation* send_operation_ = nullptr;
  Operation* reset_operation_ = nullptr;
  InputBuffer* recv_into_ = nullptr;
  SendRequest* request_ = nullptr;
};

}  // namespace weft::proxy
