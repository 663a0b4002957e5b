// What the reconciler does with news of where pods are, and with pods whose start waits for it; see
// reconciler.h.
#include <algorithm>
#include <string>
#include <vector>

#include "agent/mesh/reconciler.h"
#include "base/log.h"
#include "base/strings.h"

namespace weft::agent {
namespace {

using CniVerdict = CniAnswer::Verdict;

CniAnswer refuse(std::string error) { return {CniVerdict::kRefused, std::move(error)}; }

struct VisibleNetns {
  std::string path;
  NetnsIdentity identity;
};

// The runtime's path is one of the node's file system, which the agent's may lack, or show without what is
// mounted on it. containerd says /var/run, which is a link to /run on nodes, and nothing in the agent's
// image.
std::vector<std::string> places_of(const std::string& path) {
  constexpr std::string_view kLink = "/var/run/";
  std::vector<std::string> out{path};
  if (path.starts_with(kLink)) out.push_back(str_cat("/run/", path.substr(kLink.size())));
  out.push_back(str_cat("/proc/1/root", path));
  return out;
}

absl::StatusOr<VisibleNetns> visible(const NetnsProbe& probe, const std::string& path) {
  if (!path.starts_with("/")) return absl::InvalidArgumentError(str_cat(path, " is no absolute path"));
  std::string why;
  for (std::string& place : places_of(path)) {
    const absl::StatusOr<NetnsIdentity> found = probe(place);
    if (found.ok()) return VisibleNetns{std::move(place), *found};
    if (why.empty()) why = std::string(found.status().message());
  }
  return absl::NotFoundError(
      str_cat(why, "; next: mount /run/netns into weft-agent, with mountPropagation: HostToContainer"));
}

}  // namespace

void Reconciler::locate_pods() {
  pods_.set_manifest(sandboxes_.located());
  if (parts_.look_for) parts_.look_for(sandboxes_.wanted());
}

void Reconciler::sandboxes_known() {
  const auto done = std::make_shared<std::promise<void>>();
  const bool posted = post([this, done] {
    sandboxes_known_ = true;
    reconcile_pods();
    done->set_value();
  });
  if (posted) done->get_future().wait();
}

void Reconciler::sandbox_found(const std::string& kubelet_uid, const absl::StatusOr<Sandbox>& sandbox) {
  post([this, kubelet_uid, sandbox] {
    if (!sandboxes_.found(kubelet_uid, sandbox)) return;
    locate_pods();
    reconcile_pods();
  });
}

void Reconciler::admit(CniRequest request, std::function<void(CniAnswer)> reply) {
  const bool posted = post([this, request = std::move(request), reply] {
    if (request.command == "DEL") {
      release_sandbox(request);
      reply({CniVerdict::kOutside, ""});
      return;
    }
    if (request.command == "CHECK") {
      reply(check_pod(request));
      return;
    }
    const auto patience = std::chrono::nanoseconds(options_.admission_deadline).count();
    admissions_.push_back(Admission{.request = request,
                                    .reply = reply,
                                    .deadline = clock_.now() + static_cast<MonotonicNs>(patience),
                                    .reason = "the API server has not told of it yet"});
    // Before the first configuration nothing is decided.
    if (!applied_at_) return;
    begin_admissions();
    reconcile_pods();
  });
  if (!posted) reply(refuse("the agent is stopping; next: the runtime tries again"));
}

const control_plane::LocalPod* Reconciler::local_pod(const CniRequest& request) const {
  for (const control_plane::LocalPod& pod : sandboxes_.pods()) {
    if (pod.ns != request.ns || pod.name != request.name) continue;
    // A pod that was made again under its name is another, and the source may not know it yet.
    if (request.uid.empty() || pod.kubelet_uid == request.uid) return &pod;
  }
  return nullptr;
}

CniAnswer Reconciler::check_pod(const CniRequest& request) const {
  const control_plane::LocalPod* local = local_pod(request);
  if (local == nullptr || !local->wants_capture) return {CniVerdict::kOutside, ""};
  const Pod* pod = pods_.find(str_cat(request.ns, "/", request.name));
  if (pod != nullptr && pod->state == Pod::State::kCaptured) return {CniVerdict::kCaptured, ""};
  return refuse(pod == nullptr ? "it is not wanted" : pod->reason);
}

// A DEL comes again for sandboxes that are long gone, when the pod may have another one: only the namespace
// itself says which is meant.
void Reconciler::release_sandbox(const CniRequest& request) {
  if (request.netns.empty()) return;
  const absl::StatusOr<VisibleNetns> netns = visible(parts_.probe, request.netns);
  if (!netns.ok() || !sandboxes_.taken(netns->identity)) return;
  locate_pods();
  reconcile_pods();
}

// Those whose pod the source has told of by now.
void Reconciler::begin_admissions() {
  std::erase_if(admissions_, [this](Admission& admission) {
    if (!admission.key.empty()) return false;
    const std::optional<CniAnswer> answer = begin(admission);
    if (answer) admission.reply(*answer);
    return answer.has_value();
  });
}

// nullopt: it has to wait.
std::optional<CniAnswer> Reconciler::begin(Admission& admission) {
  const control_plane::LocalPod* pod = local_pod(admission.request);
  if (pod == nullptr) return std::nullopt;
  if (!pod->wants_capture) return CniAnswer{CniVerdict::kOutside, ""};
  if (pod->kubelet_uid.empty()) return refuse("its object has no metadata.uid");
  const absl::StatusOr<VisibleNetns> netns = visible(parts_.probe, admission.request.netns);
  if (!netns.ok()) return refuse(std::string(netns.status().message()));
  for (const char* own : {"/proc/self/ns/net", "/proc/1/ns/net"}) {
    const absl::StatusOr<NetnsIdentity> node = parts_.probe(own);
    if (node.ok() && *node == netns->identity)
      return refuse(str_cat(admission.request.netns, " is the node's own network namespace"));
  }
  admission.key = str_cat(pod->ns, "/", pod->name);
  admission.identity = netns->identity;
  sandboxes_.given(pod->kubelet_uid, netns->path, netns->identity);
  locate_pods();
  return std::nullopt;
}

void Reconciler::settle_admissions() {
  const MonotonicNs now = clock_.now();
  std::erase_if(admissions_, [&](Admission& admission) {
    const Pod* pod = admission.key.empty() ? nullptr : pods_.find(admission.key);
    if (pod != nullptr && pod->state == Pod::State::kCaptured && pod->identity == admission.identity) {
      admission.reply({CniVerdict::kCaptured, ""});
      return true;
    }
    if (admission.deadline > now) return false;
    if (admission.key.empty()) {
      log::warn("pod_start_undecided", {{"pod", str_cat(admission.request.ns, "/", admission.request.name)},
                                        {"reason", admission.reason}});
      admission.reply(
          {CniVerdict::kUnknown, str_cat(admission.reason, "; next: weft check on the pod's node")});
      return true;
    }
    const std::string reason = pod != nullptr ? pod->reason : admission.reason;
    log::warn("pod_start_refused",
              {{"pod", str_cat(admission.request.ns, "/", admission.request.name)}, {"reason", reason}});
    admission.reply(refuse(str_cat(reason, "; next: weft check on the pod's node")));
    return true;
  });
}

MonotonicNs Reconciler::next_admission() const {
  MonotonicNs next = UINT64_MAX;
  for (const Admission& admission : admissions_) next = std::min(next, admission.deadline);
  return next;
}

}  // namespace weft::agent
