// TlsSocket of tls_socket.h: the library between two buffers, and the socket below moves the encrypted ones.
#include "userspace-proxy/tls/tls_socket.h"

#include <openssl/err.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

namespace weft::proxy {
namespace {

// RFC 8446 §5.1: the payload of one record.
constexpr size_t kRecordBytes = 16 * 1024;
// Encrypted bytes that are given to the socket below at a time, and one record: the 64 KiB of a batch of
// HTTP/2 and, in the last record, what its frames' heads make it longer.
constexpr size_t kBatchBytes = 64 * 1024 + 512;

}  // namespace

const BIO_METHOD* TlsSocket::bio_method() {
  static BIO_METHOD* const made = [] {
    BIO_METHOD* out = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "weft");
    BIO_meth_set_read(out, &TlsSocket::bio_read);
    BIO_meth_set_write(out, &TlsSocket::bio_write);
    BIO_meth_set_ctrl(
        out, [](BIO*, int command, long, void*) -> long { return command == BIO_CTRL_FLUSH ? 1 : 0; });
    BIO_meth_set_create(out, [](BIO* bio) {
      BIO_set_init(bio, 1);
      return 1;
    });
    return out;
  }();
  return made;
}

int TlsSocket::bio_read(BIO* bio, char* into, int size) {
  InputBuffer& cipher = static_cast<TlsSocket*>(BIO_get_data(bio))->cipher_;
  BIO_clear_retry_flags(bio);
  const size_t count = std::min(cipher.unread().size(), static_cast<size_t>(size));
  if (count == 0) {
    BIO_set_retry_read(bio);
    return -1;
  }
  std::memcpy(into, cipher.unread().data(), count);
  cipher.consume(count);
  return static_cast<int>(count);
}

int TlsSocket::bio_write(BIO* bio, const char* from, int size) {
  std::vector<char>& out = static_cast<TlsSocket*>(BIO_get_data(bio))->out_;
  BIO_clear_retry_flags(bio);
  out.insert(out.end(), from, from + size);
  return size;
}

TlsSocket::TlsSocket(EventLoop& loop, SocketIo& inner, std::shared_ptr<TlsProfile> profile, TlsRole role,
                     TlsPeer peer)
    : SocketIo(UniqueFd()),
      loop_(loop),
      inner_(inner),
      profile_(std::move(profile)),
      peer_(std::move(peer)),
      cipher_(loop.buffers()) {
  ssl_ = profile_->new_connection(role, peer_);
  if (ssl_ == nullptr) return;
  BIO* bio = BIO_new(bio_method());
  BIO_set_data(bio, this);
  SSL_set_bio(ssl_.get(), bio, bio);
  profile_->live_.push_back(*this);
}

TlsSocket::~TlsSocket() {
  for (Operation* each : {handshake_operation_, recv_operation_, send_operation_}) {
    if (each != nullptr) each->cancel();
  }
}

TlsSocket* start_tls(EventLoop& loop, Socket& socket, std::shared_ptr<TlsProfile> profile, TlsRole role,
                     TlsPeer peer, std::string_view received) {
  auto* made = new TlsSocket(loop, *socket.io(), std::move(profile), role, std::move(peer));
  const bool fits = received.empty() || made->cipher_.append(received, received.size()) == received.size();
  if (made->ssl_ == nullptr || !fits) {
    delete made;
    return nullptr;
  }
  socket.replace_io(made);
  return made;
}

bool TlsSocket::connect(Operation& operation, const SocketAddress&) {
  operation.result = -EISCONN;
  return true;
}

bool TlsSocket::handshake(Operation& operation) {
  switch (advance_handshake()) {
    case Progress::kDone:
      operation.result = 0;
      return true;
    case Progress::kFailed:
      operation.result = failure_;
      return true;
    case Progress::kWaits:
      operation.park(&handshake_operation_);
      return false;
  }
  return false;
}

