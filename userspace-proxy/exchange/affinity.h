// Which of a request's properties keeps it on its endpoint (consistentHash), and the cookie for a client that
// has none yet. Pure; called by the exchange once for each request to a cluster that hashes.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/address.h"
#include "userspace-proxy/config/snapshot.h"
#include "userspace-proxy/http/message.h"
#include "userspace-proxy/upstream/random.h"

namespace weft::proxy {

inline bool hashes(const Cluster& cluster) {
  return cluster.policy != nullptr &&
         (cluster.load_balancer == LoadBalancer::kRingHash || cluster.load_balancer == LoadBalancer::kMaglev);
}

// nullopt: the request does not have it.
std::optional<uint64_t> affinity_of(const HashKey& key, const RequestHead& request,
                                    const SocketAddress& client);
// Of a TCP connection, which has nothing but its source.
std::optional<uint64_t> affinity_of(const HashKey& key, const SocketAddress& client);

// The key gives cookies: the value of a Set-Cookie field, and in `*hash` what the client's further requests
// will have.
std::string new_cookie(const HashKey& key, Random& random, uint64_t* hash);

}  // namespace weft::proxy
