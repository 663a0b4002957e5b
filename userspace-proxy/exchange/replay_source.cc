// ReplaySource of replay_source.h.
#include "userspace-proxy/exchange/replay_source.h"

namespace weft::proxy {

void ReplaySource::start(BodySource& from) {
  from_ = &from;
  kept_.clear();
  at_ = replayed_ = 0;
  taken_ = overflown_ = false;
}

void ReplaySource::rewind() {
  // What was given last is kept: the source may give what follows.
  if (taken_) from_->accepted();
  taken_ = false;
  at_ = replayed_ = 0;
}

void ReplaySource::keep(const Pieces& pieces) {
  if (overflown_) return;
  if (kept_.size() + pieces.bytes() > kMaxKept) {
    overflown_ = true;
    return;
  }
  for (const iovec& piece : pieces.all())
    kept_.append(static_cast<const char*>(piece.iov_base), piece.iov_len);
}

void ReplaySource::gather(Pieces& pieces) {
  if (at_ < kept_.size()) {
    pieces.add(std::string_view(kept_).substr(at_));
    replayed_ = kept_.size() - at_;
    return;
  }
  from_->gather(pieces);
  if (pieces.bytes() == 0) return;
  taken_ = true;
  keep(pieces);
  // They are sent from the source's own memory.
  if (!overflown_) at_ = kept_.size();
}

void ReplaySource::accepted() {
  at_ += replayed_;
  replayed_ = 0;
  if (!taken_) return;
  taken_ = false;
  from_->accepted();
}

BodySource::State ReplaySource::state() const {
  return at_ + replayed_ < kept_.size() ? State::kMore : from_->state();
}

}  // namespace weft::proxy
