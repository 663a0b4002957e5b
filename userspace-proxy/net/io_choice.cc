// The trial of io_choice.h: a loop on io_uring serves one connection over a Unix socket, which needs no
// network. Bounded in turns and time.
#include "userspace-proxy/net/io_choice.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <cerrno>
#include <thread>

#include "base/log.h"
#include "base/status_macros.h"
#include "userspace-proxy/net/acceptor.h"
#include "userspace-proxy/net/socket.h"
#include "userspace-proxy/net/system_calls.h"

namespace weft::proxy {
namespace {

constexpr int kMaxTurns = 50;
constexpr int kTurnMs = 20;
constexpr std::string_view kBytes = "weft";

class Trial final : public Acceptor::Receiver {
 public:
  explicit Trial(std::unique_ptr<EventLoop> loop) : loop_(std::move(loop)) {}
  absl::Status run();

 private:
  absl::Status connect();
  bool turn_until(const bool& done);
  void accepted(UniqueFd fd, const SocketAddress&) override;
  bool accept_failed(int error) override {
    error_ = error;
    return false;
  }
  void on_received(int result);
  void on_sent(int result) { sent_ = result == 0; }
  absl::Status refused(std::string_view what) const {
    return error_ == 0 ? absl::UnavailableError(str_cat(what, " does not work")) : errno_status(what, error_);
  }

  std::unique_ptr<EventLoop> loop_;
  std::unique_ptr<Acceptor> acceptor_;
  UniqueFd client_;
  Socket socket_{*loop_};
  InputBuffer input_{loop_->buffers()};
  bool accepted_ = false, received_ = false, sent_ = false;
  int error_ = 0;
  Operation recv_{this, method<&Trial::on_received>};
  Operation send_{this, method<&Trial::on_sent>};
};

absl::Status Trial::connect() {
  UniqueFd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  client_.reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!listener.valid() || !client_.valid()) return errno_status("socket", errno);
  // unix(7): a bare family binds to an abstract name that nobody else has.
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  socklen_t length = sizeof(address);
  if (::bind(listener.get(), generic, sizeof(sa_family_t)) != 0 || ::listen(listener.get(), 1) != 0 ||
      ::getsockname(listener.get(), generic, &length) != 0 || ::connect(client_.get(), generic, length) != 0)
    return errno_status("unix socket", errno);
  acceptor_ = std::make_unique<Acceptor>(*loop_, std::move(listener), *this);
  if (!acceptor_->start()) return errno_status("listen", errno);
  return absl::OkStatus();
}

bool Trial::turn_until(const bool& done) {
  for (int i = 0; i < kMaxTurns && !done && error_ == 0; ++i) loop_->turn(kTurnMs);
  return done;
}

void Trial::accepted(UniqueFd fd, const SocketAddress&) {
  accepted_ = socket_.open(std::move(fd), true);
  if (accepted_ && socket_.recv(recv_, input_)) on_received(recv_.result);
}

void Trial::on_received(int result) {
  received_ = result > 0 && input_.unread() == kBytes;
  if (result < 0) error_ = -result;
}

absl::Status Trial::run() {
  RETURN_IF_ERROR(connect());
  if (!turn_until(accepted_)) return refused("io_uring multishot accept");
  const iovec out{const_cast<char*>(kBytes.data()), kBytes.size()};
  transmit(client_.get(), std::span(&out, 1));
  if (!turn_until(received_)) return refused("io_uring multishot receive");
  if (socket_.send(send_, std::span(&out, 1))) on_sent(send_.result);
  if (!turn_until(sent_)) return refused("io_uring send");
  std::array<char, 16> answer;
  if (receive(client_.get(), answer) != static_cast<ssize_t>(kBytes.size())) return refused("io_uring send");
  return absl::OkStatus();
}

absl::Status run_trial() {
  ASSIGN_OR_RETURN(std::unique_ptr<EventLoop> loop, EventLoop::open(IoKind::kUring));
  return Trial(std::move(loop)).run();
}

}  // namespace

absl::Status try_uring() {
  absl::Status status;
  // On a thread of its own: the kernel takes a ring apart in the thread that used it, later and with a signal
  // (io_tctx_exit_cb), which would interrupt whatever the caller then waits in.
  std::thread([&status] { status = run_trial(); }).join();
  return status;
}

absl::StatusOr<IoKind> choose_io(IoChoice choice) {
  if (choice == IoChoice::kEpoll) return IoKind::kEpoll;
  const absl::Status uring = try_uring();
  if (uring.ok()) return IoKind::kUring;
  if (choice == IoChoice::kUring) return annotate("--io uring", uring);
  log::info("io_uring_refused", {{"reason", std::string(uring.message())},
                                 {"using", "epoll"},
                                 {"next", "allow io_uring on Linux 6.1 or later for fewer system calls"}});
  return IoKind::kEpoll;
}

}  // namespace weft::proxy
