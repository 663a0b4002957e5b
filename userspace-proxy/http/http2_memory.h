// Memory of nghttp2 for one connection: size classes with free lists per thread, so that a stream costs no
// malloc once its worker is warm, and a limit per connection, so that no peer can grow it without end. A
// block is freed on the thread that took it; free ones go back to the system when the thread ends. Used by
// Http2Session only.
#pragma once

#include <nghttp2/nghttp2.h>

#include <cstddef>

namespace weft::proxy {

class Http2Memory {
 public:
  explicit Http2Memory(size_t limit);
  Http2Memory(const Http2Memory&) = delete;
  Http2Memory& operator=(const Http2Memory&) = delete;

  // For nghttp2_session_*_new3; lives as long as this.
  nghttp2_mem* hooks() { return &hooks_; }
  size_t in_use() const { return in_use_; }
  // A request was refused; nghttp2 says NGHTTP2_ERR_NOMEM.
  bool exhausted() const { return exhausted_; }

  void* take(size_t size);
  void give(void* block);
  void* resize(void* block, size_t size);

 private:
  nghttp2_mem hooks_;
  size_t limit_;
  size_t in_use_ = 0;
  bool exhausted_ = false;
};

}  // namespace weft::proxy
