// HeldBody: a request's body whose beginning is read before the request goes on: a provider is asked with it.
// Then it gives what was read, and the rest as it comes. Worker thread only.
#pragma once

#include <string>

#include "userspace-proxy/http/message_stream.h"
#include "userspace-proxy/net/wait_slot.h"
#include "userspace-proxy/telemetry/counter.h"

namespace weft::proxy {

class HeldBody final : public BodySource {
 public:
  // What is kept counts in both, which outlive this.
  HeldBody(Gauge& of_pod, Gauge& of_all) : of_pod_(of_pod), of_all_(of_all) {}
  ~HeldBody() override {
    stop();
    drop();
  }
  HeldBody(const HeldBody&) = delete;
  HeldBody& operator=(const HeldBody&) = delete;

  // `from` outlives this. True when `bytes` of it, or all that there is, are here; else the operation runs
  // when they are.
  bool fill(Operation& operation, BodySource& from, size_t bytes);
  // Reads no more before it is asked to go on.
  void stop();
  // What was read, until all of it was given: what a source gave at once may be more than was asked for.
  std::string_view text() const { return kept_; }
  // All that was read, also when it is not kept any more.
  uint64_t bytes() const { return bytes_; }
  // It ended before its end.
  bool broken() const { return from_->state() == State::kReset || from_->state() == State::kBadFraming; }

  void gather(Pieces& pieces) override;
  void accepted() override;
  State state() const override;
  bool wait(Operation& operation) override { return at_ < kept_.size() || from_->wait(operation); }
  std::span<const Header> trailers() override { return from_->trailers(); }

 private:
  // False: the source has to be waited for.
  bool read();
  void on_more(int);
  void drop();

  Gauge& of_pod_;
  Gauge& of_all_;
  BodySource* from_ = nullptr;
  size_t wanted_ = 0;
  std::string kept_;
  uint64_t bytes_ = 0;
  size_t at_ = 0;     // of kept_: what comes next
  size_t given_ = 0;  // by gather() out of kept_
  WaitSlot waiting_;
  Operation more_{this, method<&HeldBody::on_more>};
};

}  // namespace weft::proxy
