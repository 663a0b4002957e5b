// Bytes an HTTP/2 session wants on the wire, as pieces for one writev: frame headers and control frames are
// kept here, payload is referred to where it lies, or copied when that is cheaper than a piece. Filled by
// Http2Session::output(); the caller clears it when everything was sent. No I/O.
#pragma once

#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace weft::proxy {

class Http2Output {
 public:
  // What one writev of ours takes (Socket::kMaxPieces), with room for one frame more.
  static constexpr size_t kMaxPieces = 40;
  static constexpr size_t kFullBytes = 64 * 1024;

  // Payload up to so many bytes is copied, so that its memory is free at once.
  explicit Http2Output(size_t copy_up_to) : copy_up_to_(copy_up_to) {}

  void frame(std::string_view bytes);
  void payload(std::string_view bytes);
  // Another frame should wait for the next writev.
  bool full() const { return count_ + 4 > kMaxPieces || bytes_ >= kFullBytes; }
  // Payload pieces that the next DATA frame may have.
  size_t room() const { return count_ + 2 > kMaxPieces ? 0 : kMaxPieces - count_ - 2; }
  bool empty() const { return bytes_ == 0; }
  size_t bytes() const { return bytes_; }
  bool refers_to_payload() const { return referred_; }

  // Valid until the next frame() or payload().
  std::span<const iovec> pieces();
  void clear();

 private:
  // Of payload referred to; or a stretch of kept_ when `data` is null.
  struct Piece {
    const char* data = nullptr;
    size_t at = 0, size = 0;
  };

  void keep(std::string_view bytes);

  size_t copy_up_to_;
  std::string kept_;
  std::array<Piece, kMaxPieces> parts_;
  std::array<iovec, kMaxPieces> pieces_;
  size_t count_ = 0;
  size_t bytes_ = 0;
  bool referred_ = false;
};

}  // namespace weft::proxy
