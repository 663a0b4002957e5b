// Http2Transport of http2_transport.h.
#include "userspace-proxy/http/http2_transport.h"

#include <cstdint>
#include <utility>

namespace weft::proxy {
namespace {

// Payload is copied into the batch whatever its size: then its memory is free when the batch is made, and a
// stream may end while the socket is still at it.
constexpr size_t kCopyUpTo = SIZE_MAX;

// Receives before others get their turn.
constexpr int kMaxReceives = 8;

}  // namespace

Http2Transport::Http2Transport(EventLoop& loop, Socket& socket, InputBuffer& input, Http2Session::Role role,
                               const Http2Limits& limits, Owner& owner)
    : loop_(loop),
      socket_(socket),
      input_(input),
      owner_(owner),
      stall_ms_(limits.stall_ms),
      session_(std::in_place, role, limits, owner),
      out_(kCopyUpTo) {}

void Http2Transport::start(std::string_view front) {
  front_ = front;
  output_due();
  if (!input_.empty() && !take_input(1)) return;
  receive();
}

void Http2Transport::stop() {
  ended_ = true;
  recv_.cancel();
  may_take_.cancel();
  send_.cancel();
  flush_.cancel();
  stalled_.cancel();
}

void Http2Transport::close() {
  stop();
  session_.reset();
}

void Http2Transport::output_due() {
  if (!ended_ && !sending_ && !flush_.pending()) loop_.soon(flush_);
}

void Http2Transport::receive() {
  for (int i = 0; i < kMaxReceives; ++i) {
    if (!socket_.recv(recv_, input_)) return;
    if (!take_input(recv_.result)) return;
  }
  recv_.result = 1;
  loop_.next_turn(recv_);
}

void Http2Transport::on_received(int result) {
  if (take_input(result)) receive();
}

// False: the connection is at its end.
bool Http2Transport::take_input(int result) {
  if (result <= 0) {
    end();
    return false;
  }
  return take_slices();
}

bool Http2Transport::take_slices() {
  while (!input_.empty() || session_->paused()) {
    const size_t most = owner_.may_take(may_take_);
    if (most == 0 || !take_slice(most)) return false;
  }
  return true;
}

void Http2Transport::on_may_take(int) {
  if (take_slices()) receive();
}

// False: the connection is at its end.
bool Http2Transport::take_slice(size_t most) {
  const std::string_view slice = input_.unread().substr(0, most);
  session_->receive(loop_.now(), slice);
  const size_t bytes = session_->taken();
  input_.consume(bytes);
  owner_.received(bytes);
  if (session_->wants_output()) output_due();
  if (session_->fault() != Http2Fault::kNoFault || session_->done()) {
    // What is left to say is said by flush(), which ends the connection then.
    output_due();
    return false;
  }
  return true;
}

void Http2Transport::on_flush(int) { flush(); }

void Http2Transport::on_sent(int result) {
  sending_ = false;
  if (result < 0) return end();
  flush();
}

void Http2Transport::flush() {
  while (!ended_) {
    out_.clear();
    out_.frame(std::exchange(front_, {}));
    session_->output(loop_.now(), &out_);
    if (out_.empty()) break;
    ++batches_;
    if (!socket_.send(send_, out_.pieces())) {
      sending_ = true;
      if (!stalled_.armed()) on_stalled();
      return;
    }
    if (send_.result < 0) return end();
  }
  if (!ended_ && session_->done()) end();
}

// Looks once per period: a batch ends the connection when it was under way for one to two of them.
void Http2Transport::on_stalled() {
  if (!sending_) return;
  if (batches_ == batches_at_last_look_) {
    // It would not read that either, but the end has a reason.
    session_->fail(Http2Fault::kStalled);
    return end();
  }
  batches_at_last_look_ = batches_;
  loop_.arm(stalled_, stall_ms_);
}

void Http2Transport::end() {
  if (ended_) return;
  stop();
  owner_.transport_ended();
}

}  // namespace weft::proxy
