// The DaemonSet that an agent runs for, watched so that the agent knows, when it is told to end, whether it
// is being replaced or uninstalled, without asking anybody then: by that time its rights may be gone, and the
// API server too. Part of KubernetesSource, on its thread.
#pragma once

#include <optional>
#include <random>
#include <string>

#include "control-plane/kubernetes/reflector.h"

namespace weft::control_plane {

class OwnDaemonSet {
 public:
  // `client`, `timing` and `random` outlive it.
  OwnDaemonSet(std::string ns, std::string name, ApiClient& client, const ReflectorTiming& timing,
               std::minstd_rand& random);

  Reflector& reflector() { return reflector_; }
  // After each turn of the client. `namespace_ending`: its namespace is being deleted.
  void look(bool namespace_ending);
  // It was there, and then the server said that it is gone, or that it is being deleted, by itself (in the
  // foreground: its pods go first) or with its namespace. One that nobody saw, or that nobody can ask for, is
  // not deleted.
  bool deleted() const { return seen_ && !stays_; }
  // The server did not answer, or could not, when it was last asked: deleted() may be old.
  bool server_away() const;
  // Why that would not be noticed, ending with " (next: …)"; nullopt: it would, or the server does not answer
  // at all, which the other kinds say.
  std::optional<std::string> problem(const std::string& server) const;

 private:
  bool is_refused() const;

  // What kind_ points to.
  const std::string ns_;
  const std::string name_;
  const std::string selector_;
  const std::string place_;
  const KubernetesKind kind_;
  Reflector reflector_;
  bool seen_ = false;
  bool stays_ = false;
};

}  // namespace weft::control_plane
