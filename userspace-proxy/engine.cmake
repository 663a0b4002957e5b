# The data path: sockets, HTTP/1, upstream pools, exchanges, sessions, worker.
weft_library(weft_proxy_net
  SOURCES net/acceptor.cc net/buffer.cc net/epoll_backend.cc net/epoll_socket.cc net/event_loop.cc net/frame_pool.cc net/io_backend.cc
    net/io_choice.cc net/netns.cc net/port_window.cc net/socket.cc net/system_calls.cc net/timer_wheel.cc net/uring_backend.cc
    net/uring_listener.cc net/uring_ring.cc net/uring_socket.cc net/wait_policy.cc
  DEPS weft_base PkgConfig::LIBURING absl::synchronization)

weft_library(weft_proxy_http
  SOURCES http/authority.cc http/body_decoder.cc http/field_block.cc http/framing.cc
    http/grpc.cc http/h2c_upgrade.cc
    http/head_reader.cc http/head_text.cc http/http1_head.cc http/http1_writer.cc http/http2_callbacks.cc
    http/http2_fields.cc http/http2_frame_meter.cc http/http2_head.cc http/http2_memory.cc http/http2_message.cc
    http/http2_output.cc http/http2_session.cc http/http2_transport.cc http/payload_queue.cc
    http/client_hello.cc http/protocol_detect.cc http/reason_phrase.cc http/socket_stream.cc http/tunnel_socket.cc http/websocket_key.cc
  DEPS weft_base weft_proxy_config weft_proxy_net PkgConfig::NGHTTP2 OpenSSL::Crypto absl::strings)

weft_library(weft_proxy_engine
  SOURCES policy/check_message.cc admission_limits.cc worker.cc upstream/balancer.cc upstream/connector.cc upstream/hbone_pool.cc upstream/http1_upstream.cc
    upstream/http2_upstream.cc upstream/pool.cc upstream/stream_request.cc upstream/hash_table.cc upstream/outlier_detector.cc
    upstream/shared_clusters.cc upstream/endpoint_set.cc exchange/affinity.cc exchange/action_state.cc exchange/admission.cc exchange/exchange.cc exchange/exchange_action.cc exchange/exchange_check.cc exchange/exchange_gateway.cc exchange/external_check.cc exchange/held_body.cc exchange/exchange_inbound.cc exchange/exchange_report.cc
    exchange/fair_share.cc exchange/own_response.cc exchange/pump.cc exchange/tcp_exchange.cc session/downstream_connection.cc session/downstream_gateway.cc session/downstream_inbound.cc
    exchange/mirror.cc exchange/replay_source.cc route/cors.cc route/retry_policy.cc route/edit_headers.cc
    session/http1_downstream_stream.cc session/http2_connection.cc session/http2_downstream_stream.cc
    session/hbone_server.cc session/hbone_servers.cc session/inbound_tunnel.cc
  DEPS weft_proxy_net weft_proxy_http weft_proxy_tls weft_external_auth_proto absl::flat_hash_map)
