// Fuzz target of HBONE on the wire: an HTTP/2 connection whose streams are tunnels, of either side, on a real
// loop with the peer's bytes behind a socket. Looks for a tunnel that outlives its connection, bytes of a
// slow reader that stay charged to it, an echo of more than was sent, and an address that does not read back
// as itself. The first byte chooses the role and how the bytes are cut.
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <list>
#include <memory>
#include <string>

#include "base/address.h"
#include "userspace-proxy/http/tunnel_socket.h"

namespace weft::proxy {
namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

EventLoop& loop() {
  static const std::unique_ptr<EventLoop> made = [] {
    ::signal(SIGPIPE, SIG_IGN);
    return std::move(EventLoop::open(IoKind::kEpoll)).value();
  }();
  return *made;
}

// As many tunnels as a node lets one peer have.
const Http2Limits& limits() {
  static const Http2Limits made = [] {
    Http2Limits out;
    out.max_concurrent_streams = 200;
    return out;
  }();
  return made;
}

// One tunnel and an application that says again what it hears.
class Echo {
 public:
  Echo(TunnelSocket& tunnel, TunnelTraffic& traffic)
      : tunnel_(&tunnel), socket_(loop()), input_(loop().buffers()) {
    tunnel.count_in(traffic);
  }
  ~Echo() { end(); }

  bool is(const TunnelSocket& tunnel) const { return tunnel_ == &tunnel; }
  void begin() { loop().soon(begin_); }
  // The stream ended before somebody had it.
  void lost() {
    begin_.cancel();
    if (TunnelSocket* const tunnel = std::exchange(tunnel_, nullptr); !socket_.is_open() && tunnel != nullptr)
      tunnel->abandon();
  }
  void freed() { tunnel_ = nullptr; }
  void end() {
    begin_.cancel();
    receive_.cancel();
    transmit_.cancel();
    if (socket_.is_open()) {
      socket_.close();
    } else if (tunnel_ != nullptr) {
      tunnel_->abandon();
    }
    input_.clear();
  }

 private:
  void on_begin(int) {
    socket_.replace_io(tunnel_->open());
    listen();
  }
  void listen() {
    if (socket_.recv(receive_, input_)) loop().soon(receive_);
  }
  void on_received(int result) {
    if (result < 0) return socket_.reset();
    if (result == 0) return socket_.shutdown_write();
    piece_ = {const_cast<char*>(input_.unread().data()), input_.unread().size()};
    if (socket_.send(transmit_, std::span(&piece_, 1))) loop().soon(transmit_);
  }
  void on_sent(int result) {
    input_.clear();
    if (result == 0) listen();
  }

