// One client connection of the load loop: idle, connecting, writing or reading, one request at a time. Owned
// and driven by Load; it reports how each request ended exactly once and never retries one.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/clock.h"
#include "base/fd.h"
#include "tools/bench/counters.h"
#include "tools/bench/response_reader.h"

namespace weft::bench {

class Load;

class LoadConnection {
 public:
  explicit LoadConnection(Load& load);

  bool idle() const { return state_ == State::kIdle; }
  MonotonicNs deadline() const { return deadline_; }
  const ResponseReader& reader() const { return reader_; }

  void start(MonotonicNs due, MonotonicNs deadline);
  void on_ready(uint32_t events);
  void on_timeout() { fail(Failure::kTimeout); }

 private:
  enum class State : uint8_t { kIdle, kConnecting, kWriting, kReading };

  void dial();
  void finish_connect();
  void write_request();
  void read_response();
  void handle_end_of_stream();
  void complete();
  void fail(Failure failure);
  bool watch(uint32_t events);

  Load& load_;
  State state_ = State::kIdle;
  UniqueFd socket_;
  uint32_t watched_ = 0;
  MonotonicNs due_ = 0;
  MonotonicNs deadline_ = 0;
  size_t written_ = 0;
  bool reused_ = false;
  ResponseReader reader_;
};

}  // namespace weft::bench
