// Http1DownstreamStream: one request and its response on an HTTP/1 client connection. Made by the connection
// for each exchange; knows at the end what may become of the connection. Worker thread only.
#pragma once

#include <optional>
#include <string>
#include <utility>

#include "userspace-proxy/exchange/context.h"
#include "userspace-proxy/exchange/downstream_stream.h"
#include "userspace-proxy/http/head_reader.h"
#include "userspace-proxy/http/socket_stream.h"

namespace weft::proxy {

class Http1DownstreamStream final : public DownstreamStream {
 public:
  // What the connection does after the exchange.
  enum class Next : uint8_t { kKeepAlive, kClose, kLinger, kReset, kHttp2 };
  // A request that goes on in HTTP/2 as its first stream.
  struct Upgraded {
    Http1TextPool<RequestHead>::Text text;
    std::string settings;  // the client's, as a SETTINGS payload
  };

  // `head_timeout_ms`: what is left for the request head; 0: no limit.
  Http1DownstreamStream(ProxyContext& context, Socket& socket, InputBuffer& input, uint64_t head_timeout_ms);
  ~Http1DownstreamStream() override;

  Next next() const { return next_; }
  // Once, with Next::kHttp2.
  Upgraded take_upgraded() { return Upgraded{std::move(text_), std::move(*http2_settings_)}; }

  bool read_request(Operation& operation) override;
  HeadStatus request_status() const override { return status_; }
  bool request_started() const override { return started_; }
  RequestHead& request() override { return text_->head; }
  BodySource& request_body() override { return source_; }
  void write_interim(const ResponseHead& head) override;
  void write_response(const ResponseHead& head) override;
  void write_local_reply(Outcome outcome) override;
  void write_tunnel_response(const ResponseHead& head) override;
  BodySink& response() override { return sink_; }
  void end(Outcome outcome) override;

 private:
  void on_head(int);
  void parse_head();
  void write_switch(const ResponseHead& agreed);
  bool parsed() const { return status_ == HeadStatus::kComplete; }
  // Nothing of the request is left on the connection.
  bool request_whole() const { return parsed() && source_.consumed(); }
  // Of the last message of a connection it must be known that it was sent.
  SocketSink::Delivery delivery() const {
    return close_ ? SocketSink::Delivery::kAwaited : SocketSink::Delivery::kPosted;
  }

  ProxyContext& context_;
  const uint64_t head_timeout_ms_;
  Http1TextPool<RequestHead>::Text text_;
  HeadReader reader_;
  SocketSource source_;
  SocketSink sink_;
  HeadStatus status_ = HeadStatus::kWaiting;
  Next next_ = Next::kReset;
  bool started_ = false;
  bool close_ = true;
  bool self_framed_ = true;  // the client can tell a cut response from a whole one
  bool tunnel_ = false;
  std::optional<std::string> http2_settings_;
  WaitSlot waiting_;
  Operation head_{this, method<&Http1DownstreamStream::on_head>};
};

}  // namespace weft::proxy
