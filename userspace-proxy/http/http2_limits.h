// What a peer of an HTTP/2 connection may ask of us, and the closed list of ways to ask too much. Read by
// Http2FrameMeter and Http2Session; the defaults are those the field has proven, rounded.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace weft::proxy {

// X(kName, "label", "what the peer did"). The label stands in the GOAWAY frame's debug data and in the log.
#define WEFT_HTTP2_FAULTS(X)                                                                              \
  X(kNoFault, "none", "Nothing.")                                                                         \
  X(kProtocol, "protocol", "The peer broke the framing rules of RFC 9113.")                               \
  X(kResets, "resets", "It reset more streams than a client needs to (rapid reset, CVE-2023-44487).")     \
  X(kProvokedResets, "provoked_resets", "It made us reset streams by errors of its own (CVE-2025-8671).") \
  X(kPings, "pings", "It sent more PING frames than keep-alive and measuring need (CVE-2019-9512).")      \
  X(kSettings, "settings", "It kept changing its settings (CVE-2019-9515).")                              \
  X(kPriorities, "priorities", "It kept reordering priorities (CVE-2019-9513).")                          \
  X(kWindowUpdates, "window_updates", "It sent many more WINDOW_UPDATE frames than we sent DATA.")        \
  X(kTinyWindows, "tiny_windows", "It let us send a few bytes at a time (data dribble, CVE-2019-9511).")  \
  X(kEmptyFrames, "empty_frames", "It sent frames without content or end (CVE-2019-9518).")               \
  X(kContinuations, "continuations", "It split one head over too many frames (VU#421644).")               \
  X(kUnknownFrames, "unknown_frames", "It kept sending frame types that mean nothing to us.")             \
  X(kHeadFlood, "head_flood", "It kept adding to a head that was already refused as too large.")          \
  X(kQueued, "queued_frames", "It asked for answers and did not read them (CVE-2019-9517).")              \
  X(kMemory, "memory", "The connection needs more memory than one connection gets.")                      \
  X(kHeadTimeout, "head_timeout", "It began a head, or the connection, and did not finish it in time.")   \
  X(kStalled, "stalled", "It did not read what it was sent.")

enum class Http2Fault : uint8_t {
#define X(name, label, text) name,
  WEFT_HTTP2_FAULTS(X)
#undef X
};

inline constexpr int kHttp2FaultCount = 0
#define X(name, label, text) +1
    WEFT_HTTP2_FAULTS(X)
#undef X
    ;

constexpr std::string_view label(Http2Fault fault) {
  switch (fault) {
#define X(name, label, text) \
  case Http2Fault::name:     \
    return label;
    WEFT_HTTP2_FAULTS(X)
#undef X
  }
  return "?";
}

// A bucket of `burst` tokens that regains `per_second`.
struct Http2Rate {
  uint32_t burst = 0;
  uint32_t per_second = 0;
};

inline constexpr size_t kTinyWindow = 64;

struct Http2Limits {
  // Streams of the peer open at a time; advertised, above it REFUSED_STREAM.
  uint32_t max_concurrent_streams = 100;
  // Payload the peer may send before we give credit, per stream and in sum; at most 2^31-1.
  uint32_t stream_window_bytes = 128 * 1024;
  uint32_t connection_window_bytes = 1024 * 1024;
  // Above stream_window_bytes: the window of a stream whose payload is accepted doubles up to this, as long
  // as all windows together stay within the connection's, so that no stream ever waits for others to be read.
  uint32_t max_stream_window_bytes = 0;
  // One head, decoded: names, values and kFieldOverhead for each field, as RFC 9113 §6.5.2 counts.
  uint32_t max_head_bytes = 64 * 1024;
  uint32_t max_fields = 128;
  // Decoded heads of all streams together that are kept at a time.
  uint32_t max_held_head_bytes = 384 * 1024;
  // How much one call of Http2Session::receive() decodes, counted alike; at most one field more. Compression
  // makes little of what takes long to look at (CVE-2016-6581, CVE-2026-47774). 0: all of its bytes.
  uint32_t decoded_at_once = 0;
  uint32_t max_continuations = 8;
  // Control frames of ours that wait for the peer to read.
  uint32_t max_queued_frames = 1000;
  // Memory of the protocol library for this connection: tables, streams, queues.
  uint32_t max_library_bytes = 1024 * 1024;
  // How long the peer may leave one batch of our output, 64 KiB or less, unread.
  uint64_t stall_ms = 300'000;

  Http2Rate resets{500, 50};
  Http2Rate provoked_resets{100, 10};
  Http2Rate pings{500, 50};
  Http2Rate settings{50, 2};
  Http2Rate priorities{200, 10};
  Http2Rate window_updates{500, 50};
  // DATA frames that its windows cut to less than kTinyWindow bytes.
  Http2Rate tiny_windows{100, 10};
  Http2Rate empty_frames{20, 1};
  Http2Rate unknown_frames{100, 10};
};

// A server that fails may reset whatever it was sent; it gains nothing by it, the client's own budget counts.
constexpr Http2Limits upstream_http2_limits() {
  Http2Limits limits;
  limits.resets = Http2Rate{10'000, 1'000};
  limits.max_held_head_bytes = 2 * 1024 * 1024;
  return limits;
}

}  // namespace weft::proxy
