// TunnelSocket of tunnel_socket.h.
#include "userspace-proxy/http/tunnel_socket.h"

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace weft::proxy {

TunnelTraffic::~TunnelTraffic() {
  if (counting_ != nullptr) counting_->traffic_ = nullptr;
}

TunnelSocket::~TunnelSocket() {
  if (traffic_ != nullptr) traffic_->counting_ = nullptr;
  cancel_operations();
  account_.subtract(queue_.bytes());
}

void TunnelSocket::cancel_operations() {
  for (Operation* each : {recv_operation_, send_operation_, reset_operation_}) {
    if (each != nullptr) each->cancel();
  }
  deliver_.cancel();
}

bool TunnelSocket::connect(Operation& operation, const SocketAddress&) {
  operation.result = -EISCONN;
  return true;
}

bool TunnelSocket::recv(Operation& operation, InputBuffer& into) {
  if (try_recv(operation, into)) return true;
  recv_into_ = &into;
  operation.park(&recv_operation_);
  return false;
}

size_t TunnelSocket::take_queued(InputBuffer& into) {
  Pieces pieces;
  pieces.clear();
  queue_.gather(pieces);
  size_t taken = 0;
  for (const iovec& piece : pieces.all()) {
    const std::string_view bytes(static_cast<const char*>(piece.iov_base), piece.iov_len);
    const size_t count = into.append(bytes, queue_.bytes());
    taken += count;
    if (count < piece.iov_len) break;
  }
  queue_.drop(taken);
  account_.subtract(taken);
  return taken;
}

bool TunnelSocket::try_recv(Operation& operation, InputBuffer& into) {
  if (copied_ > 0 || queue_.bytes() > 0) {
    const size_t taken = std::exchange(copied_, 0) + take_queued(into);
    if (attached()) {
      session()->accepted(*this, static_cast<uint32_t>(taken));
      if (session()->wants_output()) transport_.output_due();
    }
    operation.result = static_cast<int>(taken);
    return true;
  }
  operation.result = 0;
  if (received_end_) return true;
  if (!closed_) return false;
  operation.result = cut_ ? -ECONNRESET : 0;
  return true;
}

bool TunnelSocket::send(Operation& operation, std::span<const iovec> pieces) {
  if (!attached() || sent_end_) {
    operation.result = -EPIPE;
    return true;
  }
  pieces_.assign(pieces.begin(), pieces.end());
  std::erase_if(pieces_, [](const iovec& piece) { return piece.iov_len == 0; });
  operation.result = 0;
  if (pieces_.empty()) return true;
  for (const iovec& piece : pieces_) offered_ += piece.iov_len;
  session()->offer(*this, pieces_, false, {});
  operation.park(&send_operation_);
  transport_.output_due();
  return false;
}

void TunnelSocket::shutdown_write() {
  if (!attached() || sent_end_) return;
  sent_end_ = true;
  session()->offer(*this, {}, true, {});
  transport_.output_due();
}

void TunnelSocket::close() {
  const bool server = transport_.session().role() == Http2Session::Role::kServer;
  const bool cut_short = send_operation_ != nullptr;
  cancel_operations();
  // A server's end is END_STREAM too: a reset before it would take the answer from who reads it.
  if (server && open_ && !cut_short) shutdown_write();
  const bool all_heard = received_end_ && (server || queue_.bytes() == 0);
  const bool end_waits = server && !end_taken_;
  if (attached() && sent_end_ && !cut_short && (all_heard || end_waits)) {
    closing_ = true;
    return;
  }
  // Not CANCEL: nothing broke, to the server's application this is the end that close(2) would be.
  if (open_ && attached() && !server) session()->reset(*this, NGHTTP2_NO_ERROR);
  leave();
}

void TunnelSocket::reset() {
  cancel_operations();
  if (attached()) session()->reset(*this, NGHTTP2_CONNECT_ERROR);
  leave();
}

void TunnelSocket::leave() {
  Http2Transport& transport = transport_;
  const bool was_attached = attached();
  if (was_attached) session()->detach(*this);
  host_.tunnel_freed(*this);
  if (was_attached) transport.output_due();
  delete this;
}

void TunnelSocket::head_received(FieldBlock& block, bool last) {
  received_end_ = last;
  if (head_told_) return;
  head_told_ = true;
  host_.tunnel_head(*this, block, last);
}

void TunnelSocket::data_received(std::string_view bytes) {
  if (traffic_ != nullptr) traffic_->received += bytes.size();
  came_ += bytes.size();
  if (recv_operation_ != nullptr) {
    // Straight to who waits for it, as far as there is room.
    const size_t expected = std::max(bytes.size(), came_last_);
    const size_t copied = queue_.bytes() == 0 ? recv_into_->append(bytes, expected) : 0;
    copied_ += copied;
    bytes.remove_prefix(copied);
    if (!deliver_.pending()) transport_.loop().soon(deliver_);
  }
  queue_.append(bytes);
  account_.add(bytes.size());
}

// When the session has looked at all that came: frame by frame, each would cost its reader a send of its own.
void TunnelSocket::on_deliver(int) {
  came_last_ = std::exchange(came_, 0);
  Operation* operation = recv_operation_;
  if (operation == nullptr || !try_recv(*operation, *recv_into_)) return;
  operation->unpark();
  operation->run();
}

void TunnelSocket::end_received() {
  received_end_ = true;
  if (copied_ + queue_.bytes() == 0) finish(&recv_operation_, 0);
}

void TunnelSocket::payload_taken() {
  end_taken_ = sent_end_;
  if (traffic_ != nullptr) traffic_->sent += offered_;
  offered_ = 0;
  // The session says NO_ERROR after the end: what the client still sends, nobody reads (RFC 9113 §8.1).
  if (closing_ && !received_end_) return leave();
  finish(&send_operation_, 0);
}

void TunnelSocket::stream_closed(Http2StreamEnd end) {
  closed_ = true;
  // What a server says is whole with END_STREAM only (RFC 9113 §8.1); a client may need nothing more:
  // close().
  const bool whole = end == Http2StreamEnd::kComplete &&
                     (received_end_ || transport_.session().role() == Http2Session::Role::kServer);
  cut_ = !whole;
  if (closing_) return close();
  if (!open_) return host_.tunnel_lost(*this, end);
  finish(&send_operation_, -EPIPE);
  if (cut_) finish(&reset_operation_, -ECONNRESET);
  if (recv_operation_ != nullptr && try_recv(*recv_operation_, *recv_into_))
    finish(&recv_operation_, recv_operation_->result);
}

void TunnelSocket::finish(Operation** slot, int result) {
  Operation* operation = *slot;
  if (operation == nullptr) return;
  operation->unpark();
  operation->result = result;
  transport_.loop().soon(*operation);
}

}  // namespace weft::proxy
