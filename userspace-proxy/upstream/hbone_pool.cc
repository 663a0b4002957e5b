// The client side of HBONE; see hbone_pool.h.
#include "userspace-proxy/upstream/hbone_pool.h"

#include <algorithm>

#include "base/log.h"

namespace weft::proxy {
namespace {

constexpr uint64_t kHandshakeMs = 10'000;
// A connection with tunnels on which nothing came for so long is asked whether it lives, and has as long as
// the second to answer; one without tunnels is kept for the third.
constexpr uint64_t kQuietMs = 10'000;
constexpr uint64_t kPingMs = 20'000;
constexpr uint64_t kUnusedMs = 300'000;
constexpr uint32_t kMaxTunnels = 100;
// Between two attempts at a peer that refuses.
constexpr uint64_t kFirstPauseMs = 10;
constexpr uint64_t kLastPauseMs = 100;

}  // namespace

bool HboneDial::start(Operation& operation, Socket& socket, const SocketAddress& address,
                      const DialParameters& dial) {
  cancel();
  socket_ = &socket;
  authority_ = address.to_string();
  use_ = dial.use->shared_from_this();
  as_ = dial.as == nullptr ? nullptr : dial.as->shared_from_this();
  key_ = HboneKey{address.ip, dial.use->netns_cookie, *dial.tunnel_to, as_ == nullptr ? 0 : as_->number};
  dial_ = dial;
  dial_.hbone = nullptr;
  dial_.tunnel_to = nullptr;
  dial_.client_tls = nullptr;
  tries_ = 0;
  give_up_ = pool_.loop_.now() + kBeginningMs * kNsPerMs;
  status_ = ConnectStatus::kFailed;
  if (!pool_.place(*this)) return true;
  status_ = ConnectStatus::kWaiting;
  waiting_.park(operation);
  return false;
}

bool HbonePool::place(HboneDial& dial) {
  // Its namespace's descriptor may be another one's by now.
  if (dial.use_->gone) return false;
  std::shared_ptr<TlsContext> context = contexts_.find(dial.dial_.credentials());
  if (context == nullptr) return await_identity(dial);
  std::vector<HboneConnection*>& known = connections_[dial.key_];
  const auto found = std::find_if(known.begin(), known.end(),
                                  [&](HboneConnection* each) { return each->has_room(context.get()); });
  if (found != known.end()) {
    (*found)->join(dial);
    return true;
  }
  auto* connection = new HboneConnection(*this, dial, std::move(context));
  known.push_back(connection);
  connection->join(dial);
  connection->dial(dial.dial_);
  return true;
}

bool HbonePool::await_identity(HboneDial& dial) {
  if (loop_.now() < dial.give_up_) {
    // In the order of their starts, but for one that lost its connection and its certificate: it waits
    // longer.
    without_identity_.push_back(dial);
    if (!patience_.armed()) loop_.arm(patience_, kBeginningMs);
    return true;
  }
  if (loop_.now() >= next_log_line_) {
    next_log_line_ = loop_.now() + kNsPerSecond;
    log::warn("identity_missing", {{"workload", dial.dial_.credentials()},
                                   {"to", dial.authority_},
                                   {"next", "the peer wants mutual TLS; see `weft cert list`"}});
  }
  return false;
}

// Each asks once more, which fails from now on.
void HbonePool::give_up_waiting() {
  HboneDial* dial = without_identity_.front();
  while (dial != nullptr && dial->give_up_ <= loop_.now()) {
    dial->settle(ConnectStatus::kWaiting);
    dial = without_identity_.front();
  }
  if (dial != nullptr) loop_.arm(patience_, (dial->give_up_ - loop_.now()) / kNsPerMs + 1);
}

// Those that still have none come back behind the others.
void HbonePool::identities_changed() {
  while (HboneDial* dial = without_identity_.front()) dial->settle(ConnectStatus::kWaiting);
}

void HboneDial::cancel() {
  settled_.cancel();
  unlink();
  if (tunnel_ != nullptr) std::exchange(tunnel_, nullptr)->abandon();
}

// From here on nobody's list; told from the loop, because a session may be at work.
void HboneDial::settle(ConnectStatus status) {
  unlink();
  status_ = status;
  pool_.loop_.soon(settled_);
}

void HboneDial::try_again() {
  // A namespace that is gone may be another one by now, by its descriptor.
  settle(tries_ < kMaxTries && !use_->gone ? ConnectStatus::kWaiting : ConnectStatus::kFailed);
}

void HboneDial::on_settled(int) {
  TunnelSocket* tunnel = std::exchange(tunnel_, nullptr);
  if (tunnel != nullptr && status_ == ConnectStatus::kConnected) {
    socket_->close();
    socket_->replace_io(tunnel->open());
  } else if (tunnel != nullptr) {
    tunnel->abandon();
  }
  if (status_ == ConnectStatus::kWaiting) {
    if (pool_.place(*this)) return;
    status_ = ConnectStatus::kFailed;
  }
  waiting_.run();
}

HboneConnection::HboneConnection(HbonePool& pool, const HboneDial& dial, std::shared_ptr<TlsContext> context)
    : pool_(pool),
      key_(dial.key_),
      context_(std::move(context)),
      use_(dial.use_),
      as_(dial.as_),
      pause_ms_(kFirstPauseMs),
      socket_(pool.loop_),
      input_(pool.loop_.buffers(), &use_->buffered_bytes),
      connector_(pool.loop_, pool.home_) {
  ++pool_.count_;
}

HboneConnection::~HboneConnection() {
  ++tunnels_;  // and nobody retires it from in here
  state_ = State::kEnded;
  if (transport_ != nullptr) transport_->close();
  socket_.close();
  --pool_.count_;
}

void HboneConnection::dial(const DialParameters& dial) {
  dial_ = dial;
  if (!connector_.start(connected_, socket_, SocketAddress{key_.address, kHbonePort}, dial_)) return;
  pool_.loop_.soon(connected_);
}

void HboneConnection::on_connected(int) {
  const ConnectStatus status = connector_.status();
  if (status == ConnectStatus::kConnected) return begin_tls();
  if (status != ConnectStatus::kRefused || !dial_later()) end(status);
}

// Nobody listens there yet, or not any more: for those that wait not too long already it is tried again.
bool HboneConnection::dial_later() {
  IntrusiveList<HboneDial> patient;
  while (HboneDial* dial = waiting_.pop_front()) {
    if (dial->give_up_ > pool_.loop_.now() && !use_->gone)
      patient.push_back(*dial);
    else
      dial->settle(ConnectStatus::kRefused);
  }
  while (HboneDial* dial = patient.pop_front()) waiting_.push_back(*dial);
  if (waiting_.empty()) return false;
  socket_.close();
  pool_.loop_.arm(timer_, pause_ms_);
  pause_ms_ = std::min(2 * pause_ms_, kLastPauseMs);
  return true;
}

void HboneConnection::begin_tls() {
  state_ = State::kHandshake;
  pool_.loop_.arm(timer_, kHandshakeMs);
  TlsPeer peer;
  peer.expected = {key_.target};
  peer.session_name = str_cat(key_.address.to_string(), " ", key_.target.to_string());
  tls_ = start_tls(pool_.loop_, socket_, context_, TlsRole::kClient, std::move(peer));
  if (tls_ == nullptr) return end(ConnectStatus::kFailed);
  if (tls_->handshake(handshake_)) on_handshake(handshake_.result);
}

// One line a second says enough of a peer that is dialled again and again.
void HboneConnection::log_refusal(TlsFault fault) const {
  if (pool_.loop_.now() < pool_.next_log_line_) return;
  pool_.next_log_line_ = pool_.loop_.now() + kNsPerSecond;
  log::warn("peer_refused", {{"workload", dial_.credentials()},
                             {"peer", SocketAddress{key_.address, kHbonePort}.to_string()},
                             {"wanted", key_.target.to_string()},
                             {"fault", label(fault)},
                             {"next", "see docs/identity.md"}});
}

void HboneConnection::on_handshake(int result) {
  if (result == 0) return ready();
  log_refusal(tls_->fault());
  end(ConnectStatus::kFailed);
}

void HboneConnection::ready() {
  state_ = State::kReady;
  transport_.reset(
      new Http2Transport(pool_.loop_, socket_, input_, Http2Session::Role::kClient, pool_.limits_, *this));
  pool_.loop_.arm(timer_, kUnusedMs);
  // A peer is taken to allow what has_room() let wait until it says otherwise; one that refused some has done
  // so.
  IntrusiveList<HboneDial> later;
  while (HboneDial* dial = waiting_.pop_front()) may_open(*dial) ? open(*dial) : later.push_back(*dial);
  while (HboneDial* dial = later.pop_front()) waiting_.push_back(*dial);
  const auto& draining = pool_.draining_;
  if (std::find(draining.begin(), draining.end(), this) != draining.end()) state_ = State::kDraining;
  if (state_ == State::kDraining && tunnels_ == 0 && waiting_.empty()) pool_.loop_.arm(timer_, 0);
  transport_->start();
}

bool HboneConnection::may_open(const HboneDial& dial) { return settings_known_ || dial.tries_ == 0; }

void HboneConnection::settings_received() {
  settings_known_ = true;
  const bool takes_some = transport_->session().peer_max_streams() > 0;
  while (HboneDial* dial = waiting_.pop_front())
    transport_->session().can_open_stream() ? open(*dial)
    : takes_some                            ? dial->try_again()
                                            : dial->settle(ConnectStatus::kFailed);
}

// has_room() holds the list short: at most kMaxTunnels.
uint32_t HboneConnection::waiting_count() {
  uint32_t count = 0;
  for (HboneDial* each = waiting_.front(); each != nullptr; each = waiting_.after(*each)) ++count;
  return count;
}

bool HboneConnection::has_room(const TlsContext* context) {
  if (context != context_.get() || tunnels_ + waiting_count() >= kMaxTunnels) return false;
  if (state_ == State::kDialling || state_ == State::kHandshake) return true;
  return state_ == State::kReady && transport_->session().can_open_stream();
}

void HboneConnection::join(HboneDial& dial) {
  if (state_ == State::kReady && may_open(dial)) return open(dial);
  waiting_.push_back(dial);
}

void HboneConnection::open(HboneDial& dial) {
  ++dial.tries_;
  if (tunnels_++ == 0) {
    heard_ = ping_pending_ = false;
    pool_.loop_.arm(timer_, kQuietMs);
  }
  auto* tunnel = new TunnelSocket(*transport_, *this, use_->buffered_bytes);
  dial.tunnel_ = tunnel;
  opening_.push_back(dial);
  Http2Fields fields;
  fields.add(":method", "CONNECT");
  fields.add(":authority", dial.authority_);
  if (!transport_->session().send_request(*tunnel, fields, false)) dial.settle(ConnectStatus::kFailed);
  transport_->output_due();
}

HboneDial* HboneConnection::opening(const TunnelSocket& tunnel) {
  for (HboneDial* each = opening_.front(); each != nullptr; each = opening_.after(*each)) {
    if (each->tunnel_ == &tunnel) return each;
  }
  return nullptr;
}

void HboneConnection::tunnel_head(TunnelSocket& tunnel, FieldBlock& block, bool) {
  HboneDial* dial = opening(tunnel);
  if (dial == nullptr) return;
  // 401: policy; 503: the application does not answer; all of them are a no to this connection.
  dial->settle(block.find(":status") == "200" ? ConnectStatus::kConnected : ConnectStatus::kRefused);
}

void HboneConnection::tunnel_lost(TunnelSocket& tunnel, Http2StreamEnd end) {
  HboneDial* dial = opening(tunnel);
  if (dial == nullptr) return;
  // The connection went, and no byte of the client was on it: another one may be had.
  if (end == Http2StreamEnd::kConnectionLost) return dial->try_again();
  if (end != Http2StreamEnd::kRefused) return dial->settle(ConnectStatus::kFailed);
  // The peer takes no more here, also when it says so by this only: all that it refused share another one.
  drain();
  dial->try_again();
}

void HboneConnection::tunnel_freed(TunnelSocket&) {
  --tunnels_;
  if (state_ == State::kEnded) {
    if (tunnels_ == 0) pool_.loop_.retire(std::unique_ptr<Retirable>(this));
    return;
  }
  if (tunnels_ > 0) return;
  // Later: the session may be at work.
  pool_.loop_.arm(timer_, state_ == State::kDraining ? 0 : kUnusedMs);
}

void HboneConnection::goaway_received() { drain(); }

void HboneConnection::drain() {
  if (state_ == State::kDraining || state_ == State::kEnded) return;
  if (state_ != State::kReady && waiting_.empty()) return end(ConnectStatus::kFailed);
  leave_pool();
  pool_.draining_.push_back(this);
  if (state_ != State::kReady) return;
  state_ = State::kDraining;
  while (HboneDial* dial = waiting_.pop_front()) dial->try_again();
  if (tunnels_ == 0) pool_.loop_.arm(timer_, 0);
}

void HboneConnection::leave_pool() {
  const auto known = pool_.connections_.find(key_);
  if (known != pool_.connections_.end()) {
    std::erase(known->second, this);
    if (known->second.empty()) pool_.connections_.erase(known);
  }
  std::erase(pool_.draining_, this);
}

void HboneConnection::on_timer() {
  if (state_ == State::kDialling)
    return waiting_.empty() || use_->gone ? end(ConnectStatus::kRefused) : dial(dial_);
  if (state_ == State::kHandshake) {
    log_refusal(TlsFault::kTimeout);
    return end(ConnectStatus::kTimeout);
  }
  if (tunnels_ == 0) return end(ConnectStatus::kFailed);
  if (heard_) {
    heard_ = ping_pending_ = false;
  } else if (ping_pending_) {
    return end(ConnectStatus::kFailed);
  } else {
    ping_pending_ = true;
    transport_->session().send_ping();
    transport_->output_due();
  }
  pool_.loop_.arm(timer_, ping_pending_ ? kPingMs : kQuietMs);
}

// The tunnels learn it by their streams; the object stays until the last of them is freed.
void HboneConnection::end(ConnectStatus status) {
  if (state_ == State::kEnded) return;
  // In TLS 1.3 a client has shaken hands before it is told that its certificate is refused.
  if (state_ == State::kReady && !settings_known_ && tls_->fault() != TlsFault::kNoFault)
    log_refusal(tls_->fault());
  state_ = State::kEnded;
  leave_pool();
  timer_.cancel();
  connector_.cancel();
  connected_.cancel();
  handshake_.cancel();
  while (HboneDial* dial = waiting_.front()) dial->settle(status);
  ++tunnels_;  // nobody retires this from in here
  if (transport_ != nullptr) transport_->close();
  --tunnels_;
  socket_.close();
  input_.clear();
  tls_ = nullptr;
  if (tunnels_ == 0) pool_.loop_.retire(std::unique_ptr<Retirable>(this));
}

// The loop turns no more: what is left is idle, or waits for its end.
HbonePool::~HbonePool() {
  for (const auto& [key, known] : connections_) {
    for (HboneConnection* each : known) delete each;
  }
  for (HboneConnection* each : draining_) delete each;
}

void HbonePool::forget(uint64_t netns_cookie) {
  std::vector<HboneConnection*> gone;
  for (const auto& [key, known] : connections_) {
    if (key.netns_cookie == netns_cookie) gone.insert(gone.end(), known.begin(), known.end());
  }
  for (HboneConnection* each : gone) each->drain();
}

size_t HbonePool::trim(size_t count) {
  std::vector<HboneConnection*> idle;
  for (const auto& [key, known] : connections_) {
    for (HboneConnection* each : known) {
      if (idle.size() < count && each->idle()) idle.push_back(each);
    }
  }
  for (HboneConnection* each : idle) each->drain();
  return idle.size();
}

void HbonePool::clear() {
  std::vector<HboneConnection*> all;
  for (const auto& [key, known] : connections_) all.insert(all.end(), known.begin(), known.end());
  for (HboneConnection* each : all) each->drain();
}

}  // namespace weft::proxy
