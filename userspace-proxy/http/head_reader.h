// HeadReader: reads one HTTP/1 head from a socket into its text, or says why not. Used by the streams of both
// sides, again for each head. Worker thread only.
#pragma once

#include <cstdint>

#include "userspace-proxy/http/http1_head.h"
#include "userspace-proxy/http/message_stream.h"
#include "userspace-proxy/net/socket.h"
#include "userspace-proxy/net/wait_slot.h"

namespace weft::proxy {

class HeadReader {
 public:
  HeadReader(EventLoop& loop, Socket& socket, InputBuffer& input)
      : loop_(loop), socket_(socket), input_(input) {}

  // Fills `text`, which is cleared first. timeout_ms 0: none. True when it is over at once, else the
  // operation runs when it is; cancelling that leaves the reading to cancel().
  bool start(Operation& operation, HeadText& text, uint32_t max_bytes, uint64_t timeout_ms);
  void cancel();
  // kComplete, kClosed, kBad, kTooLarge or kTimeout once it is over.
  HeadStatus status() const { return status_; }

 private:
  void advance();
  void on_received(int result);
  void on_timeout() { finish(HeadStatus::kTimeout); }
  void finish(HeadStatus status);

  EventLoop& loop_;
  Socket& socket_;
  InputBuffer& input_;
  HeadText* text_ = nullptr;
  uint32_t max_bytes_ = 0;
  HeadStatus status_ = HeadStatus::kAborted;
  WaitSlot waiting_;
  Operation recv_{this, method<&HeadReader::on_received>};
  Timer timeout_{this, method<&HeadReader::on_timeout>};
};

}  // namespace weft::proxy
