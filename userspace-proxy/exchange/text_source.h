// TextSource: a body that is there already. Worker thread only.
#pragma once

#include <string_view>

#include "userspace-proxy/http/message_stream.h"

namespace weft::proxy {

class TextSource final : public BodySource {
 public:
  // The text must stay until it is sent.
  void start(std::string_view text) {
    rest_ = text;
    given_ = 0;
  }
  void gather(Pieces& pieces) override {
    pieces.add(rest_);
    given_ = rest_.size();
  }
  void accepted() override {
    rest_.remove_prefix(given_);
    given_ = 0;
  }
  State state() const override { return given_ == rest_.size() ? State::kDone : State::kMore; }
  bool wait(Operation&) override { return true; }
  std::span<const Header> trailers() override { return {}; }

 private:
  std::string_view rest_;
  size_t given_ = 0;
};

}  // namespace weft::proxy
