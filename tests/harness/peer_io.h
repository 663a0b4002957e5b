// Blocking socket reads and writes for weft-test-peer, one Stream per connection, used by one thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/fd.h"

namespace weft::harness {

class Stream {
 public:
  explicit Stream(UniqueFd socket) : socket_(std::move(socket)) {}

  int fd() const { return socket_.get(); }
  bool write(std::string_view bytes);
  // At least one byte; empty at the end of the stream.
  std::string read_some();
  // Without its line end; nullopt when the stream ends before.
  std::optional<std::string> read_line();
  bool skip(uint64_t bytes);
  void finish_writing();
  // "10.77.1.10:4711"; "?" when unknown.
  std::string peer() const;
  std::string local() const;

 private:
  UniqueFd socket_;
  std::string buffer_;
};

}  // namespace weft::harness
