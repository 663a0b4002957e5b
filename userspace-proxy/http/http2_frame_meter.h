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
  // We sent a DATA frame: the peer may answer with credit and measure with PING.
  void data_sent();
  // We reset a stream because of what the peer sent on it.
  Http2Fault provoked_reset(MonotonicNs now);

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
  };
  static constexpr size_t kHeaderBytes = 9;

  Http2Fault frame_received(MonotonicNs now, const Frame& frame);
  Http2Fault charge(MonotonicNs now, Bucket& bucket, const Http2Rate& rate, Http2Fault fault) {
    return bucket.take(now, rate) ? Http2Fault::kNoFault : fault;
  }
  Http2Fault head_frame(MonotonicNs now, const Frame& frame);

  const Http2Limits& limits_;
  Bucket resets_, provoked_resets_, pings_, settings_, priorities_, window_updates_, empty_, unknown_;
  uint32_t continuations_ = 0;  // of the head being received
  size_t skip_;                 // bytes until the next frame header
  size_t header_size_ = 0;      // bytes of it that came
  std::array<uint8_t, kHeaderBytes> header_{};
};

}  // namespace weft::proxy
