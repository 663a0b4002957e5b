// One direction of an HTTP/1 message, a tunnel or a TCP connection on a socket: SocketSource takes payload
// out of its framing, SocketSink puts it in. Used by the HTTP/1 streams of both sides and by TCP exchanges;
// knows nothing of heads but their bytes. Worker thread only.
#pragma once

#include <string>
#include <vector>

#include "userspace-proxy/http/body_decoder.h"
#include "userspace-proxy/http/message_stream.h"
#include "userspace-proxy/net/socket.h"
#include "userspace-proxy/net/wait_slot.h"

namespace weft::proxy {

class SocketSource final : public BodySource {
 public:
  SocketSource(Socket& socket, InputBuffer& input) : socket_(socket), input_(input) {}

  // `length` counts for BodyKind::kLength only.
  void start(BodyKind kind, uint64_t length);
  void stop() { recv_.cancel(); }
  // The whole body was taken and accepted: what follows in the input is the next message.
  bool consumed() const { return state_ == State::kDone && taken_ == 0; }

  void gather(Pieces& pieces) override;
  void accepted() override;
  State state() const override { return state_; }
  bool wait(Operation& operation) override;
  std::span<const Header> trailers() override;

 private:
  void received(int result);
  void on_received(int result);

  Socket& socket_;
  InputBuffer& input_;
  State state_ = State::kDone;
  size_t taken_ = 0;  // input bytes behind the pieces that gather() gave
  BodyDecoder decoder_;
  std::vector<Header> trailers_;
  WaitSlot waiting_;
  Operation recv_{this, method<&SocketSource::on_received>};
};

class SocketSink final : public BodySink {
 public:
  enum class Framing : uint8_t {
    kPlain,       // a length, no body, or a body that ends with the connection
    kChunked,     // RFC 9112 §7.1
    kByteStream,  // a tunnel or TCP: the end is a FIN
  };

  // kPosted: small messages go out within the turn and are not waited for (Socket::post); for connections
  // that stay open afterwards.
  enum class Delivery : uint8_t { kAwaited, kPosted };

  explicit SocketSink(Socket& socket) : socket_(socket) {}

  // `head`, which must stay, goes out with the first send().
  void start(std::string_view head, Framing framing, Delivery delivery = Delivery::kAwaited);
  // The last send() has succeeded.
  bool whole() const { return whole_; }

  bool send(Operation& operation, Pieces& pieces, bool last, std::span<const Header> trailers) override;
  void finished() override;

 private:
  static constexpr size_t kChunkHeaderBytes = 20;
  void frame_chunks(Pieces& pieces, bool last, std::span<const Header> trailers);

  Socket& socket_;
  Framing framing_ = Framing::kPlain;
  Delivery delivery_ = Delivery::kAwaited;
  bool whole_ = false;
  std::string_view head_;
  std::array<char, kChunkHeaderBytes> chunk_header_;
  std::string trailer_text_;
};

}  // namespace weft::proxy