  TunnelSocket* tunnel_;
  Socket socket_;
  InputBuffer input_;
  iovec piece_{};
  Operation begin_{this, method<&Echo::on_begin>};
  Operation receive_{this, method<&Echo::on_received>};
  Operation transmit_{this, method<&Echo::on_sent>};
};

class Run final : public Http2Transport::Owner, public TunnelSocket::Host {
 public:
  explicit Run(Http2Session::Role role) : socket_(loop()), input_(loop().buffers()) {
    int ends[2];
    require(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
    peer_.reset(ends[0]);
    require(socket_.open(UniqueFd(ends[1]), true));
    transport_ = std::make_unique<Http2Transport>(loop(), socket_, input_, role, limits(), *this);
    transport_->start();
    if (role == Http2Session::Role::kServer) {
      hear("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    } else {
      ask();
    }
  }

  void hear(std::string_view bytes) {
    const ssize_t sent = ::send(peer_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent > 0) heard_ += static_cast<uint64_t>(sent);
    turn();
  }
  // The peer goes; what is left of the connection goes with it.
  void finish() {
    peer_.reset();
    for (int i = 0; i < 20 && !ended_; ++i) turn();
    require(ended_);
    for (Echo& echo : echoes_) echo.end();
    transport_->close();
    socket_.close();
    input_.clear();
    for (int i = 0; i < 3; ++i) loop().turn(0);
    require(tunnels_ == 0);
    require(account_.get() == 0);
    require(traffic_.back().received <= heard_ && traffic_.back().sent <= heard_);
  }

 private:
  // As a client: two tunnels.
  void ask() {
    for (int i = 0; i < 2; ++i) {
      TunnelSocket& tunnel = make();
      Http2Fields fields;
      fields.add(":method", "CONNECT");
      fields.add(":authority", "10.0.0.1:80");
      if (!transport_->session().send_request(tunnel, fields, false))
        tunnel_lost(tunnel, Http2StreamEnd::kRefused);
    }
    transport_->output_due();
  }
  TunnelSocket& make() {
    auto* const tunnel = new TunnelSocket(*transport_, *this, account_);
    ++tunnels_;
    echoes_.emplace_back(*tunnel, traffic_.emplace_back());
    return *tunnel;
  }
  Echo* of(const TunnelSocket& tunnel) {
    const auto found =
        std::find_if(echoes_.begin(), echoes_.end(), [&](const Echo& e) { return e.is(tunnel); });
    return found == echoes_.end() ? nullptr : &*found;
  }
  void turn() {
    for (int i = 0; i < 3; ++i) loop().turn(0);
    // What the other side says is read, or it would hold its answers.
    char bytes[64 * 1024];
    while (peer_.valid() && ::recv(peer_.get(), bytes, sizeof(bytes), MSG_DONTWAIT) > 0) continue;
  }

  Http2Stream* new_stream(size_t) override { return ended_ ? nullptr : &make(); }
  void settings_received() override {}
  void goaway_received() override {}
  void ping_acknowledged() override {}
  void transport_ended() override { ended_ = true; }
  size_t may_take(Operation&) override { return SIZE_MAX; }
  void received(size_t) override {}

  void tunnel_head(TunnelSocket& tunnel, FieldBlock& block, bool) override {
    Echo* const echo = of(tunnel);
    if (echo == nullptr) return;
    if (transport_->session().role() == Http2Session::Role::kClient) {
      if (block.find(":status") == "200") echo->begin();
      return;
    }
    const auto address = SocketAddress::parse(std::string(block.find(":authority")));
    if (address) require(SocketAddress::parse(address->to_string()) == address);
    const bool good = block.find(":method") == "CONNECT" && address && address->port != 0;
    Http2Fields fields;
    fields.add_status(good ? 200 : 400);
    transport_->session().send_response(tunnel, fields, !good);
    transport_->output_due();
    if (good) echo->begin();
  }
  void tunnel_lost(TunnelSocket& tunnel, Http2StreamEnd) override {
    if (Echo* const echo = of(tunnel)) echo->lost();
  }
  void tunnel_freed(TunnelSocket& tunnel) override {
    --tunnels_;
    if (Echo* const echo = of(tunnel)) echo->freed();
  }

  UniqueFd peer_;
  Socket socket_;
  InputBuffer input_;
  Gauge account_;
  std::list<TunnelTraffic> traffic_ = std::list<TunnelTraffic>(1);
  std::list<Echo> echoes_;
  std::unique_ptr<Http2Transport> transport_;
  uint64_t heard_ = 0;
  size_t tunnels_ = 0;
  bool ended_ = false;
};

}  // namespace
}  // namespace weft::proxy

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using weft::proxy::Http2Session;
  if (size == 0) return 0;
  weft::proxy::Run run((data[0] & 1) != 0 ? Http2Session::Role::kClient : Http2Session::Role::kServer);
  const size_t step = (data[0] & 2) != 0 ? 61 : size;
  std::string_view rest(reinterpret_cast<const char*>(data + 1), size - 1);
  while (!rest.empty()) {
    run.hear(rest.substr(0, step));
    rest.remove_prefix(std::min(step, rest.size()));
  }
  run.finish();
  return 0;
}
