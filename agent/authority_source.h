// Who vouches for this node and its pods when its own authority does not: flags, and the parts of the agent
// that they choose. Called by main.cc.
#pragma once

#include <functional>
#include <string>

#include <CLI/CLI.hpp>

#include "absl/status/status.h"
#include "agent/agent.h"
#include "control-plane/remote/istio_authority.h"

namespace weft::agent {

struct AuthorityFlags {
  // Its target given: certificates of pods come from that istiod.
  control_plane::ControlAccess istio{.cluster_id = control_plane::kIstioCluster};
  // Given: weft-control gets to know this node by it, once.
  std::string join_token_file;
  std::string node_dir;  // empty: as default_node_dir() says
};

struct ControlOptions {
  CLI::Option* target;               // --control-plane
  std::vector<CLI::Option*> proofs;  // what proves the node to weft-control
};
// `sources`: where else the configuration may come from.
ControlOptions add_control_options(CLI::App& app, const std::vector<CLI::Option*>& sources,
                                   control_plane::ControlAccess& access);

// `control`: --control-plane; `others`: what proves the node to weft-control instead of a join token;
// `ca_dir`: the folder of an authority of our own.
void add_authority_options(CLI::App& app, CLI::Option* control, const std::vector<CLI::Option*>& others,
                           CLI::Option* ca_dir, AuthorityFlags& flags);

// Has istiod sign for the pods of this node, instead of whoever else would.
void use_istio(const AuthorityFlags& flags, Agent::Parts& parts);

// "<node dir>/node.pem": certificate and key of a node that joined.
std::string node_certificate_file(const AuthorityFlags& flags, const std::string& run_dir);

// The node is a member of the mesh of `access` when this returns, and stays one while the parts are there.
// Waits for weft-control, at most a minute, and not when `give_up` says so.
absl::Status join(const AuthorityFlags& flags, const control_plane::ControlAccess& access,
                  const std::string& node_name, const std::string& run_dir, std::function<bool()> give_up,
                  Agent::Parts& parts);

// For `weft-agent cleanup`: the node is nobody's any more.
void leave(const AuthorityFlags& flags, const std::string& run_dir);

}  // namespace weft::agent
