// See tls_exchange.h.
#include "control-plane/serve/tls_exchange.h"

#include <openssl/err.h>
#include <poll.h>

#include <algorithm>
#include <utility>

namespace weft::control_plane {

TlsExchange::TlsExchange(SSL_CTX* context, UniqueFd socket, int stop, Clock::time_point deadline)
    : socket_(std::move(socket)), stop_(stop), deadline_(deadline), ssl_(SSL_new(context)) {
  if (ssl_ != nullptr) SSL_set_fd(ssl_.get(), socket_.get());
}

bool TlsExchange::wait(int result) {
  const int error = SSL_get_error(ssl_.get(), result);
  if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) return false;
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline_ - Clock::now());
  if (left.count() <= 0) return false;
  pollfd fds[] = {{socket_.get(), static_cast<short>(error == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT), 0},
                  {stop_, POLLIN, 0}};
  return ::poll(fds, 2, static_cast<int>(left.count()) + 1) > 0 && fds[1].revents == 0;
}

bool TlsExchange::accept() {
  if (ssl_ == nullptr) return false;
  while (true) {
    ERR_clear_error();
    const int result = SSL_accept(ssl_.get());
    if (result == 1) return true;
    if (!wait(result)) return false;
  }
}

size_t TlsExchange::read(char* to, size_t most) {
  while (true) {
    ERR_clear_error();
    size_t many = 0;
    const int result = SSL_read_ex(ssl_.get(), to, most, &many);
    if (result == 1) return many;
    if (!wait(result)) return 0;
  }
}

bool TlsExchange::write(std::string_view bytes) {
  while (!bytes.empty()) {
    ERR_clear_error();
    size_t many = 0;
    const int result = SSL_write_ex(ssl_.get(), bytes.data(), bytes.size(), &many);
    if (result == 1)
      bytes.remove_prefix(many);
    else if (!wait(result))
      return false;
  }
  return true;
}

void TlsExchange::close() {
  ERR_clear_error();
  static_cast<void>(SSL_shutdown(ssl_.get()));
}

}  // namespace weft::control_plane
