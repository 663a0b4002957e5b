// Text of one HTTP/1 message on one side of an exchange: a head as received with what was read in it, and a
// head as sent. Pooled per worker, so that strings and header lists keep their memory.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "userspace-proxy/http/http1_head.h"

namespace weft::proxy {

template <typename Head>
struct Http1Text {
  HeadText in;
  Head head;
  std::string out;
};

template <typename Head>
class Http1TextPool {
 public:
  using Text = std::unique_ptr<Http1Text<Head>>;

  Text take() {
    if (free_.empty()) return std::make_unique<Http1Text<Head>>();
    Text text = std::move(free_.back());
    free_.pop_back();
    return text;
  }
  void give(Text text) {
    if (free_.size() >= kMaxFree) return;
    text->in.shrink(kKeepBytes);
    if (text->out.capacity() > kKeepBytes) std::string().swap(text->out);
    if constexpr (requires { text->head.rewritten; }) {
      if (text->head.rewritten.capacity() > kKeepBytes) std::string().swap(text->head.rewritten);
    }
    free_.push_back(std::move(text));
  }

 private:
  static constexpr size_t kMaxFree = 1024;
  static constexpr size_t kKeepBytes = 16 * 1024;
  std::vector<Text> free_;
};

}  // namespace weft::proxy
