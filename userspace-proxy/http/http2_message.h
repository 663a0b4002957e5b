// Http2Message: what a stream of either side has in common: the head that came, payload both ways as the pump
// moves it, trailers. Derived by Http2DownstreamStream and Http2UpstreamStream. Wakes those who wait from the
// loop, never inside the session. Worker thread only.
#pragma once

#include <optional>

#include "userspace-proxy/http/http2_transport.h"
#include "userspace-proxy/http/message_stream.h"
#include "userspace-proxy/http/payload_queue.h"

namespace weft::proxy {

class Http2Message : public Http2Stream, public BodySource, public BodySink {
 public:
  explicit Http2Message(Http2Transport& transport) : transport_(transport) {}

  // BodySource
  void gather(Pieces& pieces) override;
  void accepted() override;
  State state() const override;
  bool wait(Operation& operation) override;
  std::span<const Header> trailers() override { return trailers_; }

  // BodySink
  bool send(Operation& operation, Pieces& pieces, bool last, std::span<const Header> trailers) override;
  void finished() override { sent_whole_ = true; }

 protected:
  // An operation that waits for this stream.
  class Waiting {
   public:
    ~Waiting();
    void park(Operation& operation) { operation.park(&operation_); }
    // Runs it from the loop, later in this turn.
    void complete(EventLoop& loop, int result);

   private:
    Operation* operation_ = nullptr;
  };

  Http2Transport& transport() { return transport_; }
  FieldBlock& head_block() { return head_; }
  bool ended() const { return received_end_; }
  bool sent_whole() const { return sent_whole_; }
  std::optional<Http2StreamEnd> closed() const { return closed_; }
  // The head was submitted; with `last` nothing follows it.
  void head_submitted(bool last) { head_was_last_ = last; }
  // The message came whole in another way than through the session.
  void came_whole() { received_end_ = true; }
  // Says how both messages ended, and leaves the session.
  void leave(uint32_t code);

  // A head is in head_block().
  virtual void head_arrived(bool last) = 0;
  virtual void closed_by(Http2StreamEnd end) = 0;

 private:
  void head_received(FieldBlock& block, bool last) final;
  void trailers_received(FieldBlock& block) final;
  void data_received(std::string_view bytes) final;
  void end_received() final;
  void payload_taken() final;
  void stream_closed(Http2StreamEnd end) final;

  Http2Transport& transport_;
  FieldBlock head_, trailer_block_;
  PooledVector<Header> trailers_;
  PayloadQueue queue_;
  size_t gathered_ = 0;
  bool received_end_ = false;
  bool bad_trailers_ = false;
  bool head_was_last_ = false;
  bool sent_whole_ = false;
  std::optional<Http2StreamEnd> closed_;
  Waiting reader_, writer_;
};

}  // namespace weft::proxy
