// PeerAuthentication as denials of plaintext, the form in which Istio's ambient mode carries it: a policy
// that denies callers without an identity, named by the workloads that it is for. Pure; the compiler asks it
// for every workload.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "control-plane/compile/workloads.h"
#include "proto/istio/security.pb.h"

namespace weft::control_plane {

class PeerModes {
 public:
  // The objects outlive it.
  explicit PeerModes(const Objects& objects);

  // The policy of workloads with these labels; nullopt: plaintext is let in. Mesh, namespace, selector and
  // port, each over the one before; the oldest object wins where several say the same. Policies with one
  // name are one policy. Where pods of one node are to encrypt too, the policy's name says so.
  std::optional<istio::security::Authorization> denial_for(
      const std::string& ns, const std::map<std::string, std::string>& labels) const;

 private:
  // The objects of one namespace, the oldest first.
  struct OfNamespace {
    std::vector<const PeerAuthentication*> whole, selecting;
  };
  std::map<std::string, OfNamespace> by_ns_;
  const PeerAuthentication* of_mesh_ = nullptr;
};

}  // namespace weft::control_plane
