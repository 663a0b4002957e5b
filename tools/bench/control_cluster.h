// A cluster of Services, their pods and EndpointSlices at an API server, and pods that are replaced
// as a rollout replaces them. Used by weft-bench-control.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tools/bench/control_api.h"
#include "tools/bench/control_node.h"

namespace weft::bench {

class ControlCluster {
 public:
  struct Size {
    uint32_t services = 5'000;
    uint32_t endpoints = 50'000;  // of all services, as many of each
    uint32_t namespaces = 50;
    uint32_t nodes = 500;
  };

  ControlCluster(ObjectApi& api, const Size& size);

  // Begins to replace one pod, of the next service, and goes on with those that were begun before: a new one
  // is made; `apart` calls later it has an address; as much later it is ready and in the slice, and the old
  // one is ended and is not; as much later that is gone. `node` is to see the new one, that it is healthy,
  // and that the old one is gone. `begin` false: only goes on; false: there is nothing more to do.
  bool replace_pods(ControlNode& node, size_t apart, bool begin);
  // The next service has another target port.
  void alter_service(ControlNode& node);

  uint32_t pods() const { return size_.endpoints; }

 private:
  struct Pod {
    std::string name, ip;
    uint32_t node = 0;
  };
  struct Service {
    std::string ns, name;
    uint32_t number = 0;
    uint16_t target = 8080;
    std::vector<Pod> pods;
  };
  struct Replacement {
    Service* service = nullptr;
    Pod fresh, old;
  };
  enum class Phase : uint8_t { kScheduled, kStarted, kReady, kEnding };

  Pod make_pod(const Service& service);
  Replacement begin(ControlNode& node);
  void join(const Replacement& replacement, ControlNode& node);
  void put(const Service& service, ObjectApi::Begun begun = {});
  void put(const Service& service, const Pod& pod, Phase phase, ObjectApi::Begun begun = {});
  void put_slice(const Service& service);
  // Expects it, and gives what starts its clock.
  static ObjectApi::Begun watched(ControlNode& node, ControlNode::Sight sight, const std::string& name);
  void put_namespaces_and_nodes();

  ObjectApi& api_;
  const Size size_;
  std::vector<Service> services_;
  uint32_t made_ = 0;                      // pods
  size_t next_ = 0;                        // service whose pod is replaced
  std::vector<Replacement> replacements_;  // of all calls, in their order
  size_t calls_ = 0;
};

}  // namespace weft::bench
