// Http2Session around nghttp2: life of the session and of its streams. The events are in http2_callbacks.cc.
#include "userspace-proxy/http/http2_session.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "userspace-proxy/http/http2_callbacks.h"

namespace weft::proxy {
namespace {

// RFC 8441 §3.
constexpr auto kEnableConnectProtocol = NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL;

const uint8_t* bytes_of(std::string_view text) { return reinterpret_cast<const uint8_t*>(text.data()); }

void put_u32(std::string* out, uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) out->push_back(static_cast<char>(value >> shift));
}

}  // namespace

Http2Stream::~Http2Stream() {
  if (session_ != nullptr) session_->detach(*this);
}

Http2Session::Http2Session(Role role, const Http2Limits& limits, Owner& owner)
    : role_(role),
      limits_(limits),
      owner_(owner),
      memory_(limits.max_library_bytes),
      meter_(limits, role == Role::kServer ? NGHTTP2_CLIENT_MAGIC_LEN : 0) {
  const nghttp2_option* options = Http2Callbacks::options(role);
  if (role == Role::kServer) {
    nghttp2_session_server_new3(&session_, Http2Callbacks::table(), this, options, memory_.hooks());
  } else {
    nghttp2_session_client_new3(&session_, Http2Callbacks::table(), this, options, memory_.hooks());
  }
  if (session_ == nullptr) {
    fail(Http2Fault::kMemory);
  } else {
    submit_settings();
  }
}

Http2Session::~Http2Session() {
  while (Http2Stream* stream = streams_.front()) stream_ended(*stream, Http2StreamEnd::kConnectionLost);
  nghttp2_session_del(session_);
}

void Http2Session::submit_settings() {
  // Only a client may say something about push, and only a server about tunnels.
  const nghttp2_settings_entry of_role = role_ == Role::kClient
                                             ? nghttp2_settings_entry{NGHTTP2_SETTINGS_ENABLE_PUSH, 0}
                                             : nghttp2_settings_entry{kEnableConnectProtocol, 1};
  const std::array<nghttp2_settings_entry, 5> entries = {{
      {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, limits_.max_concurrent_streams},
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, limits_.stream_window_bytes},
      {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, limits_.max_head_bytes},
      {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
      of_role,
  }};
  nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, entries.data(), entries.size());
  nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0,
                                        static_cast<int32_t>(limits_.connection_window_bytes));
}

Http2Fault Http2Session::receive(MonotonicNs now, std::string_view bytes) {
  taken_ = bytes.size();
  paused_ = false;
  if (state_ == State::kFailed) return fault_;
  now_ = now;
  const Http2Fault flood = meter(bytes);
  if (flood != Http2Fault::kNoFault) {
    fail(flood);
    return fault_;
  }
  pause_at_ = decoded_head_bytes_ + (limits_.decoded_at_once == 0 ? UINT32_MAX : limits_.decoded_at_once);
  const ssize_t taken = nghttp2_session_mem_recv(session_, bytes_of(bytes), bytes.size());
  if (paused_ && taken >= 0) taken_ = static_cast<size_t>(taken);
  metered_ -= taken_;
  if (memory_.exhausted()) {
    fail(Http2Fault::kMemory);
  } else if (taken == NGHTTP2_ERR_FLOODED) {
    fail(Http2Fault::kQueued);
  } else if (taken < 0) {
    fail(fault_ == Http2Fault::kNoFault ? Http2Fault::kProtocol : fault_);
  } else if (nghttp2_session_get_outbound_queue_size(session_) > limits_.max_queued_frames) {
    fail(Http2Fault::kQueued);
  }
  return fault_;
}

// What is given again was counted.
Http2Fault Http2Session::meter(std::string_view bytes) {
  if (bytes.size() <= metered_) return Http2Fault::kNoFault;
  bytes.remove_prefix(metered_);
  metered_ += bytes.size();
  return meter_.received(now_, bytes);
}

void Http2Session::output(MonotonicNs now, Http2Output* out) {
  now_ = now;
  out_ = out;
  while (state_ != State::kFailed && !out->full()) {
    const uint8_t* data = nullptr;
    const size_t before = out->bytes();
    const ssize_t size = nghttp2_session_mem_send(session_, &data);
    if (size > 0) out->frame({reinterpret_cast<const char*>(data), static_cast<size_t>(size)});
    if (size < 0 && state_ != State::kFailed)
      fail(memory_.exhausted() ? Http2Fault::kMemory : Http2Fault::kProtocol);
    if (size <= 0 && out->bytes() == before && !reset_answered()) break;
  }
  if (goaway_due_) write_goaway(out);
  out_ = nullptr;
}

bool Http2Session::wants_output() const {
  if (state_ == State::kFailed) return goaway_due_;
  return nghttp2_session_want_write(session_) != 0 || !answered_.empty();
}

