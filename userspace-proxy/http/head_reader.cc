// HeadReader of head_reader.h.
#include "userspace-proxy/http/head_reader.h"

namespace weft::proxy {

bool HeadReader::start(Operation& operation, HeadText& text, uint32_t max_bytes, uint64_t timeout_ms) {
  cancel();
  text_ = &text;
  text_->clear();
  max_bytes_ = max_bytes;
  status_ = HeadStatus::kWaiting;
  advance();
  if (status_ != HeadStatus::kWaiting) return true;
  // Only now: most heads are there whole.
  if (timeout_ms > 0) loop_.arm(timeout_, timeout_ms);
  waiting_.park(operation);
  return false;
}

void HeadReader::cancel() {
  recv_.cancel();
  timeout_.cancel();
  if (status_ == HeadStatus::kWaiting) status_ = HeadStatus::kAborted;
}

void HeadReader::finish(HeadStatus status) {
  status_ = status;
  recv_.cancel();
  timeout_.cancel();
  waiting_.run();
}

void HeadReader::advance() {
  while (true) {
    if (input_.empty()) {
      if (!socket_.recv(recv_, input_)) return;
      if (recv_.result <= 0) return finish(HeadStatus::kClosed);
    }
    size_t consumed = 0;
    const ParseResult result = text_->feed(input_.unread(), max_bytes_, &consumed);
    input_.consume(consumed);
    if (result == ParseResult::kComplete) return finish(HeadStatus::kComplete);
    if (result == ParseResult::kTooLarge) return finish(HeadStatus::kTooLarge);
    if (result != ParseResult::kNeedMore) return finish(HeadStatus::kBad);
  }
}

void HeadReader::on_received(int result) {
  if (result <= 0) return finish(HeadStatus::kClosed);
  advance();
}

}  // namespace weft::proxy
