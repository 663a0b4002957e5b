// The HBONE connections of one worker, as a list that can be drained. Owned by the worker. Worker thread
// only.
#pragma once

#include <memory>
#include <utility>

#include "userspace-proxy/session/hbone_server.h"

namespace weft::proxy {

class HboneServers final : private HboneServer::Owner {
 public:
  class Owner {
   public:
    virtual ~Owner() = default;
    // One of them is gone.
    virtual void hbone_ended() = 0;
  };

  HboneServers(ProxyContext& context, Owner& owner) : context_(context), owner_(owner) {}
  ~HboneServers() override { cut_all(); }

  void serve(std::shared_ptr<CaptureOrigin> origin, UniqueFd fd, const SocketAddress& peer);
  void recheck();
  void drain();
  void cut_all();
  bool empty() const { return connections_.empty(); }

 private:
  void ended(HboneServer& connection) override;
  template <typename F>
  void each(F f) {
    for (HboneServer* one = connections_.front(); one != nullptr;) {
      HboneServer* next = connections_.after(*one);
      f(*one);
      one = next;
    }
  }

  ProxyContext& context_;
  Owner& owner_;
  IntrusiveList<HboneServer> connections_;  // each retires itself when it has ended
};

}  // namespace weft::proxy
