// A message's payload as the exchange moves it, whatever version of HTTP is spoken on either side: BodySource
// gives views of what has come, BodySink takes them. Interfaces without I/O, implemented for HTTP/1 and TCP
// in socket_stream.h and for HTTP/2 by its connections; called by the pump. Worker thread only.
#pragma once

#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "userspace-proxy/http/message.h"
#include "userspace-proxy/net/operation.h"

namespace weft::proxy {

// How the wait for a head ended.
enum class HeadStatus : uint8_t {
  kWaiting,
  kComplete,
  kClosed,  // ended or reset before the head was complete
  kBad,     // not a valid head
  kTooLarge,
  kTimeout,
  kNotImplemented,  // valid, but with framing or a method that we do not speak
  kAborted,         // the one who waited gave up
  kMoved,           // the connection, and the request with it, goes on in another version of HTTP
};

// Views of payload, with room around them in which a sink puts its framing: payload is never copied for it.
class Pieces {
 public:
  static constexpr size_t kMax = 40;
  static constexpr size_t kFront = 2;  // head, chunk header
  static constexpr size_t kBack = 4;   // end of chunk, last chunk, trailers, end

  void clear() {
    begin_ = end_ = kFront;
    bytes_ = 0;
  }
  bool full() const { return end_ == kMax - kBack; }
  // Payload, in order; an empty view adds nothing. Not when full().
  void add(std::string_view payload) {
    if (payload.empty()) return;
    put(end_++, payload);
    bytes_ += payload.size();
  }
  // Payload alone, without framing.
  size_t bytes() const { return bytes_; }

  // For sinks: at most kFront in front (the last put is the first sent), at most kBack behind.
  void frame_front(std::string_view text) { put(--begin_, text); }
  void frame_back(std::string_view text) { put(end_++, text); }
  bool empty() const { return begin_ == end_; }
  std::span<const iovec> all() const { return std::span<const iovec>(&pieces_[begin_], end_ - begin_); }

 private:
  void put(size_t at, std::string_view text) {
    pieces_[at] = iovec{const_cast<char*>(text.data()), text.size()};
  }
  size_t begin_ = kFront;
  size_t end_ = kFront;
  size_t bytes_ = 0;
  std::array<iovec, kMax> pieces_;
};

// Payload as it comes from one side.
class BodySource {
 public:
  enum class State : uint8_t {
    kMore,
    kDone,        // gather() gave the last payload; trailers() is known
    kBadFraming,  // malformed: nothing more will come
    kReset,       // ended before the body did
  };

  virtual ~BodySource() = default;

  // Adds what is here to `pieces`, as far as there is room. The views stay until accepted(); not called again
  // before it when it gave anything.
  virtual void gather(Pieces& pieces) = 0;
  // The other side took all that gather() gave: its memory is free again, HTTP/2 gives window credit.
  virtual void accepted() = 0;
  virtual State state() const = 0;
  // When gather() gave nothing and the state is kMore: true when that may have changed already, else the
  // operation runs (its result says nothing) once it may have. At most one; cancelling it ends the wait.
  virtual bool wait(Operation& operation) = 0;
  // With kDone: fields fit to forward, views valid until the exchange ends.
  virtual std::span<const Header> trailers() = 0;
};

// Takes the payload of one message, after its head was written to the stream (write_request, write_response):
// the head goes out with the first send().
class BodySink {
 public:
  virtual ~BodySink() = default;

  // Sends the head if it still waits, then the payload; `last`: then the end of the message with `trailers`.
  // May add framing to `pieces`; both must stay until it is done. True when the transport accepted all of it
  // at once, else the operation runs then; its result is 0, or a negative errno when the other side is gone.
  // HTTP/2 accepts what its windows and its socket take. At most one at a time.
  virtual bool send(Operation& operation, Pieces& pieces, bool last, std::span<const Header> trailers) = 0;
  // A send() with `last` has succeeded: the message is whole (and a tunnel's direction ends, by FIN or
  // END_STREAM).
  virtual void finished() = 0;
};

}  // namespace weft::proxy
