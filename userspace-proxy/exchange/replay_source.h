// ReplaySource: a request's body that can be sent again: what is taken from the client is kept, up to a
// limit, until nobody may want it again. Worker thread only; keeps its memory.
#pragma once

#include <string>

#include "userspace-proxy/http/message_stream.h"

namespace weft::proxy {

class ReplaySource final : public BodySource {
 public:
  // Larger bodies are sent once.
  static constexpr size_t kMaxKept = 64 * 1024;

  // `from` outlives this.
  void start(BodySource& from);
  // Begins again with the first byte. Only if can_rewind(), and when nothing of it is being sent.
  void rewind();
  // What was taken, if can_rewind().
  std::string_view kept() const { return kept_; }
  // All that was taken from the client is still here.
  bool can_rewind() const { return !overflown_; }

  void gather(Pieces& pieces) override;
  void accepted() override;
  State state() const override;
  bool wait(Operation& operation) override { return at_ < kept_.size() || from_->wait(operation); }
  std::span<const Header> trailers() override { return from_->trailers(); }

 private:
  void keep(const Pieces& pieces);

  BodySource* from_ = nullptr;
  std::string kept_;
  size_t at_ = 0;        // of kept_: what comes next
  size_t replayed_ = 0;  // given by gather() out of kept_
  bool taken_ = false;   // gather() gave something of from_, which is in kept_ unless that is overflown
  bool overflown_ = false;
};

}  // namespace weft::proxy
