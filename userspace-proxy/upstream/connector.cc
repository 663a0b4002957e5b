// Connector of connector.h.
#include "userspace-proxy/upstream/connector.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>

#include "userspace-proxy/net/port_window.h"
#include "userspace-proxy/tls/client_tls.h"
#include "userspace-proxy/tls/tls_socket.h"
#include "userspace-proxy/upstream/hbone_pool.h"

namespace weft::proxy {
namespace {

ConnectStatus status_of_result(int result) {
  if (result == 0) return ConnectStatus::kConnected;
  if (result == -ECONNREFUSED) return ConnectStatus::kRefused;
  return result == -ETIMEDOUT ? ConnectStatus::kTimeout : ConnectStatus::kFailed;
}

// What is 0 stays as set_tcp_options() has it.
void set_keepalive(int fd, const ConnectionSettings& settings) {
  const auto set = [fd](int option, int value) {
    if (value > 0) setsockopt(fd, IPPROTO_TCP, option, &value, sizeof(value));
  };
  set(TCP_KEEPIDLE, settings.keepalive_seconds);
  set(TCP_KEEPINTVL, settings.keepalive_interval_seconds);
  set(TCP_KEEPCNT, settings.keepalive_probes);
}

}  // namespace

Connector::Connector(EventLoop& loop, const HomeNetns& home) : loop_(loop), home_(home) {}

Connector::~Connector() = default;

bool Connector::start(Operation& operation, Socket& socket, const SocketAddress& address,
                      const DialParameters& dial) {
  cancel();
  socket_ = &socket;
  client_tls_ = dial.client_tls;
  offers_ = dial.offers;
  use_ = dial.use;
  terms_ = dial.client_tls == nullptr ? nullptr : dial.terms;
  as_ = dial.client_tls == nullptr || dial.as == nullptr ? nullptr : dial.as->shared_from_this();
  address_ = address;
  if (dial.hbone != nullptr) return start_tunnel(operation, address, dial);
  UniqueFd fd = home_.tcp_socket(dial.netns, address.ip.is_v4() ? AF_INET : AF_INET6);
  if (!fd.valid() && (errno == EMFILE || errno == ENFILE)) {
    status_ = ConnectStatus::kNoDescriptor;
    return true;
  }
  if (fd.valid()) set_tcp_options(fd.get());
  if (fd.valid() && dial.terms != nullptr) set_keepalive(fd.get(), *dial.terms->settings);
  if (!fd.valid() || !socket.open(std::move(fd), false)) {
    status_ = ConnectStatus::kFailed;
    return true;
  }
  if (dial.use != nullptr) socket.charge_to(dial.use->buffered_bytes);
  windows_ = 0;
  if (connect()) {
    status_ = status_of_result(connect_.result);
    if (status_ != ConnectStatus::kConnected || client_tls_ == nullptr || begin_tls()) return true;
  }
  status_ = ConnectStatus::kWaiting;
  loop_.arm(timeout_, dial.timeout_ms);
  waiting_.park(operation);
  return false;
}

bool Connector::connect() {
  do {
    const uint64_t entropy = loop_.now() ^ static_cast<uint64_t>(socket_->fd()) << 40;
    has_windows_ = choose_port_window(socket_->fd(), entropy + windows_++);
    if (!socket_->connect(connect_, address_)) return false;
  } while (wants_other_ports(connect_.result));
  return true;
}

bool Connector::wants_other_ports(int result) const {
  return result == -EADDRNOTAVAIL && has_windows_ && windows_ < kMostWindows;
}

bool Connector::start_tunnel(Operation& operation, const SocketAddress& address, const DialParameters& dial) {
  tunnel_ = std::make_unique<HboneDial>(*dial.hbone);
  if (tunnel_->start(tunnelled_, *socket_, address, dial)) {
    status_ = tunnel_->status();
    return true;
  }
  status_ = ConnectStatus::kWaiting;
  loop_.arm(timeout_, dial.timeout_ms);
  waiting_.park(operation);
  return false;
}

void Connector::on_tunnelled(int) { went(tunnel_->status()); }

void Connector::went(ConnectStatus status) {
  if (status != ConnectStatus::kConnected || client_tls_ == nullptr) return finish(status);
  if (begin_tls()) finish(status_);
}

bool Connector::begin_tls() {
  const std::shared_ptr<const ClientTerms>& terms = terms_->settings->tls.terms;
  std::string_view problem;
  std::shared_ptr<ClientTls> profile = client_tls_->find(terms, credentials(), &problem);
  status_ = ConnectStatus::kTlsFailed;
  if (profile == nullptr) {
    tls_refused(problem);
    return true;
  }
  TlsPeer peer;
  peer.offers = offers_;
  tls_ = start_tls(loop_, *socket_, std::move(profile), TlsRole::kClient, std::move(peer));
  if (tls_ == nullptr) {
    status_ = ConnectStatus::kFailed;
    return true;
  }
  if (!tls_->handshake(handshake_)) {
    status_ = ConnectStatus::kWaiting;
    return false;
  }
  if (handshake_.result == 0) {
    status_ = ConnectStatus::kConnected;
  } else {
    tls_refused(label(tls_->fault()));
  }
  return true;
}

void Connector::on_handshake(int result) {
  if (result == 0) return finish(ConnectStatus::kConnected);
  tls_refused(label(tls_->fault()));
  finish(ConnectStatus::kTlsFailed);
}

void Connector::tls_refused(std::string_view why) const {
  client_tls_->refused(loop_.now(), credentials(), address_.to_string(), *terms_->settings->tls.terms, why);
}

void Connector::cancel() {
  connect_.cancel();
  tunnelled_.cancel();
  handshake_.cancel();
  tls_ = nullptr;
  // It may be at work; it is freed with the next dial or with this.
  if (tunnel_ != nullptr) tunnel_->cancel();
  timeout_.cancel();
}

void Connector::on_connected(int result) {
  if (wants_other_ports(result)) {
    if (!connect()) return;
    result = connect_.result;
  }
  went(status_of_result(result));
}

void Connector::on_timeout() {
  const bool shaking_hands = tls_ != nullptr;
  if (shaking_hands) tls_refused(label(TlsFault::kTimeout));
  socket_->close();
  finish(shaking_hands ? ConnectStatus::kTlsFailed : ConnectStatus::kTimeout);
}

void Connector::finish(ConnectStatus status) {
  cancel();
  status_ = status;
  waiting_.run();
}

}  // namespace weft::proxy
