// Http2FrameMeter: token buckets by kind of frame.
#include "userspace-proxy/http/http2_frame_meter.h"

#include <nghttp2/nghttp2.h>

#include <algorithm>

namespace weft::proxy {
namespace {

constexpr uint64_t kMicro = 1'000'000;
// Beyond the RFC's core types, deployed peers use these (RFC 7838, RFC 8336, RFC 9218).
constexpr uint8_t kPriorityUpdate = 0x10;

}  // namespace

bool Http2FrameMeter::Bucket::take(MonotonicNs now, const Http2Rate& rate) {
  const uint64_t elapsed_us = (now - last_) / 1000;
  if (elapsed_us > 0) {
    // A second or more of a rate at a time: no overflow whatever the clock says.
    const uint64_t regained = std::min<uint64_t>(elapsed_us, 3600 * kMicro) * rate.per_second;
    spent_micro_ -= std::min(spent_micro_, regained);
    last_ = now;
  }
  if (earned_ > 0) {
    --earned_;
    return true;
  }
  if (spent_micro_ + kMicro > uint64_t{rate.burst} * kMicro) return false;
  spent_micro_ += kMicro;
  return true;
}

void Http2FrameMeter::Bucket::earn(uint32_t tokens, const Http2Rate& rate) {
  earned_ = std::min<uint64_t>(earned_ + tokens, rate.burst);
}

Http2Fault Http2FrameMeter::received(MonotonicNs now, std::string_view bytes) {
  while (!bytes.empty()) {
    if (skip_ > 0) {
      const size_t count = std::min(skip_, bytes.size());
      skip_ -= count;
      bytes.remove_prefix(count);
      continue;
    }
    const size_t count = std::min(wanted() - header_size_, bytes.size());
    std::copy_n(bytes.begin(), count, header_.begin() + header_size_);
    header_size_ += count;
    bytes.remove_prefix(count);
    if (header_size_ < wanted()) continue;
    const Http2Fault fault = header_received(now);
    if (fault != Http2Fault::kNoFault) return fault;
  }
  return Http2Fault::kNoFault;
}

size_t Http2FrameMeter::wanted() const {
  const bool parent =
      header_size_ >= kHeaderBytes && header_[3] == NGHTTP2_PRIORITY && (number_at(0) >> 8) >= kParentBytes;
  return parent ? kHeaderBytes + kParentBytes : kHeaderBytes;
}

uint32_t Http2FrameMeter::number_at(size_t at) const {
  return uint32_t{header_[at]} << 24 | uint32_t{header_[at + 1]} << 16 | uint32_t{header_[at + 2]} << 8 |
         header_[at + 3];
}

Http2Fault Http2FrameMeter::header_received(MonotonicNs now) {
  constexpr uint32_t kStreamBits = 0x7fffffff;
  const size_t parent_bytes = wanted() - kHeaderBytes;
  header_size_ = 0;
  Frame frame{number_at(0) >> 8, header_[3], header_[4], number_at(5) & kStreamBits};
  skip_ = frame.length - parent_bytes;
  if (parent_bytes > 0) frame.parent = number_at(kHeaderBytes) & kStreamBits;
  return frame_received(now, frame);
}

Http2Fault Http2FrameMeter::frame_received(MonotonicNs now, const Frame& frame) {
  if (frame.type != NGHTTP2_CONTINUATION) ++frames_;
  in_data_ = frame.type == NGHTTP2_DATA;
  switch (frame.type) {
    case NGHTTP2_DATA:
      if (frame.length > 0 || (frame.flags & NGHTTP2_FLAG_END_STREAM) != 0) return Http2Fault::kNoFault;
      return charge(now, empty_, limits_.empty_frames, Http2Fault::kEmptyFrames);
    case NGHTTP2_HEADERS:
    case NGHTTP2_CONTINUATION:
      return head_frame(now, frame);
    case NGHTTP2_PRIORITY:
      // The library does not look at priorities, nor at what is wrong with them.
      if (frame.stream == frame.parent || frame.stream == 0) return Http2Fault::kProtocol;
      [[fallthrough]];
    case kPriorityUpdate:
      return charge(now, priorities_, limits_.priorities, Http2Fault::kPriorities);
    case NGHTTP2_RST_STREAM:
      return charge(now, resets_, limits_.resets, Http2Fault::kResets);
    case NGHTTP2_SETTINGS:
      if ((frame.flags & NGHTTP2_FLAG_ACK) != 0) return Http2Fault::kNoFault;
      return charge(now, settings_, limits_.settings, Http2Fault::kSettings);
    case NGHTTP2_PING:
      if ((frame.flags & NGHTTP2_FLAG_ACK) != 0) return Http2Fault::kNoFault;
      return charge(now, pings_, limits_.pings, Http2Fault::kPings);
    case NGHTTP2_WINDOW_UPDATE:
      return charge(now, window_updates_, limits_.window_updates, Http2Fault::kWindowUpdates);
    default:
      return charge(now, unknown_, limits_.unknown_frames, Http2Fault::kUnknownFrames);
  }
}

Http2Fault Http2FrameMeter::head_frame(MonotonicNs now, const Frame& frame) {
  if (frame.type == NGHTTP2_HEADERS) {
    continuations_ = 0;
    // Credit for a new stream and a priority of it are due.
    window_updates_.earn(2, limits_.window_updates);
    priorities_.earn(2, limits_.priorities);
  } else if (++continuations_ > limits_.max_continuations) {
    return Http2Fault::kContinuations;
  }
  in_head_ = (frame.flags & NGHTTP2_FLAG_END_HEADERS) == 0;
  if (frame.length > 0 || (frame.flags & NGHTTP2_FLAG_END_HEADERS) != 0) return Http2Fault::kNoFault;
  return charge(now, empty_, limits_.empty_frames, Http2Fault::kEmptyFrames);
}

void Http2FrameMeter::data_sent(size_t bytes) {
  // What is left of a window after full frames is small by nature.
  constexpr size_t kFullFrame = 1024;
  if (bytes >= kFullFrame) tiny_windows_.earn(1, limits_.tiny_windows);
  // Peers give credit for the stream and for the connection; some in several steps.
  window_updates_.earn(10, limits_.window_updates);
  pings_.earn(1, limits_.pings);
}

Http2Fault Http2FrameMeter::window_was_tiny(MonotonicNs now) {
  return charge(now, tiny_windows_, limits_.tiny_windows, Http2Fault::kTinyWindows);
}

Http2Fault Http2FrameMeter::provoked_reset(MonotonicNs now) {
  return charge(now, provoked_resets_, limits_.provoked_resets, Http2Fault::kProvokedResets);
}

}  // namespace weft::proxy
