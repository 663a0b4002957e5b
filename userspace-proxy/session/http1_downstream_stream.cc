// Http1DownstreamStream of http1_downstream_stream.h.
#include "userspace-proxy/session/http1_downstream_stream.h"

#include "userspace-proxy/http/http1_writer.h"

namespace weft::proxy {

Http1DownstreamStream::Http1DownstreamStream(ProxyContext& context, Socket& socket, InputBuffer& input)
    : context_(context),
      text_(context.texts.take()),
      reader_(context.loop, socket, input),
      source_(socket, input),
      sink_(socket) {
  // The text is used again: nothing of the last request must show in this one's record.
  RequestHead& request = text_->head;
  request.method = request.authority = request.path = {};
  request.major_version = 1;
}

Http1DownstreamStream::~Http1DownstreamStream() { context_.texts.give(std::move(text_)); }

bool Http1DownstreamStream::read_request(Operation& operation) {
  if (reader_.start(head_, text_->in, context_.limits.max_head_bytes, context_.limits.head_timeout_ms)) {
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
           outcome == Outcome::kOverload;
  text_->out.clear();
  proxy::write_local_reply(outcome, close_, parsed() && request().method == "HEAD", &text_->out);
  sink_.start(text_->out, SocketSink::Framing::kPlain, delivery());
}

void Http1DownstreamStream::write_tunnel_response(const ResponseHead& head) {
  tunnel_ = true;
  text_->out.clear();
  // 2xx to CONNECT is a tunnel as it stands.
  write_response_head(head, ResponseForm{.upgrade = head.status == 101}, &text_->out);
  sink_.start(text_->out, SocketSink::Framing::kByteStream);
  source_.start(BodyKind::kUntilClose, 0);
}

void Http1DownstreamStream::end(Outcome outcome) {
  reader_.cancel();
  source_.stop();
  if (tunnel_) {
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
