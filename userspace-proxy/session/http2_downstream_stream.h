// Http2DownstreamStream: one request and its response on an HTTP/2 client connection. Made by the connection
// for each stream; the exchange tells its story on it. Worker thread only.
#pragma once

#include <array>
#include <string_view>

#include "userspace-proxy/exchange/context.h"
#include "userspace-proxy/exchange/downstream_stream.h"
#include "userspace-proxy/http/http2_message.h"

namespace weft::proxy {

class Http2DownstreamStream final : public DownstreamStream, public Http2Message {
 public:
  // Told inside the session; acts from the loop.
  class Host {
   public:
    virtual ~Host() = default;
    virtual void request_arrived() = 0;
    // It will be lost, and need not be begun.
    virtual void request_withdrawn() = 0;
    virtual void stream_lost(Http2StreamEnd end) = 0;
  };

  Http2DownstreamStream(ProxyContext& context, Http2Transport& transport, Host& host);
  ~Http2DownstreamStream() override;

  // The request came by HTTP/1.1, whole, and is answered here.
  void adopt(Http1TextPool<RequestHead>::Text text);

  bool read_request(Operation&) override { return true; }
  HeadStatus request_status() const override { return status_; }
  bool request_started() const override { return true; }
  RequestHead& request() override { return text_->head; }
  BodySource& request_body() override { return *this; }
  void write_interim(const ResponseHead& head) override;
  void write_response(const ResponseHead& head) override;
  // For gRPC, a response of trailers only: grpc-status by the table of gRPC's "HTTP to gRPC status code
  // mapping".
  void write_local_reply(Outcome outcome) override;
  void write_tunnel_response(const ResponseHead& head) override;
  BodySink& response() override { return *this; }
  // A gRPC response that its deadline cut short ends with the status that says so.
  void end(Outcome outcome) override;

  bool send(Operation& operation, Pieces& pieces, bool last, std::span<const Header> trailers) override;

 private:
  void head_arrived(bool last) override;
  void will_be_reset() override { host_.request_withdrawn(); }
  void closed_by(Http2StreamEnd end) override;
  bool is_grpc() const;
  void submit(const Http2Fields& fields, bool last);

  ProxyContext& context_;
  Host& host_;
  Http1TextPool<RequestHead>::Text text_;
  HeadStatus status_ = HeadStatus::kWaiting;
  bool tunnel_ = false;
  // Body of a local reply.
  std::array<char, 64> reply_;
  size_t reply_size_ = 0;
};

}  // namespace weft::proxy
