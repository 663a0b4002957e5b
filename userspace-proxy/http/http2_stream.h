// Http2Stream: one stream as its owner sees it. The session calls the events while it receives or makes
// output; they may call the session's methods for streams, but neither receive() nor output(), and may not
// destroy the session. Derived by the connections of both sides.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <span>
#include <string_view>

#include "userspace-proxy/http/field_block.h"
#include "userspace-proxy/http/message.h"
#include "userspace-proxy/net/intrusive_list.h"

namespace weft::proxy {

class Http2Session;

// How a stream ended, for those who decide whether its request may be repeated.
enum class Http2StreamEnd : uint8_t {
  kComplete,  // both sides said all they had to say
  kRefused,   // RFC 9113 §8.7: not processed; may be sent again elsewhere
  kCancelled,
  kReset,           // by the peer, with another code
  kProtocol,        // we reset it, because the peer broke the rules on it
  kConnectionLost,  // the session ended with the stream still open
};

class Http2Stream : public ListNode<> {
 public:
  Http2Stream() = default;
  // Ends the stream with CANCEL when it is still open.
  virtual ~Http2Stream();
  Http2Stream(const Http2Stream&) = delete;
  Http2Stream& operator=(const Http2Stream&) = delete;

  int32_t id() const { return id_; }
  // Known to a session, so open at least on one side.
  bool attached() const { return session_ != nullptr; }
  Http2Session* session() const { return session_; }

 protected:
  // A request head, or a response head, interim ones included; the receiver may take the block by swapping.
  // `last`: END_STREAM came with it.
  virtual void head_received(FieldBlock& block, bool last) = 0;
  // END_STREAM came with it.
  virtual void trailers_received(FieldBlock& block) = 0;
  // The bytes must be copied; credit for them is owed until Http2Session::accepted().
  virtual void data_received(std::string_view bytes) = 0;
  // END_STREAM on a DATA frame.
  virtual void end_received() = 0;
  // All that was offered is in the output; with payload referred to, its memory is in use until that is sent.
  virtual void payload_taken() = 0;
  // The peer broke the rules on it: it will be reset, and closed then.
  virtual void will_be_reset() {}
  // The session does not know the stream any more.
  virtual void stream_closed(Http2StreamEnd end) = 0;

 private:
  friend class Http2Session;
  friend class Http2Callbacks;

  // What we still have to say.
  enum class Sending : uint8_t { kHead, kPayload, kEnded };

  Http2Session* session_ = nullptr;
  int32_t id_ = 0;
  Sending sending_ = Sending::kHead;
  bool last_offered_ = false;
  bool reset_by_us_ = false;       // by our own decision
  bool heard_all_ = false;         // END_STREAM came
  bool broken_ = false;            // by nghttp2, for what the peer did on it
  uint32_t unaccepted_bytes_ = 0;  // payload received and not accepted
  uint32_t accepted_bytes_ = 0;    // since its window grew
  uint32_t grown_bytes_ = 0;       // by which its window is larger than at first
  size_t held_head_bytes_ = 0;
  std::span<const iovec> offered_;
  size_t offered_at_ = 0;  // into the first piece
  size_t offered_bytes_ = 0;
  std::span<const Header> trailers_;
};

}  // namespace weft::proxy