bool Http2Session::done() const {
  if (state_ == State::kFailed) return !goaway_due_;
  return nghttp2_session_want_read(session_) == 0 && !wants_output();
}

void Http2Session::fail(Http2Fault fault) {
  if (state_ == State::kFailed) return;
  fault_ = fault;
  state_ = State::kFailed;
  goaway_due_ = true;
}

// By hand: after a failure nghttp2's queue is not to be trusted, and must not grow.
void Http2Session::write_goaway(Http2Output* out) {
  goaway_due_ = false;
  const std::string_view reason = label(fault_);
  const uint32_t code = fault_ == Http2Fault::kProtocol ? NGHTTP2_PROTOCOL_ERROR : NGHTTP2_ENHANCE_YOUR_CALM;
  std::string frame;
  const size_t length = 8 + reason.size();
  frame.append({0, 0, static_cast<char>(length), NGHTTP2_GOAWAY, 0});
  put_u32(&frame, 0);
  const int32_t last = session_ == nullptr ? 0 : nghttp2_session_get_last_proc_stream_id(session_);
  put_u32(&frame, static_cast<uint32_t>(last));
  put_u32(&frame, code);
  frame.append(reason);
  out->frame(frame);
}

bool Http2Session::upgrade(std::string_view settings, bool request_was_head, Http2Stream& stream) {
  if (nghttp2_session_upgrade2(session_, bytes_of(settings), settings.size(), request_was_head ? 1 : 0,
                               nullptr) != 0)
    return false;
  attach(stream, 1);
  if (role_ == Role::kServer) {
    stream.heard_all_ = true;
  } else {
    stream.sending_ = Http2Stream::Sending::kEnded;
  }
  return true;
}

void Http2Session::tiny_window() {
  const Http2Fault fault = meter_.window_was_tiny(now_);
  if (fault != Http2Fault::kNoFault) fail(fault);
}

void Http2Session::attach(Http2Stream& stream, int32_t id) {
  stream.session_ = this;
  stream.id_ = id;
  stream.sending_ = Http2Stream::Sending::kHead;
  stream.last_offered_ = stream.reset_by_us_ = stream.broken_ = stream.heard_all_ = false;
  stream.unaccepted_bytes_ = stream.accepted_bytes_ = stream.grown_bytes_ = 0;
  stream.held_head_bytes_ = 0;
  stream.offered_ = {};
  stream.offered_at_ = stream.offered_bytes_ = 0;
  nghttp2_session_set_stream_user_data(session_, id, &stream);
  streams_.push_back(stream);
  ++open_streams_;
}

void Http2Session::forget(Http2Stream& stream) {
  stream.unlink();
  stream.session_ = nullptr;
  --open_streams_;
  held_head_bytes_ -= stream.held_head_bytes_;
  grown_bytes_ -= stream.grown_bytes_;
}

void Http2Session::stream_ended(Http2Stream& stream, Http2StreamEnd end) {
  forget(stream);
  // Its object may go at any time now; the connection's window must not leak with it.
  if (stream.unaccepted_bytes_ > 0) nghttp2_session_consume_connection(session_, stream.unaccepted_bytes_);
  stream.unaccepted_bytes_ = 0;
  nghttp2_session_set_stream_user_data(session_, stream.id_, nullptr);
  stream.stream_closed(end);
}

bool Http2Session::can_open_stream() const {
  return state_ == State::kOpen && nghttp2_session_check_request_allowed(session_) != 0 &&
         open_streams_ < peer_max_streams();
}

