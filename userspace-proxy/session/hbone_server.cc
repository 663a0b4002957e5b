// HboneServer of hbone_server.h.
#include "userspace-proxy/session/hbone_server.h"

#include "base/log.h"
#include "userspace-proxy/upstream/hbone_pool.h"

namespace weft::proxy {
namespace {

constexpr uint64_t kHandshakeMs = 10'000;
// What the peer sent before it heard that this ends.
constexpr uint64_t kGraceMs = 1'000;
constexpr uint64_t kQuietMs = 10'000;
constexpr uint64_t kPingMs = 20'000;
constexpr Http2Limits kLimits = HbonePool::hbone_limits();

}  // namespace

HboneServer::HboneServer(ProxyContext& context, Owner& owner, std::shared_ptr<CaptureOrigin> origin,
                         const SocketAddress& client)
    : context_(context),
      owner_(owner),
      origin_(std::move(origin)),
      peer_{client, {}, {}},
      socket_(context.loop),
      input_(context.buffers, &origin_->use->buffered_bytes) {
  origin_->handshakes.push_back(*this);
  ++origin_->handshake_count;
}

HboneServer::~HboneServer() { stop(); }

void HboneServer::start(UniqueFd fd) {
  set_tcp_options(fd.get());
  local_ = local_address(fd.get());
  if (!socket_.open(std::move(fd), true)) return end();
  socket_.charge_to(origin_->use->buffered_bytes);
  context_.loop.arm(timer_, kBeginningMs);
  begin_tls();
}

void HboneServer::identities_changed() {
  if (state_ == State::kHandshake && tls_ == nullptr) begin_tls();
}

// Nothing, while the pod has no certificate.
void HboneServer::begin_tls() {
  const std::shared_ptr<TlsContext> context = context_.tls.find(origin_->workload_uid());
  if (context == nullptr) return;
  context_.loop.arm(timer_, kHandshakeMs);
  tls_ = start_tls(context_.loop, socket_, context, TlsRole::kServer, {});
  if (tls_ == nullptr) return end();
  if (tls_->handshake(handshake_)) on_handshake(handshake_.result);
}

void HboneServer::on_handshake(int result) {
  if (result == 0) return serve();
  if (may_log())
    log::info("peer_refused", {{"workload", origin_->workload_uid()},
                               {"peer", peer_.address.to_string()},
                               {"fault", label(tls_->fault())}});
  end();
}

// One line a second says enough of peers that come again and again.
bool HboneServer::may_log() {
  const MonotonicNs now = context_.loop.now();
  if (now < context_.next_http2_fault_line) return false;
  context_.next_http2_fault_line = now + kNsPerSecond;
  return true;
}

void HboneServer::serve() {
  if (!owner_.proved(*this)) return end();
  state_ = State::kServing;
  note_rules();
  --origin_->handshake_count;
  origin_->tunnel_servers.push_back(*this);
  origin_->use->connections.add(1);
  peer_.id = tls_->peer();
  peer_.name = peer_.id.to_string();
  transport_.reset(
      new Http2Transport(context_.loop, socket_, input_, Http2Session::Role::kServer, kLimits, *this));
  context_.loop.arm(timer_, kQuietMs);
  transport_->start();
  if (context_.draining) drain();
}

Http2Stream* HboneServer::new_stream(size_t) {
  if (state_ != State::kServing && state_ != State::kClosing) return nullptr;
  auto* stream = new TunnelSocket(*transport_, *this, origin_->use->buffered_bytes);
  ++streams_;
  tunnels_.push_back(*new InboundTunnel(context_, *this, origin_, peer_, local_, *stream));
  return stream;
}

InboundTunnel* HboneServer::of(const TunnelSocket& stream) {
  for (InboundTunnel* each = tunnels_.front(); each != nullptr; each = tunnels_.after(*each)) {
    if (each->stream() == &stream) return each;
  }
  return nullptr;
}

void HboneServer::tunnel_head(TunnelSocket& stream, FieldBlock& block, bool) {
  if (InboundTunnel* tunnel = of(stream)) tunnel->asked(block.find(":method"), block.find(":authority"));
}

void HboneServer::tunnel_lost(TunnelSocket& stream, Http2StreamEnd) {
  if (InboundTunnel* tunnel = of(stream)) tunnel->lost();
}

void HboneServer::tunnel_freed(TunnelSocket&) {
  if (--streams_ == 0 && state_ == State::kEnded) context_.loop.retire(std::unique_ptr<Retirable>(this));
}

void HboneServer::tunnel_ended(InboundTunnel& tunnel) {
  tunnel.unlink();
  context_.loop.retire(std::unique_ptr<Retirable>(&tunnel));
  if (state_ == State::kClosing && tunnels_.empty()) context_.loop.arm(timer_, kGraceMs);
}

// False: tunnels that were judged by the last that was noted are still judged rightly.
bool HboneServer::note_rules() {
  const Snapshot& snapshot = context_.current->snapshot();
  const uint32_t source = source_of(*origin_, snapshot);
  if (source == kNone || snapshot.sources[source].authorizations == nullptr) return true;
  const Source& now = snapshot.sources[source];
  const bool reads_tokens = now.authentication != nullptr;
  const bool same_reading = reads_tokens == reads_tokens_ && now.opaque_ports == opaque_ports_;
  if (same_reading && *now.authorizations == judged_by_) return false;
  judged_by_ = *now.authorizations;
  reads_tokens_ = reads_tokens;
  opaque_ports_ = now.opaque_ports;
  return true;
}

// Most snapshots change neither policies nor who reads tokens.
void HboneServer::recheck() {
  if (!note_rules()) return;
  for (InboundTunnel* each = tunnels_.front(); each != nullptr;) {
    InboundTunnel* next = tunnels_.after(*each);
    each->recheck();
    each = next;
  }
}

void HboneServer::drain() {
  // In the handshake: serve() does it.
  if (state_ != State::kServing) return;
  state_ = State::kClosing;
  transport_->session().begin_shutdown();
  transport_->output_due();
  for (InboundTunnel* each = tunnels_.front(); each != nullptr;) {
    InboundTunnel* next = tunnels_.after(*each);
    each->drain();
    each = next;
  }
  if (tunnels_.empty()) context_.loop.arm(timer_, kGraceMs);
}

void HboneServer::on_timer() {
  if (state_ == State::kHandshake && tls_ == nullptr && may_log())
    log::warn("identity_missing", {{"workload", origin_->workload_uid()},
                                   {"peer", peer_.address.to_string()},
                                   {"next", "peers want mutual TLS; see `weft cert list`"}});
  if (state_ == State::kHandshake || (state_ == State::kClosing && tunnels_.empty())) return end();
  if (heard_) {
    heard_ = ping_pending_ = false;
  } else if (ping_pending_) {
    return end();
  } else {
    ping_pending_ = true;
    transport_->session().send_ping();
    transport_->output_due();
  }
  context_.loop.arm(timer_, ping_pending_ ? kPingMs : kQuietMs);
}

void HboneServer::end() {
  if (state_ == State::kEnded) return;
  stop();
  owner_.ended(*this);
  if (streams_ == 0) context_.loop.retire(std::unique_ptr<Retirable>(this));
}

// Sockets go before the session that they are streams of.
void HboneServer::stop() {
  if (state_ == State::kEnded) return;
  if (state_ == State::kHandshake) {
    --origin_->handshake_count;
  } else {
    origin_->use->connections.subtract(1);
  }
  ListNode<PodTag>::unlink();
  state_ = State::kEnded;
  timer_.cancel();
  handshake_.cancel();
  ++streams_;  // nobody retires this from in here
  while (InboundTunnel* tunnel = tunnels_.pop_front()) {
    tunnel->cut();
    context_.loop.retire(std::unique_ptr<Retirable>(tunnel));
  }
  if (transport_ != nullptr) transport_->close();
  --streams_;
  socket_.close();
  input_.clear();
  tls_ = nullptr;
}

}  // namespace weft::proxy
