// The manifests of a test mesh as YAML text, and the folder they are written to. A file is replaced
// atomically (rename), as an editor or kubectl does it, so the agent never sees half a document.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "tests/harness/topology.h"

namespace weft::harness {

struct PortSpec {
  std::string name;          // "http", "tcp-echo": says the protocol, as in Istio
  uint16_t port = 0;         // of the service
  uint16_t target_port = 0;  // of the pod
};

struct ServiceSpec {
  std::string name;
  std::string ip4, ip6;  // ip6 may be empty
  std::vector<PortSpec> ports;
  std::string ns = "default";
  std::map<std::string, std::string> selector;  // empty: app=NAME
};

// `enrolled` adds label weft.dev/mesh and annotation weft.dev/netns.
std::string pod_yaml(const Pod& pod, const std::map<std::string, std::string>& labels, bool enrolled);
std::string service_yaml(const ServiceSpec& spec);
// VirtualService and DestinationRule of product-service with these weights; the text of examples for 95
// and 5.
std::string canary_yaml(uint32_t v1_weight, uint32_t v2_weight);

class ManifestFolder {
 public:
  explicit ManifestFolder(std::string path);
  const std::string& path() const { return path_; }
  void write(const std::string& file, const std::string& text) const;
  void remove(const std::string& file) const;

 private:
  std::string path_;
};

}  // namespace weft::harness
