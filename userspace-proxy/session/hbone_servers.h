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
    // Room for one more connection of the pod; what was refused is counted.
    virtual bool has_room(CaptureOrigin& pod) = 0;
    // One of them is gone.
    virtual void hbone_ended() = 0;
  };

  HboneServers(ProxyContext& context, Owner& owner) : context_(context), owner_(owner) {}
  ~HboneServers() override { cut_all(); }

  // The pod has so many whose peers have not proved themselves: with one more the oldest of them ends. So who
  // says nothing takes no room from who does.
  static constexpr uint32_t kMaxHandshakes = 256;

  void serve(std::shared_ptr<CaptureOrigin> origin, UniqueFd fd, const SocketAddress& peer);
  void recheck();
  // Other certificates are there now: connections whose pod had none go on.
  void identities_changed();
  void drain();
  void cut_all();
  // Asks the peers of so many connections without tunnels, the oldest first, to leave.
  void give_up_idle(uint64_t count);
  // Ends the oldest of the pod's that has no tunnel. False: none is known.
  static bool give_up_idle(CaptureOrigin& pod);
  bool empty() const { return connections_.empty(); }

 private:
  bool proved(HboneServer& connection) override { return owner_.has_room(connection.pod()); }
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
