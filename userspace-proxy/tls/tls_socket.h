// TLS over a socket of any backend: what the owner of a Socket reads and writes in clear goes encrypted
// through the socket below. Made for a connected socket by start_tls(); freed with it. The library sees
// memory only, the socket below does all I/O. Worker thread only.
//
//   kHandshake -> kOpen -> kEnded        kEnded also from kHandshake; fault() says why
#pragma once

#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "userspace-proxy/net/event_loop.h"
#include "userspace-proxy/net/socket.h"
#include "userspace-proxy/net/wait_slot.h"
#include "userspace-proxy/tls/tls_context.h"

namespace weft::proxy {

class TlsSocket final : public SocketIo, public ListNode<TlsContextTag> {
 public:
  // Runs `operation` with 0 when the peer has proved itself, else -EPROTO, and fault() says why. Its deadline
  // is the caller's. True when it is over at once.
  bool handshake(Operation& operation);
  TlsFault fault() const { return peer_.fault; }
  const SpiffeId& peer() const { return peer_.id; }
  // What ALPN agreed on; empty: nothing.
  std::string_view protocol() const;
  bool resumed() const { return SSL_session_reused(ssl_.get()) == 1; }

  bool connect(Operation& operation, const SocketAddress& address) override;
  bool recv(Operation& operation, InputBuffer& into) override;
  bool send(Operation& operation, std::span<const iovec> pieces) override;
  bool post(std::span<const iovec>) override { return false; }
  bool unsent() const override { return !out_.empty() || !in_flight_.empty() || inner_.unsent(); }
  void watch_reset(Operation& operation) override { inner_.watch_reset(operation); }
  void shutdown_write() override;
  void charge_to(Gauge& account) override { inner_.charge_to(account); }
  void close() override;
  // Without the alert that would say that all was said.
  void reset() override {
    shut_down_ = true;
    SocketIo::reset();
  }
  int fd() const override { return inner_.fd(); }

 private:
  friend class TlsProfile;
  friend TlsSocket* start_tls(EventLoop& loop, Socket& socket, std::shared_ptr<TlsProfile> profile,
                              TlsRole role, TlsPeer peer, std::string_view received);
  enum class State : uint8_t { kHandshake, kOpen, kEnded };
  enum class Progress : uint8_t { kDone, kWaits, kFailed };

  TlsSocket(EventLoop& loop, SocketIo& inner, std::shared_ptr<TlsProfile> profile, TlsRole role,
            TlsPeer peer);
  ~TlsSocket() override;

  static const BIO_METHOD* bio_method();
  static int bio_read(BIO* bio, char* into, int size);
  static int bio_write(BIO* bio, const char* from, int size);

  Progress advance_handshake();
  void handshake_done();
  bool try_recv(Operation& operation, InputBuffer& into);
  bool try_send();
  Progress encrypt();
  bool flush();
  void release_buffers();
  bool want_input();
  void on_received(int result);
  void on_sent(int result);
  void take_end(int result);
  void fail(TlsFault fault, int result);
  void go_on();
  void finish(Operation** slot, int result);
  bool cut_if_revoked(const Credentials& trust);

  EventLoop& loop_;
  SocketIo& inner_;
  const std::shared_ptr<TlsProfile> profile_;
  TlsPeer peer_;
  State state_ = State::kHandshake;
  SslPtr ssl_;
  InputBuffer cipher_;      // received, not yet decrypted
  std::optional<int> end_;  // of the socket below: 0 or a negative errno
  int failure_ = 0;         // once kEnded
  bool shutdown_due_ = false;
  bool shut_down_ = false;
  std::vector<char> out_, in_flight_;  // encrypted: to be sent, being sent
  std::vector<iovec> pieces_;          // in clear, not yet encrypted
  size_t piece_ = 0;
  Operation* handshake_operation_ = nullptr;
  Operation* recv_operation_ = nullptr;
  Operation* send_operation_ = nullptr;
  InputBuffer* recv_into_ = nullptr;
  Operation receive_{this, method<&TlsSocket::on_received>};
  Operation transmit_{this, method<&TlsSocket::on_sent>};
};

// From here on `socket`, which is connected, speaks TLS; handshake() comes next. The result is the socket's
// and lives until it is closed. `received`: what the peer has sent already, at most kChunkBytes. Null when
// there is no memory for it; the socket is then as it was.
TlsSocket* start_tls(EventLoop& loop, Socket& socket, std::shared_ptr<TlsProfile> profile, TlsRole role,
                     TlsPeer peer, std::string_view received = {});

}  // namespace weft::proxy
