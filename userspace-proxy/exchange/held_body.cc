// HeldBody of held_body.h.
#include "userspace-proxy/exchange/held_body.h"

namespace weft::proxy {

bool HeldBody::fill(Operation& operation, BodySource& from, size_t bytes) {
  from_ = &from;
  wanted_ = bytes;
  if (read()) return true;
  waiting_.park(operation);
  return false;
}

void HeldBody::stop() { more_.cancel(); }

bool HeldBody::read() {
  while (kept_.size() < wanted_ && from_->state() == State::kMore) {
    Pieces pieces;
    from_->gather(pieces);
    for (const iovec& piece : pieces.all())
      kept_.append(static_cast<const char*>(piece.iov_base), piece.iov_len);
    bytes_ += pieces.bytes();
    of_pod_.add(pieces.bytes());
    of_all_.add(pieces.bytes());
    if (pieces.bytes() > 0)
      from_->accepted();
    else if (from_->state() == State::kMore && !from_->wait(more_))
      return false;
  }
  return true;
}

void HeldBody::on_more(int) {
  if (read()) waiting_.run();
}

void HeldBody::gather(Pieces& pieces) {
  if (at_ >= kept_.size()) return from_->gather(pieces);
  pieces.add(std::string_view(kept_).substr(at_));
  given_ = kept_.size() - at_;
}

void HeldBody::accepted() {
  if (given_ == 0) return from_->accepted();
  at_ += given_;
  given_ = 0;
  if (at_ == kept_.size()) drop();
}

// The server has it, and its answer may take long.
void HeldBody::drop() {
  of_pod_.subtract(kept_.size());
  of_all_.subtract(kept_.size());
  kept_ = {};
  at_ = 0;
}

BodySource::State HeldBody::state() const {
  return at_ + given_ < kept_.size() ? State::kMore : from_->state();
}

}  // namespace weft::proxy
