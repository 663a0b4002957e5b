// Payload that arrived for one HTTP/2 stream and was not accepted yet: a list of blocks, each about as large
// as what came, so that a stream of a few bytes holds a few bytes. Bounded by the windows we advertise. Used
// by Http2Message; blocks come from the frame pool. Worker thread only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "userspace-proxy/http/message_stream.h"

namespace weft::proxy {

class PayloadQueue {
 public:
  PayloadQueue() = default;
  ~PayloadQueue() { drop(bytes_); }
  PayloadQueue(const PayloadQueue&) = delete;
  PayloadQueue& operator=(const PayloadQueue&) = delete;

  void append(std::string_view bytes);
  // Adds views of what is here, as far as there is room; they stay until drop(). Returns their bytes.
  size_t gather(Pieces& pieces) const;
  // Forgets the first bytes.
  void drop(size_t bytes);
  size_t bytes() const { return bytes_; }

 private:
  struct Block {
    Block* next;
    uint32_t size;  // of the block with this head
    uint32_t begin, end;
    char* text() { return reinterpret_cast<char*>(this + 1); }
    size_t room() const { return size - sizeof(Block) - end; }
  };
  static constexpr size_t kSmallestBlock = 512;
  static constexpr size_t kLargestBlock = 8192;

  Block* first_ = nullptr;
  Block* last_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace weft::proxy
