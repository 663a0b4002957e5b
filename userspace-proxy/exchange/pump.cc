// Pump of pump.h. One step is: send what is there, else end, else wait.
#include "userspace-proxy/exchange/pump.h"

namespace weft::proxy {

void Pump::begin(BodySource* source, BodySink& sink) {
  cancel();
  source_ = source;
  sink_ = &sink;
  bytes_ = payload_ = 0;
  end_ = PumpEnd::kRunning;
}

void Pump::start(BodySource& source, BodySink& sink, Lead lead) {
  begin(&source, sink);
  head_waits_ = lead == Lead::kHead;
  advance(0);
}

void Pump::flush(BodySink& sink, bool last) {
  begin(nullptr, sink);
  last_ = last;
  pieces_.clear();
  if (sink.send(send_, pieces_, last, {})) sent(send_.result);
}

void Pump::cancel() {
  wait_.cancel();
  send_.cancel();
  more_.cancel();
  if (end_ == PumpEnd::kRunning) end_ = PumpEnd::kAborted;
}

void Pump::abort() {
  if (end_ != PumpEnd::kRunning) return;
  cancel();
  waiter_.wake();
}

void Pump::finish(PumpEnd end) {
  cancel();
  end_ = end;
  observer_.pump_ended(*this);
  waiter_.wake();
}

void Pump::advance(int) {
  for (int i = 0; i < kMaxSteps; ++i) {
    if (!share_.may_go_on(account_, more_)) return;
    pieces_.clear();
    source_->gather(pieces_);
    payload_ = pieces_.bytes();
    last_ = source_->state() == BodySource::State::kDone;
    if (payload_ > 0 || head_waits_ || last_) {
      head_waits_ = false;
      std::span<const Header> trailers = last_ ? source_->trailers() : std::span<const Header>();
      if (!trailers.empty() && !observer_.trailers_pass(*this, trailers)) trailers = {};
      if (!sink_->send(send_, pieces_, last_, trailers)) return;
      if (!sent(send_.result)) return;
    } else if (source_->state() == BodySource::State::kBadFraming) {
      return finish(PumpEnd::kBadFraming);
    } else if (source_->state() == BodySource::State::kReset) {
      return finish(PumpEnd::kSourceReset);
    } else if (!source_->wait(wait_)) {
      return;
    }
  }
  loop_.next_turn(more_);
}

void Pump::on_sent(int result) {
  if (sent(result)) advance(0);
}

bool Pump::sent(int result) {
  if (result < 0) {
    finish(PumpEnd::kSinkReset);
    return false;
  }
  if (payload_ > 0) {
    source_->accepted();
    FairShare::charge(account_, payload_);
    observer_.pump_moved(*this);
  }
  bytes_ += payload_;
  payload_ = 0;
  if (last_) sink_->finished();
  if (!last_ && source_ != nullptr) return true;
  finish(PumpEnd::kDone);
  return false;
}

}  // namespace weft::proxy