uint32_t Http2Session::peer_max_streams() const {
  return nghttp2_session_get_remote_settings(session_, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
}

bool Http2Session::peer_knows_tunnels() const {
  return nghttp2_session_get_remote_settings(session_, kEnableConnectProtocol) == 1;
}

bool Http2Session::send_request(Http2Stream& stream, const Http2Fields& fields, bool last) {
  if (!can_open_stream()) return false;
  const nghttp2_data_provider provider = Http2Callbacks::provider();
  const std::span<const nghttp2_nv> nv = fields.span();
  const int32_t id =
      nghttp2_submit_request(session_, nullptr, nv.data(), nv.size(), last ? nullptr : &provider, &stream);
  if (id < 0) return false;
  attach(stream, id);
  stream.sending_ = last ? Http2Stream::Sending::kEnded : Http2Stream::Sending::kPayload;
  return true;
}

bool Http2Session::send_interim(Http2Stream& stream, const Http2Fields& fields) {
  const std::span<const nghttp2_nv> nv = fields.span();
  return stream.attached() && nghttp2_submit_headers(session_, NGHTTP2_FLAG_NONE, stream.id_, nullptr,
                                                     nv.data(), nv.size(), nullptr) == 0;
}

bool Http2Session::send_response(Http2Stream& stream, const Http2Fields& fields, bool last) {
  if (!stream.attached()) return false;
  const nghttp2_data_provider provider = Http2Callbacks::provider();
  const std::span<const nghttp2_nv> nv = fields.span();
  if (nghttp2_submit_response(session_, stream.id_, nv.data(), nv.size(), last ? nullptr : &provider) != 0) {
    reset(stream, NGHTTP2_INTERNAL_ERROR);
    return false;
  }
  stream.sending_ = last ? Http2Stream::Sending::kEnded : Http2Stream::Sending::kPayload;
  return true;
}

bool Http2Session::cut_response(Http2Stream& stream, const Http2Fields& trailers) {
  if (!stream.attached() || stream.reset_by_us_ || stream.sending_ != Http2Stream::Sending::kPayload)
    return false;
  offer(stream, {}, false, {});
  const std::span<const nghttp2_nv> nv = trailers.span();
  if (nghttp2_submit_trailer(session_, stream.id_, nv.data(), nv.size()) != 0) return false;
  stream.sending_ = Http2Stream::Sending::kEnded;
  return true;
}

void Http2Session::offer(Http2Stream& stream, std::span<const iovec> pieces, bool last,
                         std::span<const Header> trailers) {
  if (!stream.attached()) return;
  stream.offered_ = pieces;
  stream.offered_at_ = 0;
  stream.offered_bytes_ = 0;
  for (const iovec& piece : pieces) stream.offered_bytes_ += piece.iov_len;
  stream.last_offered_ = last;
  stream.trailers_ = trailers;
  nghttp2_session_resume_data(session_, stream.id_);
}

void Http2Session::accepted(Http2Stream& stream, uint32_t bytes) {
  if (!stream.attached()) return;
  stream.unaccepted_bytes_ -= bytes;
  nghttp2_session_consume(session_, stream.id_, bytes);
  grow_window(stream, bytes);
}

void Http2Session::grow_window(Http2Stream& stream, uint32_t accepted) {
  stream.accepted_bytes_ += accepted;
  const uint32_t window = limits_.stream_window_bytes + stream.grown_bytes_;
  if (stream.heard_all_ || window >= limits_.max_stream_window_bytes || stream.accepted_bytes_ < window)
    return;
  stream.accepted_bytes_ = 0;
  const uint32_t more = std::min(window, limits_.max_stream_window_bytes - window);
  const uint64_t at_first = uint64_t{limits_.max_concurrent_streams} * limits_.stream_window_bytes;
  if (at_first + grown_bytes_ + more > limits_.connection_window_bytes) return;
  stream.grown_bytes_ += more;
  grown_bytes_ += more;
  nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, stream.id_,
                                        static_cast<int32_t>(window + more));
}

void Http2Session::reset(Http2Stream& stream, uint32_t code) {
  if (!stream.attached() || stream.reset_by_us_) return;
  stream.reset_by_us_ = true;
  nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, stream.id_, code);
}

void Http2Session::detach(Http2Stream& stream) {
  if (!stream.attached()) return;
  const int32_t id = stream.id_;
  const bool reset = stream.reset_by_us_;
  forget(stream);
  if (stream.unaccepted_bytes_ > 0) nghttp2_session_consume(session_, id, stream.unaccepted_bytes_);
  stream.unaccepted_bytes_ = 0;
  nghttp2_session_set_stream_user_data(session_, id, nullptr);
  const bool said_all = stream.sending_ == Http2Stream::Sending::kEnded;
  // It closes by itself once what is queued is sent.
  if (said_all && stream.heard_all_ && !reset) return;
  // A whole response may come before the whole request (RFC 9113 §8.1).
  if (said_all && !reset && role_ == Role::kServer) return answered_.push_back(id);
  ++orphan_resets_;
  if (!reset) nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, id, NGHTTP2_CANCEL);
}

// True: there is something to say again.
bool Http2Session::reset_answered() {
  const size_t before = orphan_resets_;
  for (const int32_t id : answered_) {
    if (nghttp2_session_find_stream(session_, id) == nullptr) continue;
    ++orphan_resets_;
    nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, id, NGHTTP2_NO_ERROR);
  }
  answered_.clear();
  return orphan_resets_ > before;
}

void Http2Session::send_ping() { nghttp2_submit_ping(session_, NGHTTP2_FLAG_NONE, nullptr); }

void Http2Session::begin_shutdown() {
  if (state_ != State::kOpen) return;
  if (role_ == Role::kClient) return final_goaway();
  state_ = State::kNoticed;
  nghttp2_submit_shutdown_notice(session_);
  nghttp2_submit_ping(session_, NGHTTP2_FLAG_NONE, Http2Callbacks::kShutdownPing);
}

void Http2Session::final_goaway() {
  state_ = State::kDraining;
  nghttp2_submit_goaway(session_, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(session_),
                        NGHTTP2_NO_ERROR, nullptr, 0);
}

}  // namespace weft::proxy
