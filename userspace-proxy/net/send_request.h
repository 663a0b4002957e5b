// The pieces of one send that is under way, taken from a pool while it is: a socket without one holds
// nothing. Used by the sockets of both backends. Worker thread only.
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>

namespace weft::proxy {

inline constexpr size_t kMaxSendPieces = 40;

struct SendRequest {
  SendRequest* next = nullptr;  // in the pool
  msghdr message{};
  uint32_t first = 0, count = 0;  // of the pieces not yet sent
  std::array<iovec, kMaxSendPieces> pieces;

  std::span<const iovec> left() const { return std::span<const iovec>(pieces).subspan(first, count); }
  // Of what is left, which is not nothing.
  iovec first_byte() {
    sent(0);
    return {.iov_base = pieces[first].iov_base, .iov_len = 1};
  }
  // True when nothing is left.
  bool sent(size_t bytes) {
    while (count > 0 && bytes >= pieces[first].iov_len) {
      bytes -= pieces[first++].iov_len;
      --count;
    }
    if (count == 0) return true;
    pieces[first].iov_base = static_cast<char*>(pieces[first].iov_base) + bytes;
    pieces[first].iov_len -= bytes;
    return false;
  }
};

class SendRequestPool {
 public:
  SendRequestPool() = default;
  ~SendRequestPool() {
    while (SendRequest* request = free_) {
      free_ = request->next;
      delete request;
    }
  }
  SendRequestPool(const SendRequestPool&) = delete;
  SendRequestPool& operator=(const SendRequestPool&) = delete;

  SendRequest* take(std::span<const iovec> pieces) {
    SendRequest* request = free_;
    if (request == nullptr) {
      request = new SendRequest;
    } else {
      free_ = request->next;
      --free_count_;
    }
    request->first = 0;
    request->count = static_cast<uint32_t>(std::min(pieces.size(), kMaxSendPieces));
    std::copy_n(pieces.begin(), request->count, request->pieces.begin());
    return request;
  }
  void give(SendRequest* request) {
    if (free_count_ >= kMaxFree) {
      delete request;
      return;
    }
    request->next = free_;
    free_ = request;
    ++free_count_;
  }

 private:
  static constexpr size_t kMaxFree = 1024;
  SendRequest* free_ = nullptr;
  size_t free_count_ = 0;
};

}  // namespace weft::proxy
