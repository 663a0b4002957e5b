// The DaemonSet that an agent runs for: is the agent, when it is told to end, being replaced or uninstalled?
// It is watched, since by that time the agent's rights may be gone, and the API server too; and it is asked
// for anew then, since on a busy machine the order to end may come before the watch's news. Part of
// KubernetesSource, on its thread.
#pragma once

#include <cstdint>
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

  const Reflector& reflector() const { return reflector_; }
  // The namespace, as a kind of one object.
  const KubernetesKind& namespace_kind() const { return namespace_kind_; }
  // As Reflector::ending() takes it.
  const std::string& namespace_place() const { return namespace_place_; }
  // Begins what is due; when there is something to do next. Before each turn of the client.
  Reflector::Clock::time_point tick(Reflector::Clock::time_point now);
  // Asks for it and for its namespace once more, whatever the watch says: a list without a version is of
  // everything that had happened when it was asked for (Kubernetes API Concepts, "Semantics for get and
  // list"). Again until there is an answer.
  void ask_anew();
  // After each turn of the client. `namespace_ending`: its namespace is being deleted.
  void look(bool namespace_ending);
  // It was there, and then the server said that it is gone, or that it is being deleted, by itself (in the
  // foreground: its pods go first) or with its namespace. One that nobody saw, or that nobody can ask for, is
  // not deleted.
  bool deleted() const { return seen_ && (!stays_ || answer_ == Answer::kGone); }
  // There was an answer to ask_anew(), and deleted() goes by it.
  bool answered() const { return answer_ != Answer::kNone; }
  // Why that would not be noticed, ending with " (next: …)"; nullopt: it would, or the server does not answer
  // at all, which the other kinds say.
  std::optional<std::string> problem(const std::string& server) const;

 private:
  // To ask_anew().
  enum class Answer : uint8_t { kNone, kStays, kGone };
  struct Question {
    explicit Question(const OwnDaemonSet& own);
    Reflector daemonset, its_namespace;
  };
  void look_at_answer();

  // What kind_ points to.
  const std::string ns_;
  const std::string name_;
  const std::string selector_;
  const std::string place_;
  const KubernetesKind kind_;
  const std::string namespace_selector_, namespace_place_;
  const KubernetesKind namespace_kind_;
  ApiClient& client_;
  const ReflectorTiming& timing_;
  std::minstd_rand& random_;
  Reflector reflector_;
  std::optional<Question> question_;
  Answer answer_ = Answer::kNone;
  bool seen_ = false;
  bool stays_ = false;
};

}  // namespace weft::control_plane
