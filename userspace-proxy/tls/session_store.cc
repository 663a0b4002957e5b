// SessionStore of session_store.h.
#include "userspace-proxy/tls/session_store.h"

#include <atomic>
#include <ctime>
#include <iterator>
#include <utility>

#include "base/strings.h"

namespace weft::proxy {
namespace {

// Those of all stores.
std::atomic<size_t>& in_all() {
  static std::atomic<size_t> count = 0;
  return count;
}

std::string_view name_of(const SSL_SESSION* session) {
  unsigned int length = 0;
  const unsigned char* const bytes = SSL_SESSION_get_id(session, &length);
  return {reinterpret_cast<const char*>(bytes), length};
}

bool is_over(const SSL_SESSION* session, long now) {
  return SSL_SESSION_get_time(session) + SSL_SESSION_get_timeout(session) <= now;
}

}  // namespace

SessionStore::~SessionStore() { in_all() -= order_.size(); }

void SessionStore::forget(std::list<Entry>::iterator entry) {
  by_name_.erase(entry->name);
  order_.erase(entry);
  --in_all();
}

void SessionStore::keep(SslSessionPtr session, std::vector<X509Ptr> chain) {
  std::string name(name_of(session.get()));
  if (name.empty()) return;
  const long now = static_cast<long>(::time(nullptr));
  const absl::MutexLock lock(&mutex_);
  while (!order_.empty() && (order_.size() >= kMax || is_over(order_.front().kept.session.get(), now)))
    forget(order_.begin());
  // Its own oldest makes room in a full process, if it has one.
  if (in_all() >= kMaxInAll && !order_.empty()) forget(order_.begin());
  if (in_all() >= kMaxInAll || by_name_.contains(name)) return;
  ++in_all();
  order_.push_back(Entry{std::move(name), Kept{std::move(session), std::move(chain)}});
  by_name_.emplace(order_.back().name, std::prev(order_.end()));
}

SessionStore::Kept SessionStore::take(std::string_view name) {
  const absl::MutexLock lock(&mutex_);
  const auto found = by_name_.find(to_absl(name));
  if (found == by_name_.end()) return {};
  const auto entry = found->second;
  Kept out = std::move(entry->kept);
  forget(entry);
  return out;
}

void SessionStore::clear() {
  const absl::MutexLock lock(&mutex_);
  while (!order_.empty()) forget(order_.begin());
}

size_t SessionStore::size() const {
  const absl::MutexLock lock(&mutex_);
  return order_.size();
}

}  // namespace weft::proxy
