// See ticket_secret.h: each secret is the hash of the one before.
#include "userspace-proxy/tls/ticket_secret.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include <chrono>
#include <optional>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "base/x509.h"

namespace weft::proxy {
namespace {

class Ratchet {
 public:
  absl::StatusOr<TicketSecret> at(uint64_t period) ABSL_LOCKS_EXCLUDED(mutex_) {
    const absl::MutexLock lock(&mutex_);
    // What would be a long way to hash is as good drawn.
    if (!secret_ || period > period_ + kMostSteps) {
      TicketSecret& fresh = secret_.emplace();
      if (RAND_bytes(fresh.data(), static_cast<int>(fresh.size())) != 1) {
        secret_.reset();
        return openssl_status("random bytes");
      }
      period_ = period;
    }
    for (; period_ < period; ++period_) {
      TicketSecret next;
      if (EVP_Digest(secret_->data(), secret_->size(), next.data(), nullptr, EVP_sha256(), nullptr) != 1)
        return openssl_status("session tickets");
      *secret_ = next;
      OPENSSL_cleanse(next.data(), next.size());
    }
    return *secret_;
  }

 private:
  static constexpr uint64_t kMostSteps = 1'000;

  absl::Mutex mutex_;
  std::optional<TicketSecret> secret_ ABSL_GUARDED_BY(mutex_);
  uint64_t period_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace

uint64_t ticket_period() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::hours>(now).count()) / 12;
}

absl::StatusOr<TicketSecret> ticket_secret(uint64_t period) {
  static Ratchet ratchet;
  return ratchet.at(period);
}

}  // namespace weft::proxy
