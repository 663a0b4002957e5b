// A TCP socket of the io_uring backend. Receiving is a multishot request while messages are small: bytes that
// arrive when nobody wants them wait here, and soon stop the request. A stream that fills its buffers is read
// with a system call per large chunk instead, whenever the kernel reports that there is something:
//
//   kUnarmed -> kMultishot -> kStopping -> kUnarmed <-> kPolling     and from any of them -> kEnded
#pragma once

#include <memory>

#include "userspace-proxy/net/uring_backend.h"

namespace weft::proxy {

class UringSocket final : public SocketIo, public UringObject, public RetriedSend {
 public:
  UringSocket(UringBackend& backend, UniqueFd fd) : SocketIo(std::move(fd)), backend_(backend) {}
  ~UringSocket() override;

  bool connect(Operation& operation, const SocketAddress& address) override;
  bool recv(Operation& operation, InputBuffer& into) override;
  bool send(Operation& operation, std::span<const iovec> pieces) override;
  bool post(std::span<const iovec> pieces) override;
  bool unsent() const override { return sending_ == Sending::kPosted || leftover_ != nullptr; }
  void watch_reset(Operation& operation) override;
  void shutdown_write() override;
  void charge_to(Gauge& account) override { account_ = &account; }
  void close() override;

  void completed(unsigned tag, const io_uring_cqe& cqe) override;
  void settle() override;
  void flush() override;
  void post_settled() override;
  void retry() override;

 private:
  enum Tag : unsigned { kReceive, kSend, kConnect, kReadable, kStatus, kPost };
  static constexpr unsigned kTags = 6;
  enum class Receiving : uint8_t { kUnarmed, kMultishot, kStopping, kPolling, kEnded };
  enum class Sending : uint8_t { kNothing, kPosted, kQueued, kNoRoom };

  // Bytes that may wait for somebody to want them before the multishot request is stopped.
  static constexpr uint32_t kMaxWaiting = 16 * 1024;
  // Copying more costs more than telling when it was sent; a small chunk holds it.
  static constexpr size_t kMaxPost = 3 * 1024;

  void note_request(Tag tag) { requested_ |= uint8_t(1u << tag); }
  bool requested(Tag tag) const { return (requested_ & (1u << tag)) != 0; }

  void received(const io_uring_cqe& cqe);
  void sent(int result);
  void connected(int result);
  void end_receiving(int result);
  // Waits for the next bytes in the way that suits `into`. True: they are there (result in the operation).
  bool arm(Operation& operation, InputBuffer& into);
  bool read(Operation& operation, InputBuffer& into);
  void stop_multishot();
  void deliver(Operation& operation, InputBuffer& into);
  void settle_receiving();
  void status_changed(int events);
  void watch_status();
  int put_off_or(int result) const;
  void wait_for_room(int result);
  void queue_send();
  void submit_send();
  void submit_post();
  void post_failed(int result);
  void keep_leftover(size_t sent);
  bool leftover_sent(int result);
  void send_at_once();
  void drop_request();
  void drop_waiting();
  void report_reset();

  UringBackend& backend_;
  Receiving receiving_ = Receiving::kUnarmed;
  Sending sending_ = Sending::kNothing;
  uint8_t requested_ = 0;  // one bit for each tag: the kernel will complete it
  bool closed_ = false;
  bool probing_ = false;  // the next send is one byte, or is under way
  int end_ = 0;           // of a stream that has ended: 0 or a negative errno
  Operation* recv_operation_ = nullptr;
  Operation* send_operation_ = nullptr;
  Operation* reset_operation_ = nullptr;
  InputBuffer* recv_into_ = nullptr;
  SendRequest* request_ = nullptr;
  // What was posted, in borrowed memory, and what of it found no room.
  char* posted_ = nullptr;
  uint32_t posted_bytes_ = 0;
  Chunk* leftover_ = nullptr;
  std::unique_ptr<sockaddr_storage> connect_to_;  // until the kernel has read it
  // Received and not yet wanted, oldest first.
  Chunk* waiting_ = nullptr;
  Chunk* last_waiting_ = nullptr;
  uint32_t waiting_bytes_ = 0;
  Gauge* account_ = nullptr;  // of what waits
};

}  // namespace weft::proxy
