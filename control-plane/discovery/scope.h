// Which nodes a resource is for, and what a node is: with both, a control plane for many nodes sends each
// what its pods can need and no more. Pure; AdsService asks.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "control-plane/control_plane.h"

namespace weft::control_plane {

struct Scope {
  enum class Kind : uint8_t {
    kAll,
    kNone,
    kNode,        // the node that runs it
    kNamespaces,  // nodes with a pod of one of the namespaces, and gateways, which serve all
    kCaptured,    // nodes that capture a pod of one of them ("*": of any), and gateways
    kGateways,    // nodes that open ports for clients outside the mesh
  };
  Kind kind = Kind::kAll;
  std::string node;
  std::vector<std::string> namespaces;

  bool operator==(const Scope&) const = default;
};

// By what is written in it: exportTo of services, routes and destination policies; the namespace of an
// authorization policy and of a RequestAuthentication, which are enforced where their workloads are; the node
// of a Pod. Keys (Secret) say nothing of it and are for no node but those that secret_uses.h has. What cannot
// be decoded is for all: its receiver refuses it and says so.
Scope scope_of(const Resource& resource);

// What a node is to the control plane.
struct NodeView {
  std::string node;
  bool gateway = false;
  std::set<std::string> namespaces;  // of its pods
  std::set<std::string> captured;    // of those of them that are to be captured

  bool sees(const Scope& scope) const;
};

// The namespaces of the pods of each node.
class NodeNamespaces {
 public:
  // Of Pod resources; others change nothing. The nodes whose set of namespaces, or of namespaces of captured
  // pods, is another one are added to `touched`.
  void put(const Resource& resource, std::set<std::string>& touched);
  void remove(std::string_view uid, std::set<std::string>& touched);

  // What the node is by them.
  NodeView view_of(const std::string& node, bool gateway) const;

 private:
  struct Place {
    std::string node, ns;
    bool captured = false;
    bool operator==(const Place&) const = default;
  };
  struct Count {
    size_t pods = 0, captured = 0;
  };
  void leave(const Place& place, std::set<std::string>& touched);

  std::map<std::string, Place, std::less<>> places_;  // by uid
  std::map<std::string, std::map<std::string, Count>> counts_;
};

}  // namespace weft::control_plane
