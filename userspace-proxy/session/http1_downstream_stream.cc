// Http1DownstreamStream of http1_downstream_stream.h.
#include "userspace-proxy/session/http1_downstream_stream.h"

#include "userspace-proxy/http/h2c_upgrade.h"
#include "userspace-proxy/http/http1_writer.h"
#include "userspace-proxy/http/websocket_key.h"

namespace weft::proxy {

Http1DownstreamStream::Http1DownstreamStream(ProxyContext& context, Socket& socket, InputBuffer& input,
                                             uint64_t head_timeout_ms)
    : context_(context),
      head_timeout_ms_(head_timeout_ms),
      text_(context.texts.take()),
      reader_(context.loop, socket, input),
      source_(socket, input),
      sink_(socket) {
  // The text is used again: nothing of the last request must show in this one's record.
  RequestHead& request = text_->head;
  request.method = request.authority = request.path = {};
  request.major_version = 1;
}

Http1DownstreamStream::~Http1DownstreamStream() {
  if (text_ != nullptr) context_.texts.give(std::move(text_));
}

bool Http1DownstreamStream::read_request(Operation& operation) {
  if (reader_.start(head_, text_->in, context_.limits.max_head_bytes, head_timeout_ms_)) {
    parse_head();
    return true;
  }
  waiting_.park(operation);
  return false;
}

void Http1DownstreamStream::on_head(int) {
  parse_head();
  waiting_.run();
}

void Http1DownstreamStream::parse_head() {
  status_ = reader_.status();
  started_ = text_->in.started() || status_ == HeadStatus::kBad || status_ == HeadStatus::kTooLarge;
  if (!parsed()) return;
  switch (parse_request(text_->in.text(), &text_->head)) {
    case ParseResult::kComplete:
      break;
    case ParseResult::kTooLarge:
      status_ = HeadStatus::kTooLarge;
      return;
    case ParseResult::kNotImplemented:
      status_ = HeadStatus::kNotImplemented;
      return;
    case ParseResult::kBad:
    case ParseResult::kNeedMore:
      status_ = HeadStatus::kBad;
      return;
  }
  if (!context_.draining) http2_settings_ = http2_settings_of(request());
  if (http2_settings_) {
    // The exchange of the new stream tells of it.
    status_ = HeadStatus::kMoved;
    started_ = false;
    return;
  }
  close_ = !request().keep_alive;
  source_.start(request().body, request().content_length);
}

void Http1DownstreamStream::write_interim(const ResponseHead& head) {
  text_->out.clear();
  if (request().minor_version > 0) write_response_head(head, ResponseForm(), &text_->out);
  sink_.start(text_->out, SocketSink::Framing::kPlain);
}

void Http1DownstreamStream::write_response(const ResponseHead& head) {
  const uint8_t client_version = request().minor_version;
  const bool unframed = head.body == BodyKind::kUntilClose || head.body == BodyKind::kChunked;
  const bool chunked = unframed && client_version > 0;
  self_framed_ = !unframed || chunked;
  // While the request is not all here, nobody can say that it will be: the client must not use the connection
  // again.
  close_ = close_ || context_.draining || !self_framed_ || !request_whole();
  text_->out.clear();
  write_response_head(
      head, ResponseForm{.client_minor_version = client_version, .close = close_, .chunked = chunked},
      &text_->out);
  sink_.start(text_->out, chunked ? SocketSink::Framing::kChunked : SocketSink::Framing::kPlain, delivery());
}

void Http1DownstreamStream::write_local_reply(Outcome outcome) {
  close_ = close_ || !request_whole() || context_.draining || request().minor_version == 0 ||
           outcome == Outcome::kOverload || outcome == Outcome::kMisdirected;
  text_->out.clear();
  proxy::write_local_reply(outcome, close_, parsed() && request().method == "HEAD", &text_->out);
  sink_.start(text_->out, SocketSink::Framing::kPlain, delivery());
}

void Http1DownstreamStream::write_tunnel_response(const ResponseHead& head) {
  tunnel_ = true;
  text_->out.clear();
  const bool connect = request().method == "CONNECT";
  if (connect || head.status == 101) {
    // 2xx to CONNECT is a tunnel as it stands.
    write_response_head(head, ResponseForm{.upgrade = !connect}, &text_->out);
  } else {
    write_switch(head);
  }
  sink_.start(text_->out, SocketSink::Framing::kByteStream);
  source_.start(BodyKind::kUntilClose, 0);
}

// An HTTP/2 server agreed, by a status that says no more than that: the client gets 101, and the proof that
// it asks for.
void Http1DownstreamStream::write_switch(const ResponseHead& agreed) {
  ResponseHead head = agreed;
  head.status = 101;
  head.reason = "Switching Protocols";
  head.headers.push_back(Header{"Upgrade", request().find("upgrade").value_or("")});
  const auto key = request().find("sec-websocket-key");
  const WebSocketAccept accept = websocket_accept(key.value_or(""));
  if (key) head.headers.push_back(Header{"Sec-WebSocket-Accept", {accept.data(), accept.size()}});
  write_response_head(head, ResponseForm{.upgrade = true}, &text_->out);
}

void Http1DownstreamStream::end(Outcome outcome) {
  reader_.cancel();
  source_.stop();
  if (status_ == HeadStatus::kMoved) {
    next_ = Next::kHttp2;
  } else if (tunnel_) {
    next_ = outcome == Outcome::kOk ? Next::kClose : Next::kReset;
  } else if (!sink_.whole()) {
    next_ = self_framed_ ? Next::kClose : Next::kReset;
  } else if (!close_) {
    next_ = Next::kKeepAlive;
  } else {
    // What the client still sends must not meet a closed socket: the RST would take our response away.
    next_ = request_whole() ? Next::kClose : Next::kLinger;
  }
}

}  // namespace weft::proxy
