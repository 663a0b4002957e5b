// nghttp2's events: frames are metered, heads collected, payload handed on as views.
#include "userspace-proxy/http/http2_callbacks.h"

#include <algorithm>

namespace weft::proxy {
namespace {

std::string_view text(const uint8_t* bytes, size_t size) {
  return {reinterpret_cast<const char*>(bytes), size};
}

}  // namespace

const nghttp2_session_callbacks* Http2Callbacks::table() {
  static const nghttp2_session_callbacks* const table = [] {
    nghttp2_session_callbacks* made = nullptr;
    nghttp2_session_callbacks_new(&made);
    nghttp2_session_callbacks_set_on_begin_headers_callback(made, begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(made, header);
    nghttp2_session_callbacks_set_on_invalid_header_callback(made, invalid_header);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(made, invalid_frame);
    nghttp2_session_callbacks_set_on_frame_recv_callback(made, frame_received);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(made, data_chunk);
    nghttp2_session_callbacks_set_on_stream_close_callback(made, stream_close);
    nghttp2_session_callbacks_set_on_frame_send_callback(made, frame_sent);
    nghttp2_session_callbacks_set_on_frame_not_send_callback(made, frame_not_sent);
    nghttp2_session_callbacks_set_send_data_callback(made, send_payload);
    return made;
  }();
  return table;
}

const nghttp2_option* Http2Callbacks::options(Http2Session::Role role) {
  static const auto make = [](bool client) {
    nghttp2_option* made = nullptr;
    nghttp2_option_new(&made);
    nghttp2_option_set_no_auto_window_update(made, 1);
    nghttp2_option_set_no_closed_streams(made, 1);
    nghttp2_option_set_max_send_header_block_length(made, 256 * 1024);
    // Ours decides, and says why: Http2FrameMeter.
    nghttp2_option_set_stream_reset_rate_limit(made, UINT32_MAX, UINT32_MAX);
    if (client) {
      nghttp2_option_set_peer_max_concurrent_streams(made, 100);
      // A push that crosses our settings is closed by itself.
      nghttp2_option_set_max_reserved_remote_streams(made, 0);
    }
    return made;
  };
  static const nghttp2_option* const server_options = make(false);
  static const nghttp2_option* const client_options = make(true);
  return role == Http2Session::Role::kServer ? server_options : client_options;
}

int Http2Callbacks::begin_headers(nghttp2_session*, const nghttp2_frame*, void* user) {
  self(user).incoming_.clear();
  return 0;
}

int Http2Callbacks::header(nghttp2_session*, const nghttp2_frame*, const uint8_t* name, size_t name_size,
                           const uint8_t* value, size_t value_size, uint8_t, void* user) {
  Http2Session& session = self(user);
  const FieldBlock::Added added =
      session.incoming_.add(text(name, name_size), text(value, value_size), session.limits_.max_head_bytes,
                            session.limits_.max_fields);
  if (added == FieldBlock::Added::kFlood) {
    session.fault_ = Http2Fault::kHeadFlood;
    return NGHTTP2_ERR_CALLBACK_FAILURE;
  }
  session.decoded_head_bytes_ += name_size + value_size + kFieldOverhead;
  session.paused_ = session.decoded_head_bytes_ >= session.pause_at_;
  return session.paused_ ? NGHTTP2_ERR_PAUSE : 0;
}

// Without this nghttp2 would leave the field out and go on; the next hop must not see a request that its
// sender did not make.
int Http2Callbacks::invalid_header(nghttp2_session* library, const nghttp2_frame* frame, const uint8_t*,
                                   size_t, const uint8_t*, size_t, uint8_t, void*) {
  nghttp2_submit_rst_stream(library, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_PROTOCOL_ERROR);
  return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

// The library resets the stream with its next output.
int Http2Callbacks::invalid_frame(nghttp2_session* library, const nghttp2_frame* frame, int, void*) {
  if (Http2Stream* stream = stream_of(library, frame->hd.stream_id)) stream->will_be_reset();
  return 0;
}

int Http2Callbacks::frame_received(nghttp2_session* library, const nghttp2_frame* frame, void* user) {
  Http2Session& session = self(user);
  const bool ack = (frame->hd.flags & NGHTTP2_FLAG_ACK) != 0;
  switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
      return headers_received(session, *frame);
    case NGHTTP2_DATA:
      if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0) {
        if (Http2Stream* stream = stream_of(library, frame->hd.stream_id)) {
          stream->heard_all_ = true;
          stream->end_received();
        }
      }
      return 0;
    case NGHTTP2_SETTINGS:
      if (!ack) session.owner_.settings_received();
      return 0;
    case NGHTTP2_PING:
      if (!ack) return 0;
      if (session.state_ == Http2Session::State::kNoticed &&
          std::equal(kShutdownPing, kShutdownPing + sizeof(kShutdownPing), frame->ping.opaque_data)) {
        session.final_goaway();
      } else {
        session.owner_.ping_acknowledged();
      }
      return 0;
    case NGHTTP2_GOAWAY:
      session.owner_.goaway_received();
      return 0;
    default:
      return 0;
  }
}

int Http2Callbacks::headers_received(Http2Session& session, const nghttp2_frame& frame) {
  const bool last = (frame.hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
  ++session.heads_;
  if (frame.headers.cat == NGHTTP2_HCAT_REQUEST) return new_request(session, frame);
  Http2Stream* stream = stream_of(session.session_, frame.hd.stream_id);
  if (stream == nullptr) return 0;
  // A response says so in its first field; what has no pseudo-field is a trailer section.
  const bool head = session.role_ == Http2Session::Role::kClient && session.incoming_.size() > 0 &&
                    session.incoming_[0].name == ":status";
  session.held_head_bytes_ += session.incoming_.charge();
  stream->held_head_bytes_ += session.incoming_.charge();
  if (session.held_head_bytes_ > session.limits_.max_held_head_bytes) {
    session.reset(*stream, NGHTTP2_ENHANCE_YOUR_CALM);
    return 0;
  }
  stream->heard_all_ = last;
  if (head) {
    stream->head_received(session.incoming_, last);
  } else {
    stream->trailers_received(session.incoming_);
  }
  return 0;
}

int Http2Callbacks::new_request(Http2Session& session, const nghttp2_frame& frame) {
  const size_t charge = session.incoming_.charge();
  if (session.held_head_bytes_ + charge > session.limits_.max_held_head_bytes)
    return refuse(session, frame.hd.stream_id);
  Http2Stream* stream = session.owner_.new_stream(charge);
  if (stream == nullptr) return refuse(session, frame.hd.stream_id);
  session.attach(*stream, frame.hd.stream_id);
  session.held_head_bytes_ += charge;
  stream->held_head_bytes_ = charge;
  stream->heard_all_ = (frame.hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
  stream->head_received(session.incoming_, stream->heard_all_);
  return 0;
}

int Http2Callbacks::refuse(Http2Session& session, int32_t id) {
  nghttp2_submit_rst_stream(session.session_, NGHTTP2_FLAG_NONE, id, NGHTTP2_REFUSED_STREAM);
  return 0;
}

int Http2Callbacks::data_chunk(nghttp2_session* library, uint8_t, int32_t id, const uint8_t* data,
                               size_t size, void* user) {
  Http2Session& session = self(user);
  Http2Stream* stream = stream_of(library, id);
  if (stream == nullptr || stream->reset_by_us_) {
    nghttp2_session_consume(session.session_, id, size);
    return 0;
  }
  stream->unaccepted_bytes_ += static_cast<uint32_t>(size);
  stream->data_received(text(data, size));
  return 0;
}

int Http2Callbacks::stream_close(nghttp2_session* library, int32_t id, uint32_t code, void* user) {
  Http2Stream* stream = stream_of(library, id);
  if (stream == nullptr) return 0;
  Http2StreamEnd end = Http2StreamEnd::kReset;
  if (stream->broken_) {
    end = Http2StreamEnd::kProtocol;
  } else if (code == NGHTTP2_NO_ERROR) {
    end = Http2StreamEnd::kComplete;
  } else if (code == NGHTTP2_REFUSED_STREAM) {
    end = Http2StreamEnd::kRefused;
  } else if (code == NGHTTP2_CANCEL) {
    end = Http2StreamEnd::kCancelled;
  }
  self(user).stream_ended(*stream, end);
  return 0;
}

int Http2Callbacks::frame_sent(nghttp2_session* library, const nghttp2_frame* frame, void* user) {
  Http2Session& session = self(user);
  if (frame->hd.type == NGHTTP2_GOAWAY && frame->goaway.error_code != NGHTTP2_NO_ERROR)
    session.fault_ = Http2Fault::kProtocol;
  if (frame->hd.type == NGHTTP2_RST_STREAM) reset_sent(session, stream_of(library, frame->hd.stream_id));
  return 0;
}

// What we decided is no fault of the peer; every other reset it provoked.
void Http2Callbacks::reset_sent(Http2Session& session, Http2Stream* stream) {
  if (stream != nullptr && stream->reset_by_us_) return;
  if (stream == nullptr && session.orphan_resets_ > 0) {
    --session.orphan_resets_;
    return;
  }
  if (stream != nullptr) stream->broken_ = true;
  if (session.role_ == Http2Session::Role::kClient) return;
  const Http2Fault fault = session.meter_.provoked_reset(session.now_);
  if (fault != Http2Fault::kNoFault) session.fail(fault);
}

int Http2Callbacks::frame_not_sent(nghttp2_session* library, const nghttp2_frame* frame, int, void*) {
  if (frame->hd.type == NGHTTP2_HEADERS)
    nghttp2_submit_rst_stream(library, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_INTERNAL_ERROR);
  return 0;
}

void Http2Callbacks::payload_taken(Http2Stream& stream) {
  if (stream.last_offered_) stream.sending_ = Http2Stream::Sending::kEnded;
  stream.offered_ = {};
  stream.payload_taken();
}

ssize_t Http2Callbacks::read_payload(nghttp2_session* library, int32_t id, uint8_t*, size_t size,
                                     uint32_t* flags, nghttp2_data_source*, void* user) {
  Http2Session& session = self(user);
  Http2Stream* stream = stream_of(library, id);
  if (stream == nullptr) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  if (stream->offered_bytes_ == 0 && !stream->last_offered_) return NGHTTP2_ERR_DEFERRED;
  size_t count = 0;
  size_t at = stream->offered_at_;
  for (size_t i = 0; i < std::min(stream->offered_.size(), session.out_->room()) && count < size; ++i) {
    count += std::min(stream->offered_[i].iov_len - at, size - count);
    at = 0;
  }
  // `size` is what frames and windows allow.
  if (size < kTinyWindow && count == size && count < stream->offered_bytes_) session.tiny_window();
  *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
  if (count < stream->offered_bytes_ || !stream->last_offered_) return static_cast<ssize_t>(count);
  *flags |= NGHTTP2_DATA_FLAG_EOF;
  if (stream->trailers_.empty()) return static_cast<ssize_t>(count);
  *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
  Http2Fields trailers;
  trailers.add_trailers(stream->trailers_);
  nghttp2_submit_trailer(library, id, trailers.span().data(), trailers.span().size());
  // No DATA frame follows, so nothing else would say it.
  if (count == 0) payload_taken(*stream);
  return static_cast<ssize_t>(count);
}

int Http2Callbacks::send_payload(nghttp2_session* library, nghttp2_frame* frame, const uint8_t* header,
                                 size_t size, nghttp2_data_source*, void* user) {
  constexpr size_t kFrameHeaderBytes = 9;
  Http2Session& session = self(user);
  Http2Stream* stream = stream_of(library, frame->hd.stream_id);
  if (stream == nullptr) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  session.out_->frame(text(header, kFrameHeaderBytes));
  stream->offered_bytes_ -= size;
  session.meter_.data_sent(size);
  while (size > 0) {
    const iovec& piece = stream->offered_.front();
    const size_t take = std::min(piece.iov_len - stream->offered_at_, size);
    session.out_->payload({static_cast<const char*>(piece.iov_base) + stream->offered_at_, take});
    size -= take;
    stream->offered_at_ += take;
    if (stream->offered_at_ < piece.iov_len) break;
    stream->offered_ = stream->offered_.subspan(1);
    stream->offered_at_ = 0;
  }
  if (stream->offered_bytes_ == 0) payload_taken(*stream);
  return session.out_->full() ? NGHTTP2_ERR_PAUSE : 0;
}

}  // namespace weft::proxy
