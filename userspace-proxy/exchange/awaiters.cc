// HeadReader and Connector of awaiters.h.
#include "userspace-proxy/exchange/awaiters.h"

#include <cerrno>

namespace weft::proxy {

void HeadReader::start(Socket& socket, InputBuffer& input, HeadText& text, uint32_t max_bytes,
                       uint64_t timeout_ms) {
  cancel();
  socket_ = &socket;
  input_ = &input;
  text_ = &text;
  text_->clear();
  max_bytes_ = max_bytes;
  status_ = HeadStatus::kWaiting;
  if (timeout_ms > 0) loop_.arm(timeout_, timeout_ms);
  advance();
}

void HeadReader::cancel() {
  recv_.cancel();
  timeout_.cancel();
  if (status_ == HeadStatus::kWaiting) status_ = HeadStatus::kAborted;
}

void HeadReader::abort() {
  if (status_ == HeadStatus::kWaiting) finish(HeadStatus::kAborted);
}

void HeadReader::finish(HeadStatus status) {
  status_ = status;
  cancel();
  waiter_.wake();
}

void HeadReader::advance() {
  while (status_ == HeadStatus::kWaiting) {
    if (input_->empty()) {
      if (!socket_->recv(recv_, *input_)) return;
      if (recv_.result <= 0) return finish(HeadStatus::kClosed);
    }
    size_t consumed = 0;
    const ParseResult result = text_->feed(input_->unread(), max_bytes_, &consumed);
    input_->consume(consumed);
    if (result == ParseResult::kComplete) return finish(HeadStatus::kComplete);
    if (result == ParseResult::kTooLarge) return finish(HeadStatus::kTooLarge);
    if (result != ParseResult::kNeedMore) return finish(HeadStatus::kBad);
  }
}

void HeadReader::on_received(int result) {
  if (result <= 0) return finish(HeadStatus::kClosed);
  advance();
}

void Connector::start(Socket& socket, const HomeNetns& home, int netns, const SocketAddress& address,
                      uint64_t timeout_ms) {
  cancel();
  socket_ = &socket;
  UniqueFd fd = home.tcp_socket(netns, address.ip.is_v4() ? AF_INET : AF_INET6);
  if (fd.valid()) set_tcp_options(fd.get());
  if (!fd.valid() || !socket.open(std::move(fd), false)) {
    status_ = ConnectStatus::kFailed;
    return;
  }
  if (socket.connect(connect_, address)) {
    status_ = status_of_result(connect_.result);
    return;
  }
  status_ = ConnectStatus::kWaiting;
  loop_.arm(timeout_, timeout_ms);
}

void Connector::cancel() {
  connect_.cancel();
  timeout_.cancel();
}

ConnectStatus Connector::status_of_result(int result) {
  if (result == 0) return ConnectStatus::kConnected;
  if (result == -ECONNREFUSED) return ConnectStatus::kRefused;
  return result == -ETIMEDOUT ? ConnectStatus::kTimeout : ConnectStatus::kFailed;
}

void Connector::on_connected(int result) {
  timeout_.cancel();
  status_ = status_of_result(result);
  waiter_.wake();
}

void Connector::on_timeout() {
  socket_->close();
  status_ = ConnectStatus::kTimeout;
  waiter_.wake();
}

}  // namespace weft::proxy