TlsSocket::Progress TlsSocket::advance_handshake() {
  for (;;) {
    ERR_clear_error();
    const int result = SSL_do_handshake(ssl_.get());
    // Also an alert, which tells the peer why.
    flush();
    if (result == 1) {
      handshake_done();
      return state_ == State::kOpen ? Progress::kDone : Progress::kFailed;
    }
    if (SSL_get_error(ssl_.get(), result) != SSL_ERROR_WANT_READ) break;
    if (state_ == State::kEnded) return Progress::kFailed;
    if (end_) {
      fail(TlsFault::kTruncated, -EPROTO);
      return Progress::kFailed;
    }
    if (!want_input()) {
      release_buffers();
      return Progress::kWaits;
    }
  }
  const unsigned long error = ERR_peek_error();
  TlsFault fault = peer_.fault;
  if (fault == TlsFault::kNoFault) {
    const int reason = ERR_GET_REASON(error);
    const bool alert = reason >= SSL_AD_REASON_OFFSET && reason < SSL_AD_REASON_OFFSET + 256;
    fault = alert ? TlsFault::kRefusedByPeer : TlsFault::kProtocol;
    if (reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE) fault = TlsFault::kNoCertificate;
    if (reason == SSL_R_NO_APPLICATION_PROTOCOL) fault = TlsFault::kNoProtocol;
  }
  fail(fault, -EPROTO);
  return Progress::kFailed;
}

void TlsSocket::handshake_done() {
  const TlsFault fault = profile_->check(ssl_.get(), peer_);
  if (fault != TlsFault::kNoFault) return fail(fault, -EPROTO);
  state_ = State::kOpen;
}

std::string_view TlsSocket::protocol() const {
  const unsigned char* protocol = nullptr;
  unsigned int length = 0;
  SSL_get0_alpn_selected(ssl_.get(), &protocol, &length);
  return {reinterpret_cast<const char*>(protocol), length};
}

void TlsSocket::fail(TlsFault fault, int result) {
  if (state_ == State::kEnded) return;
  state_ = State::kEnded;
  peer_.fault = fault;
  failure_ = result;
  ERR_clear_error();
}

bool TlsSocket::recv(Operation& operation, InputBuffer& into) {
  if (try_recv(operation, into)) return true;
  recv_into_ = &into;
  operation.park(&recv_operation_);
  return false;
}

bool TlsSocket::try_recv(Operation& operation, InputBuffer& into) {
  for (;;) {
    if (state_ == State::kEnded) {
      operation.result = failure_;
      return true;
    }
    const std::span<char> space = into.space();
    size_t count = 0;
    ERR_clear_error();
    const int result = SSL_read_ex(ssl_.get(), space.data(), space.size(), &count);
    flush();
    if (result == 1) {
      into.commit(count);
      operation.result = static_cast<int>(count);
      return true;
    }
    into.trim();
    const int error = SSL_get_error(ssl_.get(), result);
    if (error == SSL_ERROR_ZERO_RETURN) {
      operation.result = 0;
      return true;
    }
    if (error != SSL_ERROR_WANT_READ) {
      const int reason = ERR_GET_REASON(ERR_peek_error());
      const bool alert = reason >= SSL_AD_REASON_OFFSET && reason < SSL_AD_REASON_OFFSET + 256;
      fail(alert ? TlsFault::kRefusedByPeer : TlsFault::kProtocol, -EPROTO);
      continue;
    }
    if (end_) {
      fail(TlsFault::kTruncated, *end_ < 0 ? *end_ : -ECONNRESET);
      continue;
    }
    if (!want_input()) {
      release_buffers();
      return false;
    }
  }
}

// True when there is something new to read, or the end.
bool TlsSocket::want_input() {
  if (receive_.pending()) return false;
  if (!inner_.recv(receive_, cipher_)) return false;
  take_end(receive_.result);
  return true;
}

void TlsSocket::take_end(int result) {
  if (result <= 0) end_ = result;
}

void TlsSocket::on_received(int result) {
  take_end(result);
  go_on();
}

// Never runs an owner's operation here: it may end this object.
void TlsSocket::go_on() {
  if (handshake_operation_ != nullptr) {
    const Progress progress = advance_handshake();
    if (progress != Progress::kWaits)
      finish(&handshake_operation_, progress == Progress::kDone ? 0 : failure_);
    return;
  }
  if (recv_operation_ != nullptr && try_recv(*recv_operation_, *recv_into_))
    finish(&recv_operation_, recv_operation_->result);
}

void TlsSocket::finish(Operation** slot, int result) {
  Operation* operation = *slot;
  if (operation == nullptr) return;
  operation->unpark();
  operation->result = result;
  loop_.soon(*operation);
}

bool TlsSocket::send(Operation& operation, std::span<const iovec> pieces) {
  pieces_.assign(pieces.begin(), pieces.end());
  piece_ = 0;
  operation.park(&send_operation_);
  if (!try_send()) return false;
  operation.unpark();
  operation.result = state_ == State::kEnded ? failure_ : 0;
  release_buffers();
  return true;
}

