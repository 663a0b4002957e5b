// Http2Output: neighbouring kept bytes are one piece.
#include "userspace-proxy/http/http2_output.h"

namespace weft::proxy {
namespace {

// Memory of one unusually large batch is given back.
constexpr size_t kKeepBytes = 128 * 1024;

}  // namespace

void Http2Output::keep(std::string_view bytes) {
  const bool extends = count_ > 0 && parts_[count_ - 1].data == nullptr;
  if (extends) {
    parts_[count_ - 1].size += bytes.size();
  } else {
    parts_[count_++] = Piece{nullptr, kept_.size(), bytes.size()};
  }
  kept_.append(bytes);
  bytes_ += bytes.size();
}

void Http2Output::frame(std::string_view bytes) {
  if (!bytes.empty()) keep(bytes);
}

void Http2Output::payload(std::string_view bytes) {
  if (bytes.empty()) return;
  if (bytes.size() <= copy_up_to_) return keep(bytes);
  parts_[count_++] = Piece{bytes.data(), 0, bytes.size()};
  bytes_ += bytes.size();
  referred_ = true;
}

std::span<const iovec> Http2Output::pieces() {
  for (size_t i = 0; i < count_; ++i) {
    const Piece& part = parts_[i];
    const char* data = part.data != nullptr ? part.data : kept_.data() + part.at;
    pieces_[i] = iovec{const_cast<char*>(data), part.size};
  }
  return {pieces_.data(), count_};
}

void Http2Output::clear() {
  kept_.clear();
  if (kept_.capacity() > kKeepBytes) std::string().swap(kept_);
  count_ = bytes_ = 0;
  referred_ = false;
}

}  // namespace weft::proxy
