// Sessions that the clients of one identity may come back with. A ticket is a name of one, and what it names
// is here: nothing is written into the ticket, and nothing read back, which OpenSSL 3.0 does twice for each
// resumed handshake, the peer's certificate included. A session is given out once (RFC 8446 §C.4), so who
// copies a ticket that was used has nothing. Shared by the workers, for the next connection of a client comes
// to any of them; belongs to the credentials of one identity and goes with them. Thread-safe.
#pragma once

#include <cstddef>
#include <list>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "userspace-proxy/tls/tls_profile.h"

namespace weft::proxy {

class SessionStore {
 public:
  struct Kept {
    SslSessionPtr session;
    std::vector<X509Ptr> chain;  // of the peer, as it was verified when the session began, the leaf first
  };
  // Of one store; the oldest goes. And of all of the process: who comes then is not kept.
  static constexpr size_t kMax = 1024, kMaxInAll = 8192;

  SessionStore() = default;
  ~SessionStore();
  SessionStore(const SessionStore&) = delete;
  SessionStore& operator=(const SessionStore&) = delete;

  // Nobody else has the session: the library changes those of live connections.
  void keep(SslSessionPtr session, std::vector<X509Ptr> chain);
  // Null: there is none of that name, or no more. What is too old the library does not resume.
  Kept take(std::string_view name);
  // Of credentials that no new connection has: they would take the room of others'.
  void clear();
  size_t size() const;

 private:
  struct Entry {
    std::string name;
    Kept kept;
  };
  void forget(std::list<Entry>::iterator entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  mutable absl::Mutex mutex_;
  std::list<Entry> order_ ABSL_GUARDED_BY(mutex_);  // the oldest first
  absl::flat_hash_map<std::string, std::list<Entry>::iterator> by_name_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace weft::proxy
