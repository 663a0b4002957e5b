// Bounded byte queue from one worker to one reader: whole messages or nothing. A full ring drops and counts, so that a slow disk
// or agent never slows a request. Used for access-log lines and observed exchanges.
#pragma once

#include <atomic>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace weft::proxy {

class ByteRing {
 public:
  // `capacity` is a power of two.
  explicit ByteRing(size_t capacity) : bytes_(capacity) {}

  // Producer only. False: dropped and counted.
  bool push(std::string_view first, std::string_view second = {}) {
    const uint64_t head = head_.load(std::memory_order_relaxed);
    const size_t size = first.size() + second.size();
    if (size > bytes_.size() - (head - tail_.load(std::memory_order_acquire))) {
      dropped_.store(dropped_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
      return false;
    }
    copy_in(head, first);
    copy_in(head + first.size(), second);
    // Sequentially consistent: pairs with Wakeup, see there.
    head_.store(head + size);
    return true;
  }

  // Consumer only: appends everything that is there.
  void drain(std::string* out) {
    const uint64_t tail = tail_.load(std::memory_order_relaxed);
    const size_t size = head_.load() - tail;
    const size_t at = tail & (bytes_.size() - 1);
    const size_t until_end = bytes_.size() - at < size ? bytes_.size() - at : size;
    out->append(bytes_.data() + at, until_end);
    out->append(bytes_.data(), size - until_end);
    tail_.store(tail + size, std::memory_order_release);
  }
  bool empty() const { return head_.load() == tail_.load(std::memory_order_relaxed); }

  // Any thread.
  uint64_t dropped() const { return dropped_.load(std::memory_order_relaxed); }

 private:
  void copy_in(uint64_t position, std::string_view text) {
    const size_t at = position & (bytes_.size() - 1);
    const size_t until_end = bytes_.size() - at < text.size() ? bytes_.size() - at : text.size();
    std::memcpy(bytes_.data() + at, text.data(), until_end);
    std::memcpy(bytes_.data(), text.data() + until_end, text.size() - until_end);
  }

  std::vector<char> bytes_;
  alignas(64) std::atomic<uint64_t> head_{0};
  std::atomic<uint64_t> dropped_{0};
  alignas(64) std::atomic<uint64_t> tail_{0};
};

}  // namespace weft::proxy
