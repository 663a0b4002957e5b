// See source_trouble.h.
#include "control-plane/kubernetes/source_trouble.h"

#include <map>
#include <utility>

#include "base/strings.h"

namespace weft::control_plane {
namespace {

struct Cause {
  std::vector<const Reflector*> stopped;
  Reflector::Clock::time_point since;
};

std::string next_step(long status, const KubernetesKind& kind) {
  switch (status) {
    case 0:
      return "see whether it answers: kubectl get --raw /readyz";
    case 401:
      return "check the token or the client certificate";
    case 403:
      return str_cat("allow list and watch of ", kind.resource(), " (docs/kubernetes.md)");
    default:
      return "see the API server's log; Weft tries again by itself";
  }
}

std::string names_of(const std::vector<const Reflector*>& stopped) {
  std::string out(stopped.front()->kind().name);
  if (stopped.size() > 1) str_append(&out, " and ", stopped.size() - 1, " more kinds");
  return out;
}

}  // namespace

std::vector<std::string> describe_trouble(const std::string& server,
                                          const std::vector<const Reflector*>& reflectors, bool told,
                                          Reflector::Clock::time_point now) {
  std::map<std::pair<long, std::string>, Cause> causes;
  for (const Reflector* reflector : reflectors) {
    if (!reflector->trouble()) continue;
    Cause& cause = causes[{reflector->trouble()->status, reflector->trouble()->message}];
    if (cause.stopped.empty() || reflector->trouble()->since < cause.since)
      cause.since = reflector->trouble()->since;
    cause.stopped.push_back(reflector);
  }
  std::vector<std::string> out;
  for (const auto& [what, cause] : causes) {
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(now - cause.since).count();
    out.push_back(str_cat(
        "Kubernetes API ", server, ": ", names_of(cause.stopped), ": ", what.second, ", for ", seconds,
        " s; ", told ? "what was read before stays in force" : "nothing is in force before it answers",
        " (next: ", next_step(what.first, cause.stopped.front()->kind()), ")"));
  }
  return out;
}

}  // namespace weft::control_plane
