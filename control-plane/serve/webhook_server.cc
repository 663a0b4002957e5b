// See webhook_server.h.
#include "control-plane/serve/webhook_server.h"

#include <openssl/err.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>
#include <vector>

#include "base/log.h"
#include "base/status_macros.h"
#include "base/tcp_listener.h"
#include "base/x509.h"
#include "control-plane/admission/post_request.h"
#include "control-plane/admission/review.h"
#include "control-plane/serve/tls_exchange.h"

namespace weft::control_plane {
namespace {

constexpr char kProtocol[] = "\x08http/1.1";
// When there is nothing to accept a connection with.
constexpr std::chrono::milliseconds kPause{100};

// Clients that offer HTTP/2 too get this one.
int choose_protocol(SSL*, const unsigned char** out, unsigned char* out_length, const unsigned char* in,
                    unsigned int in_length, void*) {
  const auto* const ours = reinterpret_cast<const unsigned char*>(kProtocol);
  unsigned char* chosen = nullptr;
  if (SSL_select_next_proto(&chosen, out_length, ours, sizeof(kProtocol) - 1, in, in_length) !=
      OPENSSL_NPN_NEGOTIATED)
    return SSL_TLSEXT_ERR_ALERT_FATAL;
  *out = chosen;
  return SSL_TLSEXT_ERR_OK;
}

std::string_view reason(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 411:
      return "Length Required";
    case 413:
      return "Content Too Large";
    case 417:
      return "Expectation Failed";
    case 431:
      return "Request Header Fields Too Large";
    case 505:
      return "HTTP Version Not Supported";
    default:
      return "Bad Request";
  }
}

std::string serialize(int status, std::string_view type, std::string_view body) {
  return str_cat("HTTP/1.1 ", status, " ", reason(status), "\r\nContent-Type: ", type,
                 "\r\nContent-Length: ", body.size(), "\r\nConnection: close\r\n\r\n", body);
}

std::string refusal(int status, std::string_view words) {
  return serialize(status, "text/plain; charset=utf-8", str_cat(words, "\n"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<WebhookServer>> WebhookServer::start(Options options) {
  std::unique_ptr<WebhookServer> server(new WebhookServer(std::move(options)));
  RETURN_IF_ERROR(annotate("certificate of the webhook", server->load()));
  absl::StatusOr<TcpListener> listener = listen_on(server->options_.address);
  if (!listener.ok()) return annotate("--webhook", listener.status());
  server->listener_ = std::move(listener->socket);
  server->address_ = listener->address;
  server->stop_.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!server->stop_.valid()) return errno_status("eventfd", errno);
  WebhookServer* const raw = server.get();
  server->thread_ = std::thread([raw] { raw->run(); });
  return server;
}

WebhookServer::Stamp WebhookServer::stamp_of(const std::string& file) {
  struct stat found{};
  if (::stat(file.c_str(), &found) != 0) return {};
  return {found.st_dev, found.st_ino, found.st_mtim.tv_sec, found.st_mtim.tv_nsec};
}

absl::Status WebhookServer::load() {
  // Before the reading: what changes meanwhile is read again.
  const Stamp now = stamp_of(options_.certificate_file);
  if (context_ != nullptr && now == loaded_) return absl::OkStatus();
  const ContextPtr made(SSL_CTX_new(TLS_server_method()), SSL_CTX_free);
  if (made == nullptr) return openssl_status("TLS");
  SSL_CTX_set_min_proto_version(made.get(), TLS1_2_VERSION);
  SSL_CTX_set_alpn_select_cb(made.get(), choose_protocol, nullptr);
  // A connection is one request: a resumed session would be kept for nobody.
  SSL_CTX_set_session_cache_mode(made.get(), SSL_SESS_CACHE_OFF);
  SSL_CTX_set_options(made.get(), SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION);
  if (SSL_CTX_use_certificate_chain_file(made.get(), options_.certificate_file.c_str()) != 1)
    return openssl_status(options_.certificate_file);
  if (SSL_CTX_use_PrivateKey_file(made.get(), options_.key_file.c_str(), SSL_FILETYPE_PEM) != 1 ||
      SSL_CTX_check_private_key(made.get()) != 1)
    return openssl_status(options_.key_file);
  context_ = made;
  loaded_ = now;
  return absl::OkStatus();
}

WebhookServer::~WebhookServer() {
  if (!thread_.joinable()) return;
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t n = ::write(stop_.get(), &one, sizeof(one));
  thread_.join();
  std::unique_lock lock(mutex_);
  ended_.wait(lock, [this] { return running_.empty(); });
  lock.unlock();
  reap();
}

WebhookServer::Counts WebhookServer::counts() const {
  const std::lock_guard lock(mutex_);
  return counts_;
}

void WebhookServer::reap() {
  std::vector<std::thread> done;
  {
    const std::lock_guard lock(mutex_);
    done.swap(done_);
  }
  for (std::thread& each : done) each.join();
}

void WebhookServer::run() {
  while (true) {
    {
      std::unique_lock lock(mutex_);
      ended_.wait(lock, [this] { return running_.size() < options_.max_connections; });
    }
    reap();
    pollfd fds[] = {{listener_.get(), POLLIN, 0}, {stop_.get(), POLLIN, 0}};
    if (::poll(fds, 2, -1) < 0 && errno != EINTR) return;
    if (fds[1].revents != 0) return;
    UniqueFd socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!socket.valid()) {
      // Not a loop that turns as long as that is so.
      if (is_no_room(errno)) ::poll(&fds[1], 1, static_cast<int>(kPause.count()));
      continue;
    }
    if (const absl::Status loaded = load(); !loaded.ok())
      log::error("webhook_certificate_not_read", {{"error", loaded.message()}});
    begin(std::move(socket));
  }
}

void WebhookServer::begin(UniqueFd socket) {
  const std::lock_guard lock(mutex_);
  const uint64_t id = ++next_;
  try {
    running_.emplace(id, [this, id, socket = std::move(socket), context = context_]() mutable {
      serve(std::move(socket), context);
      const std::lock_guard done(mutex_);
      const auto own = running_.find(id);
      done_.push_back(std::move(own->second));
      running_.erase(own);
      ended_.notify_all();
    });
  } catch (const std::system_error& error) {
    // No thread is to be had: the connection is closed, and the API server lets the object pass.
    ++counts_.failed;
    log::error("webhook_thread_not_started",
               {{"error", error.what()}, {"next", "see the limits of processes and memory"}});
  }
}

void WebhookServer::serve(UniqueFd socket, const ContextPtr& context) {
  TlsExchange connection(context.get(), std::move(socket), stop_.get(),
                         TlsExchange::Clock::now() + options_.timeout);
  PostRequest request(kMaxReviewBytes);
  using State = PostRequest::State;
  bool broken = !connection.accept();
  while (!broken && request.state() != State::kDone && request.state() != State::kRefused) {
    char chunk[16 * 1024];
    const size_t many = connection.read(chunk, sizeof(chunk));
    broken = many == 0;
    request.feed({chunk, many});
  }
  const auto count = [this](uint64_t Counts::* field) {
    const std::lock_guard lock(mutex_);
    ++(counts_.*field);
  };
  if (broken) return count(&Counts::failed);
  std::string reply;
  if (request.state() == State::kRefused) {
    count(&Counts::failed);
    reply = refusal(request.status(), str_cat("next: POST an AdmissionReview to ", kPath));
  } else if (request.path() != kPath) {
    count(&Counts::failed);
    reply = refusal(404, str_cat("not here; next: POST ", kPath));
  } else if (const absl::StatusOr<ReviewAnswer> answer = review(request.body()); answer.ok()) {
    count(answer->allowed ? &Counts::allowed : &Counts::denied);
    reply = serialize(200, "application/json", answer->body);
  } else {
    count(&Counts::failed);
    reply =
        refusal(absl::IsResourceExhausted(answer.status()) ? 413 : 400, to_std(answer.status().message()));
  }
  if (connection.write(reply)) connection.close();
}

}  // namespace weft::control_plane
