// LimitFields: what a response says about the rate limit that its request met: x-ratelimit-limit, -remaining,
// -reset, and Retry-After when it was refused. Keeps the text of the fields; worker thread only.
#pragma once

#include <array>
#include <charconv>
#include <cstdint>
#include <string_view>
#include <vector>

#include "userspace-proxy/http/message.h"
#include "userspace-proxy/route/rate_limiter.h"

namespace weft::proxy {

class LimitFields {
 public:
  // The fields refer to this. Seconds are rounded up: whoever waits that long finds a token.
  void add_refusal(const RateLimiter::Answer& answer, std::vector<Header>* headers) {
    headers->push_back(Header{"retry-after", text(3, seconds(answer.wait_ns))});
  }
  // In place of what the server may have said of limits of its own.
  void add_state(const RateLimiter::Answer& answer, std::vector<Header>* headers) {
    std::erase_if(*headers, [](const Header& field) {
      return equals_ignore_case(field.name, "x-ratelimit-limit") ||
             equals_ignore_case(field.name, "x-ratelimit-remaining") ||
             equals_ignore_case(field.name, "x-ratelimit-reset");
    });
    headers->push_back(Header{"x-ratelimit-limit", text(0, answer.limit)});
    headers->push_back(Header{"x-ratelimit-remaining", text(1, answer.remaining)});
    headers->push_back(Header{"x-ratelimit-reset", text(2, seconds(answer.full_ns))});
  }

 private:
  static uint64_t seconds(uint64_t ns) { return (ns + 999'999'999) / 1'000'000'000; }
  std::string_view text(size_t row, uint64_t value) {
    std::array<char, 20>& out = digits_[row];
    const char* end = std::to_chars(out.data(), out.data() + out.size(), value).ptr;
    return {out.data(), static_cast<size_t>(end - out.data())};
  }

  std::array<std::array<char, 20>, 4> digits_;
};

}  // namespace weft::proxy
