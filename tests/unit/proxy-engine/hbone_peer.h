// A server of HBONE that is the test's: any limit of streams, and its own loop, so that it says nothing while
// the test does not turn it. Answers each CONNECT with 200 and holds the tunnel.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "userspace-proxy/tls/tls_socket.h"
#include "userspace-proxy/upstream/hbone_pool.h"

namespace weft::proxy {

class HbonePeer final : private Http2Transport::Owner, private TunnelSocket::Host {
 public:
  HbonePeer(EventLoop& loop, UniqueFd fd, std::shared_ptr<TlsContext> context, uint32_t max_streams)
      : loop_(loop), socket_(loop), input_(loop.buffers()), limits_(HbonePool::hbone_limits()) {
    limits_.max_concurrent_streams = max_streams;
    socket_.open(std::move(fd), true);
    TlsSocket* tls = start_tls(loop, socket_, std::move(context), TlsRole::kServer, {});
    if (tls->handshake(handshake_)) on_handshake(handshake_.result);
  }
  ~HbonePeer() override {
    for (TunnelSocket* each : std::exchange(tunnels_, {})) each->abandon();
    if (transport_ != nullptr) transport_->close();
  }

  size_t tunnels() const { return tunnels_.size(); }
  // END_STREAM on each of its tunnels.
  void finish_sending() {
    for (TunnelSocket* each : tunnels_) each->shutdown_write();
  }
  // RST_STREAM on each.
  void reset_tunnels(uint32_t code) {
    for (TunnelSocket* each : tunnels_) transport_->session().reset(*each, code);
    transport_->output_due();
  }
  // GOAWAY, which names the last CONNECT that it has seen.
  void leave() {
    transport_->session().fail(Http2Fault::kProtocol);
    transport_->output_due();
  }

 private:
  Http2Stream* new_stream(size_t) override {
    tunnels_.push_back(new TunnelSocket(*transport_, *this, held_));
    return tunnels_.back();
  }
  void settings_received() override {}
  void goaway_received() override {}
  void ping_acknowledged() override {}
  void received(size_t) override {}
  void transport_ended() override {}
  size_t may_take(Operation&) override { return SIZE_MAX; }
  void tunnel_head(TunnelSocket& tunnel, FieldBlock&, bool) override {
    Http2Fields fields;
    fields.add_status(200);
    transport_->session().send_response(tunnel, fields, false);
    transport_->output_due();
  }
  void tunnel_lost(TunnelSocket& tunnel, Http2StreamEnd) override { tunnel.abandon(); }
  void tunnel_freed(TunnelSocket& tunnel) override { std::erase(tunnels_, &tunnel); }
  void on_handshake(int result) {
    if (result != 0) return;
    transport_.reset(new Http2Transport(loop_, socket_, input_, Http2Session::Role::kServer, limits_, *this));
    transport_->start();
  }

  EventLoop& loop_;
  Socket socket_;
  InputBuffer input_;
  Http2Limits limits_;
  Gauge held_;
  std::unique_ptr<Http2Transport> transport_;
  std::vector<TunnelSocket*> tunnels_;
  Operation handshake_{this, method<&HbonePeer::on_handshake>};
};

}  // namespace weft::proxy
