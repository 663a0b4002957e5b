// Counts the frames of one HTTP/2 connection against Http2Limits: floods end here. Pure, told the time; fed
// by Http2Session with all bytes before nghttp2 sees them, so that no frame passes uncounted.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/clock.h"
#include "userspace-proxy/http/http2_limits.h"

namespace weft::proxy {

class Http2FrameMeter {
 public:
  // `preface`: bytes before the first frame, the client's magic (RFC 9113 §3.4). `limits` must outlive this.
  Http2FrameMeter(const Http2Limits& limits, size_t preface) : limits_(limits), skip_(preface) {}

  // Finds the frames in the next bytes of the connection, cut anywhere. kNoFault, or what is too much.
  // Whether they are valid is for others to say.
  Http2Fault received(MonotonicNs now, std::string_view bytes);
  // We sent a DATA frame of that many bytes: the peer may answer with credit and measure with PING.
  void data_sent(size_t bytes);
  // We sent one of less than kTinyWindow bytes, and had more: the peer's windows were that small.
  Http2Fault window_was_tiny(MonotonicNs now);
  // We reset a stream because of what the peer sent on it.
  Http2Fault provoked_reset(MonotonicNs now);

  // Begun so far; a head is one, whatever number it is cut into.
  uint64_t frames() const { return frames_; }
  // What has begun and is not whole: the preface with the first frame's header, a head over all its frames,
  // any frame but DATA. 0 for nothing; else a number that is another one when it is another one.
  uint64_t unfinished() const {
    if (in_head_) return frames_;
    if (frames_ == 0 || header_size_ > 0) return frames_ + 1;
    return skip_ > 0 && !in_data_ ? frames_ : 0;
  }

 private:
  class Bucket {
   public:
    bool take(MonotonicNs now, const Http2Rate& rate);
    // Tokens beyond the burst, for frames that are answers to ours; at most a burst of them.
    void earn(uint32_t tokens, const Http2Rate& rate);

   private:
    uint64_t spent_micro_ = 0;  // millionths of a token; 0 is a full bucket
    uint64_t earned_ = 0;
    MonotonicNs last_{};
  };

  // RFC 9113 §4.1.
  struct Frame {
    uint32_t length = 0;
    uint8_t type = 0;
    uint8_t flags = 0;
    uint32_t stream = 0;
    uint32_t parent = 0;  // of a PRIORITY frame (RFC 7540 §6.3)
  };
  static constexpr size_t kHeaderBytes = 9;
  static constexpr size_t kParentBytes = 4;

  // All bytes of the frame's header that are looked at; more for one type.
  size_t wanted() const;
  uint32_t number_at(size_t at) const;
  Http2Fault header_received(MonotonicNs now);
  Http2Fault frame_received(MonotonicNs now, const Frame& frame);
  Http2Fault charge(MonotonicNs now, Bucket& bucket, const Http2Rate& rate, Http2Fault fault) {
    return bucket.take(now, rate) ? Http2Fault::kNoFault : fault;
  }
  Http2Fault head_frame(MonotonicNs now, const Frame& frame);

  const Http2Limits& limits_;
  Bucket resets_, provoked_resets_, pings_, settings_, priorities_, window_updates_, tiny_windows_, empty_,
      unknown_;
  uint64_t frames_ = 0;
  bool in_head_ = false;        // END_HEADERS did not come yet
  bool in_data_ = false;        // the last frame is DATA
  uint32_t continuations_ = 0;  // of the head being received
  size_t skip_;                 // bytes until the next frame header
  size_t header_size_ = 0;      // bytes of it that came
  std::array<uint8_t, kHeaderBytes + kParentBytes> header_{};
};

}  // namespace weft::proxy
