// What nghttp2 calls while Http2Session receives or makes output. Only http2_session.cc includes this.
#pragma once

#include <nghttp2/nghttp2.h>

#include "userspace-proxy/http/http2_session.h"

namespace weft::proxy {

class Http2Callbacks {
 public:
  // Made once, shared by all sessions, never freed.
  static const nghttp2_session_callbacks* table();
  // Options for a role; likewise.
  static const nghttp2_option* options(Http2Session::Role role);
  static nghttp2_data_provider provider() { return nghttp2_data_provider{{.ptr = nullptr}, read_payload}; }

  // Opaque data of the PING that follows the notice of a graceful end.
  static constexpr uint8_t kShutdownPing[8] = {'w', 'e', 'f', 't', '-', 'e', 'n', 'd'};

 private:
  static Http2Session& self(void* user) { return *static_cast<Http2Session*>(user); }
  static Http2Stream* stream_of(nghttp2_session* session, int32_t id) {
    return static_cast<Http2Stream*>(nghttp2_session_get_stream_user_data(session, id));
  }

  static int begin_headers(nghttp2_session*, const nghttp2_frame* frame, void* user);
  static int header(nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name, size_t name_size,
                    const uint8_t* value, size_t value_size, uint8_t flags, void* user);
  static int invalid_header(nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name,
                            size_t name_size, const uint8_t* value, size_t value_size, uint8_t flags,
                            void* user);
  static int invalid_frame(nghttp2_session* library, const nghttp2_frame* frame, int error, void* user);
  static int frame_received(nghttp2_session*, const nghttp2_frame* frame, void* user);
  static int data_chunk(nghttp2_session*, uint8_t flags, int32_t id, const uint8_t* data, size_t size,
                        void* user);
  static int stream_close(nghttp2_session*, int32_t id, uint32_t code, void* user);
  static int frame_sent(nghttp2_session*, const nghttp2_frame* frame, void* user);
  static int frame_not_sent(nghttp2_session*, const nghttp2_frame* frame, int error, void* user);
  static ssize_t read_payload(nghttp2_session*, int32_t id, uint8_t* buffer, size_t size, uint32_t* flags,
                              nghttp2_data_source*, void* user);
  static int send_payload(nghttp2_session*, nghttp2_frame* frame, const uint8_t* header, size_t size,
                          nghttp2_data_source*, void* user);

  static int headers_received(Http2Session& session, const nghttp2_frame& frame);
  static int new_request(Http2Session& session, const nghttp2_frame& frame);
  static int refuse(Http2Session& session, int32_t id);
  static void reset_sent(Http2Session& session, Http2Stream* stream);
  static void payload_taken(Http2Stream& stream);
};

}  // namespace weft::proxy