// Before each wait, so that who is idle holds none: the library's two of 17 KB each, as far as nothing is in
// them (SSL_free_buffers(3)). SSL_MODE_RELEASE_BUFFERS would do it after each record.
void TlsSocket::release_buffers() { SSL_free_buffers(ssl_.get()); }

// True when all of the owner's pieces are out, or cannot be.
bool TlsSocket::try_send() {
  for (;;) {
    if (state_ == State::kEnded) return true;
    if (encrypt() == Progress::kFailed) return true;
    if (!flush()) return false;
    if (piece_ == pieces_.size()) return true;
  }
}

TlsSocket::Progress TlsSocket::encrypt() {
  std::array<char, kRecordBytes> record;
  while (piece_ < pieces_.size() && out_.size() < kBatchBytes) {
    // Small pieces share a record; a large one is read where it is.
    const iovec& first = pieces_[piece_];
    const char* from = static_cast<const char*>(first.iov_base);
    size_t bytes = std::min(first.iov_len, kRecordBytes);
    if (first.iov_len < kRecordBytes) {
      bytes = 0;
      for (size_t i = piece_; i < pieces_.size() && bytes < kRecordBytes; ++i) {
        const size_t count = std::min(pieces_[i].iov_len, kRecordBytes - bytes);
        if (count > 0) std::memcpy(record.data() + bytes, pieces_[i].iov_base, count);
        bytes += count;
      }
      from = record.data();
    }
    size_t written = 0;
    ERR_clear_error();
    if (bytes > 0 && SSL_write_ex(ssl_.get(), from, bytes, &written) != 1) {
      fail(TlsFault::kProtocol, -EPROTO);
      return Progress::kFailed;
    }
    while (piece_ < pieces_.size() && written >= pieces_[piece_].iov_len)
      written -= pieces_[piece_++].iov_len;
    if (written == 0) continue;
    pieces_[piece_].iov_base = static_cast<char*>(pieces_[piece_].iov_base) + written;
    pieces_[piece_].iov_len -= written;
  }
  return Progress::kDone;
}

// True when nothing encrypted is left to send.
bool TlsSocket::flush() {
  while (in_flight_.empty()) {
    if (out_.empty()) return true;
    in_flight_.swap(out_);
    const iovec all{in_flight_.data(), in_flight_.size()};
    if (!inner_.send(transmit_, std::span(&all, 1))) return false;
    in_flight_.clear();
    if (transmit_.result >= 0) continue;
    // What the peer said before is still read.
    const bool was_ended = state_ == State::kEnded;
    if (!was_ended && state_ == State::kOpen && send_operation_ != nullptr)
      fail(TlsFault::kTruncated, transmit_.result);
    out_.clear();
    return true;
  }
  return false;
}

void TlsSocket::on_sent(int result) {
  in_flight_.clear();
  if (in_flight_.capacity() > kBatchBytes * 2) in_flight_.shrink_to_fit();
  if (result < 0) {
    out_.clear();
    fail(TlsFault::kTruncated, result);
  }
  if (send_operation_ != nullptr) {
    if (try_send()) {
      release_buffers();
      finish(&send_operation_, state_ == State::kEnded ? failure_ : 0);
    }
  } else {
    flush();
  }
  if (shutdown_due_ && in_flight_.empty() && send_operation_ == nullptr) {
    shutdown_due_ = false;
    inner_.shutdown_write();
  }
}

void TlsSocket::shutdown_write() {
  if (shut_down_) return;
  shut_down_ = true;
  if (state_ == State::kOpen) SSL_shutdown(ssl_.get());
  ERR_clear_error();
  if (flush()) return inner_.shutdown_write();
  shutdown_due_ = true;
}

bool TlsSocket::cut_if_revoked(const Credentials& trust) {
  if (state_ != State::kOpen || TlsContext::recheck(peer_.chain, trust) != TlsFault::kRevoked) return false;
  fail(TlsFault::kRevoked, -ECONNRESET);
  finish(&recv_operation_, failure_);
  finish(&send_operation_, failure_);
  return true;
}

void TlsSocket::close() {
  receive_.cancel();
  if (state_ == State::kOpen && !shut_down_ && in_flight_.empty() && out_.empty()) {
    // So that the peer can tell an end from a cut, if there is room for it at once.
    SSL_shutdown(ssl_.get());
    ERR_clear_error();
    const iovec all{out_.data(), out_.size()};
    if (!out_.empty() && !inner_.post(std::span(&all, 1))) inner_.send(transmit_, std::span(&all, 1));
  }
  transmit_.cancel();
  inner_.close();
  ListNode<TlsContextTag>::unlink();
  delete this;
}

}  // namespace weft::proxy
