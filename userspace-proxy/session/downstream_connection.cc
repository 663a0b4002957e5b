// DownstreamConnection: protocol choice, keep-alive and pipelining (one exchange at a time), endings.
#include "userspace-proxy/session/downstream_connection.h"

#include <sys/uio.h>

#include <algorithm>

#include "base/log.h"
#include "userspace-proxy/config/match_route.h"
#include "userspace-proxy/exchange/leads_back.h"
#include "userspace-proxy/exchange/shadow_report.h"
#include "userspace-proxy/http/client_hello.h"
#include "userspace-proxy/http/protocol_detect.h"

namespace weft::proxy {
namespace {

// How long, after our last byte, we read and drop what the client still sends, before the socket is closed.
constexpr uint64_t kLingerMs = 1'000;

// How long a client may take for its handshake once it has begun.
constexpr uint64_t kHandshakeMs = 10'000;

// A fatal handshake_failure (RFC 8446 §6.2), for who has no context to say it with.
constexpr char kRefusal[] = {21, 3, 3, 0, 2, 2, 40};

// How long an idle connection may still send the request that tells it, by its answer, to go elsewhere.
constexpr uint64_t kDrainGraceMs = 1'000;

}  // namespace

DownstreamConnection::DownstreamConnection(ProxyContext& context, Owner& owner,
                                           std::shared_ptr<CaptureOrigin> origin, const SocketAddress& client)
    : context_(context),
      owner_(owner),
      origin_(std::move(origin)),
      gateway_(origin_->is_gateway() ? std::make_unique<AtGateway>(this) : nullptr),
      client_(client),
      accepted_(context.loop.now()),
      socket_(context.loop),
      input_(context.buffers, &origin_->use->buffered_bytes) {}

DownstreamConnection::~DownstreamConnection() {
  // Exchanges first: they hold operations on the socket.
  http_.reset();
  http2_.reset();
  tcp_.reset();
}

void DownstreamConnection::start(UniqueFd fd) {
  if (adopt(std::move(fd))) choose_protocol();
}

// One of the pod's connections from here on. False: it has ended.
bool DownstreamConnection::adopt(UniqueFd fd) {
  origin_->connections.push_back(*this);
  origin_->use->connections.add(1);
  set_tcp_options(fd.get());
  dialled_ = local_address(fd.get());
  if (!socket_.open(std::move(fd), true)) {
    end(false);
    return false;
  }
  socket_.charge_to(origin_->use->buffered_bytes);
  socket_.watch_reset(reset_);
  return true;
}

void DownstreamConnection::choose_protocol() {
  if (origin_->is_gateway()) return choose_gateway_protocol();
  const Snapshot& snapshot = context_.current->snapshot();
  const ServicePort* port = snapshot.find_service_port(source_of(*origin_, snapshot), dialled_);
  if (port == nullptr && !is_undeclared()) return start_tcp();
  switch (port == nullptr ? Protocol::kSniff : port->protocol) {
    case Protocol::kTcp:
    case Protocol::kTls:
      opaque_ = true;
      speaks_tls_ = port->protocol == Protocol::kTls;
      if (!hello_wanted()) return start_tcp();
      // Who declares TLS has a client that speaks first; elsewhere the server may.
      context_.loop.arm(timer_,
                        speaks_tls_ ? context_.limits.head_timeout_ms : context_.limits.sniff_timeout_ms);
      return receive();
    case Protocol::kHttp:
    case Protocol::kHttp2:
      return enter_idle();
    case Protocol::kSniff:
      context_.loop.arm(timer_, context_.limits.sniff_timeout_ms);
      return receive();
  }
}

// The routes of what is no HTTP, in the snapshot of now; null when there are none.
const L4Host* DownstreamConnection::l4_host() const {
  const Snapshot& snapshot = context_.current->snapshot();
  if (!origin_->is_gateway()) return snapshot.find_l4_host(source_of(*origin_, snapshot), dialled_);
  if (terms_ != nullptr) {
    // What was decrypted is never sent where a listener passes TLS on.
    const GatewayServer* server = admitting_server(snapshot);
    return server != nullptr && server->l4_host != kNone ? &snapshot.l4_hosts[server->l4_host] : nullptr;
  }
  const GatewayPort* port = snapshot.find_gateway_port(dialled_.port);
  return port == nullptr || port->l4_host == kNone ? nullptr : &snapshot.l4_hosts[port->l4_host];
}

// To where its client may go by a name only that the registry knows, and not by the address.
bool DownstreamConnection::is_undeclared() const {
  const Snapshot& snapshot = context_.current->snapshot();
  return policy_ == nullptr && !origin_->is_gateway() && proxy::is_undeclared(*origin_, snapshot, dialled_);
}

bool DownstreamConnection::hello_wanted() const {
  if (policy_ != nullptr) {
    const ShadowPolicy* shadow = policy_->shadow();
    return policy_->asks_server_name() || (shadow != nullptr && shadow->asks_server_name());
  }
  if (origin_->is_gateway() || is_undeclared()) return true;
  const L4Host* host = l4_host();
  return host != nullptr && !host->tls.empty();
}

// Its client speaks first, and TLS, or is judged by whether it does.
bool DownstreamConnection::awaits_hello() const {
  return state_ == State::kDetecting && opaque_ &&
         (speaks_tls_ || origin_->is_gateway() || policy_ != nullptr);
}

// What is no HTTP may be TLS, which is routed by the server name that it asks for. A hello that has begun has
// time, and one that never ends names no server.
void DownstreamConnection::read_hello() {
  if (!hello_wanted()) return start_tcp();
  switch (read_client_hello(input_.unread(), &server_name_)) {
    case HelloStatus::kComplete:
      tls_ = named_ = true;
      if (gateway_ != nullptr) gateway_->access.server_name = server_name_;
      return begin_tls() ? void() : start_tcp();
    case HelloStatus::kNotTls:
      tls_ = false;
      named_ = !begins_as_tls(input_.unread());
      return start_tcp();
    case HelloStatus::kNeedMore:
      // Where nothing but a hello is waited for, its time runs already; a pod's server may have other
      // clients.
      if (!std::exchange(tls_, true) && (policy_ != nullptr || !awaits_hello()))
        context_.loop.arm(timer_, context_.limits.head_timeout_ms);
      return input_.unread().size() >= kMaxHelloBytes ? start_tcp() : receive();
  }
}

// The server name says whose listener it is. False: nobody's that ends TLS.
bool DownstreamConnection::begin_tls() {
  const GatewayServer* server =
      origin_->is_gateway() ? context_.current->snapshot().find_gateway_server(server_name_, dialled_.port)
                            : nullptr;
  if (server == nullptr || server->tls == nullptr) return false;
  terms_ = server->tls;
  tls_ = false;
  state_ = State::kHandshake;
  context_.loop.arm(timer_, kHandshakeMs);
  std::string problem;
  const std::shared_ptr<ServerTls> profile = context_.server_tls.find(*terms_, &problem);
  if (profile == nullptr) {
    refuse_tls("no_certificate_here", problem);
    const iovec alert{const_cast<char*>(kRefusal), sizeof(kRefusal)};
    if (socket_.send(gateway_->refused, std::span(&alert, 1))) context_.loop.soon(gateway_->refused);
    return true;
  }
  tls_socket_ = start_tls(context_.loop, socket_, profile, TlsRole::kServer, {}, input_.unread());
  input_.clear();
  if (tls_socket_ == nullptr) {
    end(true);
    return true;
  }
  if (tls_socket_->handshake(gateway_->handshake)) context_.loop.soon(gateway_->handshake);
  return true;
}

void DownstreamConnection::on_handshake(int result) {
  timer_.cancel();
  if (result != 0) {
    refuse_tls(label(tls_socket_->fault()), "see docs/traffic.md, Gateways");
    return end(false);
  }
  if (terms_->identity) gateway_->access.proved(tls_socket_->peer());
  if (terms_->opaque) return start_tcp();
  opaque_ = false;
  if (tls_socket_->protocol() != "h2") return enter_idle();
  start_http2();
  if (context_.draining) http2_->drain();
}

// Clients can make any number of these.
void DownstreamConnection::refuse_tls(std::string_view fault, std::string_view next) {
  const MonotonicNs now = context_.loop.now();
  if (now < context_.next_tls_line) return;
  context_.next_tls_line = now + kNsPerSecond;
  log::warn("gateway_tls_refused", {{"listener", terms_->name},
                                    {"port", dialled_.port},
                                    {"client", client_.to_string()},
                                    {"server_name", server_name_},
                                    {"fault", fault},
                                    {"next", next}});
}

// All of it in the snapshot of now, which the exchange is made in: the one that the connection was accepted
// in may be gone, and its indices mean something else.
TcpAim DownstreamConnection::aim_tcp() {
  if (policy_ != nullptr) {
    return TcpAim{.refused = bytes_allowed() ? Outcome::kOk : Outcome::kAccessDenied};
  }
  if (origin_->is_gateway() && gateway_refuses()) return TcpAim{.refused = Outcome::kAccessDenied};
  const Snapshot& snapshot = context_.current->snapshot();
  const uint32_t index = source_of(*origin_, snapshot);
  if (is_undeclared()) return aim_by_name(snapshot, index);
  const ServicePort* port = origin_->is_gateway() ? nullptr : snapshot.find_service_port(index, dialled_);
  const TcpAim service{.cluster =
                           port == nullptr ? kNone : snapshot.find_tcp_cluster(index, dialled_, *port)};
  const L4Host* host = l4_host();
  const L4Choice choice = choose_l4(host,
                                    {.tls = tls_,
                                     .server_name = server_name_,
                                     .dialled = dialled_,
                                     .gateway = origin_->is_gateway(),
                                     .declared_tls = speaks_tls_},
                                    source_view(snapshot, index));
  if (choice.kind == L4Choice::Kind::kService) return service;
  if (choice.kind == L4Choice::Kind::kRefused) return TcpAim{.refused = Outcome::kNoRoute};
  const L4Route* route = choice.route;
  const WeightedCluster* chosen = context_.balancer.pick_cluster(route->clusters, route->total_weight);
  if (chosen != nullptr && chosen->invalid)
    return TcpAim{.refused = Outcome::kInvalidBackend, .route = route->name};
  if (chosen == nullptr || chosen->cluster == kNone)
    return TcpAim{.refused = Outcome::kNoCluster, .route = route->name};
  if (leads_back(snapshot, *origin_, chosen->cluster))
    return TcpAim{.refused = Outcome::kNoEndpoint, .route = route->name};
  return TcpAim{.cluster = chosen->cluster, .route = route->name, .dials_as = route->dials_as.get()};
}

TcpAim DownstreamConnection::aim_by_name(const Snapshot& snapshot, uint32_t source) const {
  const uint32_t cluster = tls_ ? snapshot.find_named_cluster(source, server_name_, dialled_.port) : kNone;
  if (cluster == kNone || leads_out(snapshot, *origin_, dialled_, cluster))
    return TcpAim{.refused = Outcome::kNotDeclared};
  return TcpAim{.cluster = cluster};
}

void DownstreamConnection::receive() {
  if (socket_.recv(recv_, input_)) context_.loop.soon(recv_);
}

void DownstreamConnection::on_received(int result) {
  switch (state_) {
    case State::kDetecting:
      // A client that is done before it is known still gets what its server has to say.
      return result > 0 ? detect() : result == 0 ? start_tcp() : end(true);
    case State::kIdle:
      return result > 0 ? read_first_request() : end(false);
    case State::kDue:
      return start_http();
    case State::kLingering:
      input_.clear();
      return result > 0 ? receive() : end(false);
    case State::kHandshake:
    case State::kHttp:
    case State::kHttp2:
    case State::kTcp:
    case State::kEnded:
      return;
  }
}

void DownstreamConnection::detect() {
  if (opaque_) return read_hello();
  switch (detect_protocol(input_.unread())) {
    case Detected::kHttp1:
      return start_http();
    case Detected::kHttp2:
      return start_http2();
    case Detected::kOther:
      return read_hello();
    case Detected::kNeedMore:
      return receive();
  }
}

// The first bytes of a connection to a port that is declared HTTP decide for all of it.
void DownstreamConnection::read_first_request() {
  if (spoke_http_) return start_http();
  switch (detect_declared_http(input_.unread())) {
    case Detected::kHttp1:
      return start_http();
    case Detected::kHttp2:
      return start_http2();
    case Detected::kOther:
      if (policy_ == nullptr || !hello_wanted()) return start_tcp();
      opaque_ = true;
      state_ = State::kDetecting;
      return read_hello();
    case Detected::kNeedMore:
      if (head_until_ == 0) {
        head_until_ = context_.loop.now() + context_.limits.head_timeout_ms * kNsPerMs;
        context_.loop.arm(timer_, context_.limits.head_timeout_ms);
      }
      return receive();
  }
}

void DownstreamConnection::on_timer() {
  // A drain does not wait for a client that has said nothing yet.
  if (context_.draining && awaits_hello() && input_.empty()) return linger();
  // Nothing came that looks like HTTP: a protocol in which the server speaks first, or one we do not know.
  if (state_ == State::kDetecting) return start_tcp();
  // Left over from the time before the request; armed again when that is answered.
  if (state_ == State::kDue || state_ == State::kHttp) return;
  if (state_ == State::kHandshake) refuse_tls(label(TlsFault::kTimeout), "the client was too slow");
  if (state_ != State::kIdle) return end(false);
  // Half a method: the exchange says why it ends. Nothing at all: FIN first, a request may be on its way.
  if (!input_.empty()) return start_http();
  const MonotonicNs now = context_.loop.now();
  if (now >= idle_until_) return socket_.unsent() ? unsent_at_idle_end() : linger();
  context_.loop.arm(timer_, (idle_until_ - now) / kNsPerMs + 1);
}

// The client has not taken its last answer. A drain waits for it, up to the drain's own deadline.
void DownstreamConnection::unsent_at_idle_end() { context_.draining ? arm_idle(kDrainGraceMs) : end(true); }

// A timer that is armed is left alone: it runs too early and then sees how long is left. So a request costs
// no arming and no cancelling.
void DownstreamConnection::arm_idle(uint64_t delay_ms) {
  const bool sooner = context_.draining || !timer_.linked();
  idle_until_ = context_.loop.now() + delay_ms * kNsPerMs;
  if (sooner) context_.loop.arm(timer_, delay_ms);
}

// Time that passed before the bytes told the protocol belongs to the head.
uint64_t DownstreamConnection::head_time_left() {
  if (head_until_ == 0) return context_.limits.head_timeout_ms;
  const MonotonicNs now = context_.loop.now();
  const uint64_t left = head_until_ > now ? (head_until_ - now) / kNsPerMs : 0;
  head_until_ = 0;
  return std::max<uint64_t>(left, 1);
}

void DownstreamConnection::enter_idle() {
  state_ = State::kIdle;
  if (!input_.empty()) return start_http();
  arm_idle(context_.draining ? kDrainGraceMs : context_.limits.downstream_idle_ms);
  receive();
}

void DownstreamConnection::start_http() {
  // The socket still has it where a head took too long; the share must be the only one that holds it.
  recv_.cancel();
  if (!context_.share.may_begin(origin_->share, recv_)) {
    state_ = State::kDue;
    return;
  }
  state_ = State::kHttp;
  spoke_http_ = true;
  http_.reset(new Http1Exchange(*this));
  http_->exchange.start(http_finished_);
}

void DownstreamConnection::start_http2() {
  state_ = State::kHttp2;
  timer_.cancel();
  recv_.cancel();
  http2_.reset(new Http2Connection(context_, client_side(), socket_, input_, *this));
  http2_->start();
}

void DownstreamConnection::upgrade_to_http2() {
  Http1DownstreamStream::Upgraded upgraded = http_->stream.take_upgraded();
  http_.reset();
  state_ = State::kHttp2;
  timer_.cancel();
  http2_.reset(new Http2Connection(context_, client_side(true), socket_, input_, *this));
  http2_->start_upgraded(std::move(upgraded));
}

void DownstreamConnection::http2_ended(bool clean) { clean ? linger() : end(false); }

void DownstreamConnection::start_tcp() {
  state_ = State::kTcp;
  timer_.cancel();
  recv_.cancel();
  if (policy_ != nullptr) start_inbound_tcp();
  const TcpAim aim = aim_tcp();
  if (origin_->is_gateway() && aim.refused == Outcome::kOk) report_gateway_shadow();
  tcp_.reset(new TcpExchange(context_, client_side(), socket_, input_, aim));
  tcp_->start(tcp_finished_);
}

void DownstreamConnection::on_http_finished(int) {
  const Http1DownstreamStream::Next next = http_->stream.next();
  if (next == Http1DownstreamStream::Next::kHttp2) return upgrade_to_http2();
  http_.reset();
  switch (next) {
    case Http1DownstreamStream::Next::kKeepAlive:
      return enter_idle();
    case Http1DownstreamStream::Next::kClose:
      return end(false);
    case Http1DownstreamStream::Next::kLinger:
      return linger();
    case Http1DownstreamStream::Next::kReset:
    case Http1DownstreamStream::Next::kHttp2:
      return end(true);
  }
}

void DownstreamConnection::on_tcp_finished(int) { end(!tcp_->ended_well()); }

void DownstreamConnection::linger() {
  state_ = State::kLingering;
  socket_.shutdown_write();
  input_.clear();
  context_.loop.arm(timer_, kLingerMs);
  receive();
}

void DownstreamConnection::drain() {
  if (state_ == State::kIdle && input_.empty()) arm_idle(kDrainGraceMs);
  if (awaits_hello() && input_.empty()) context_.loop.arm(timer_, kDrainGraceMs);
  if (http2_ != nullptr) http2_->drain();
}

// Of requests nobody waits for the answer any more. A tunnel passes on what came before the reset first.
void DownstreamConnection::on_reset(int) {
  if (state_ == State::kHttp2) return http2_->lost();
  const bool reads_on =
      (http_ != nullptr && http_->exchange.reads_client()) || (tcp_ != nullptr && tcp_->reads_client());
  if (!reads_on) cut(Outcome::kDownstreamReset);
}

void DownstreamConnection::cut(Outcome outcome) {
  // Nobody waits for anything on an idle connection: no reason to reset it.
  const bool idle =
      state_ == State::kIdle || state_ == State::kLingering || (state_ == State::kHttp2 && http2_->idle());
  if (http_ != nullptr) http_->exchange.abandon(outcome);
  if (http2_ != nullptr) http2_->cut(outcome);
  if (tcp_ != nullptr) tcp_->abandon(outcome);
  end(!idle);
}

bool DownstreamConnection::quiet() const {
  switch (state_) {
    case State::kHttp:
      return http_->stream.request_status() == HeadStatus::kWaiting;
    case State::kHttp2:
      return http2_->idle();
    case State::kDetecting:
    case State::kHandshake:
    case State::kIdle:
    case State::kLingering:
      return true;
    case State::kDue:
    case State::kTcp:
    case State::kEnded:
      return false;
  }
  return false;
}

void DownstreamConnection::end(bool with_reset) {
  if (state_ == State::kEnded) return;
  state_ = State::kEnded;
  timer_.cancel();
  recv_.cancel();
  if (gateway_ != nullptr) {
    gateway_->handshake.cancel();
    gateway_->refused.cancel();
  }
  http_finished_.cancel();
  tcp_finished_.cancel();
  if (with_reset) socket_.reset();
  socket_.close();
  ListNode<PodTag>::unlink();
  if (policy_ == nullptr || inbound_ != nullptr) origin_->use->connections.subtract(1);
  owner_.ended(*this);
}

}  // namespace weft::proxy
