// Fields of one HTTP/2 head or trailer section as they are decoded: text in one piece, a budget that counts
// what RFC 9113 §6.5.2 counts, so that compression buys the peer nothing. Filled by Http2Session, read by
// http2_head.h. Its memory is of the frame pool; kept when cleared.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "userspace-proxy/net/frame_allocator.h"

namespace weft::proxy {

// What a field costs beyond its text (RFC 7541 §4.1); also about what it costs us.
inline constexpr size_t kFieldOverhead = 32;

class FieldBlock {
 public:
  struct Field {
    std::string_view name, value;
  };
  // kTooLarge: the block is over its budget and nothing more is kept of it. kFlood: and far over.
  enum class Added : uint8_t { kKept, kTooLarge, kFlood };

  FieldBlock() = default;
  FieldBlock(FieldBlock&&) noexcept = default;
  FieldBlock& operator=(FieldBlock&&) noexcept = default;

  void clear();
  // Every field is charged, also one that is not kept.
  Added add(std::string_view name, std::string_view value, size_t max_bytes, size_t max_fields);

  size_t size() const { return slots_.size(); }
  // Valid until the next add() or append().
  Field operator[](size_t index) const;
  bool too_large() const { return too_large_; }
  // Decoded size of what is kept.
  size_t charge() const { return text_.size() + slots_.size() * kFieldOverhead; }
  // First value of a name, given in lower case; an empty view of null when there is none.
  std::string_view find(std::string_view name) const;

  // Space behind the fields for text that is made from them; views of earlier fields end.
  void reserve_extra(size_t bytes) { text_.reserve(text_.size() + bytes); }
  // Never reallocates after reserve_extra() of enough: views stay.
  std::string_view append(std::string_view piece);

 private:
  struct Slot {
    uint32_t at = 0, name_size = 0, value_size = 0;
  };
  // A peer that sends many times what we refuse is no client with a big cookie.
  static constexpr size_t kFloodFactor = 8;
  // Room for the usual head, so that it is not copied while it grows.
  static constexpr size_t kFirstText = 1000;
  static constexpr size_t kFirstSlots = 21;

  PooledString text_;
  PooledVector<Slot> slots_;
  size_t seen_ = 0;  // bytes charged, kept or not
  bool too_large_ = false;
};

}  // namespace weft::proxy
