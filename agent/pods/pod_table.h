// Which pods of this node ought to be captured, which are, and why the others are not. Owned by the
// reconciler thread; turns differences into Dataplane and ProxyFeed calls. A pod that cannot be enrolled yet
// stays pending and is tried again.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "agent/dataplane/dataplane.h"
#include "agent/feed/proxy_feed.h"
#include "agent/mesh/id_registry.h"
#include "agent/pods/enrollment_store.h"
#include "agent/pods/netns.h"
#include "base/clock.h"
#include "control-plane/control_plane.h"

namespace weft::agent {

struct Pod {
  enum class State : uint8_t { kPending, kCaptured };

  std::string ns;
  std::string name;
  std::string uid;
  std::string netns_path;
  bool from_cli = false;
  std::vector<uint16_t> exclude_ports;
  std::vector<CidrExclusion> exclude_cidrs;
  control_plane::LocalPod::FailMode fail_mode = control_plane::LocalPod::FailMode::kDefault;
  // It may reach declared destinations only.
  bool confined = false;
  // Its connections may go past TCP between it and the proxy.
  bool shortcut = false;
  // Some policy applies to it; the reconciler says so.
  bool has_policy = false;
  // Other nodes open tunnels to it, and its application takes them itself; the reconciler says so.
  bool tunnels = false;
  bool native_tunnel = false;
  // The proxy judges its plain connections; the reconciler says so.
  bool inspected = false;

  State state = State::kPending;
  std::string reason;   // while pending
  std::string problem;  // while captured: what of it is not captured, and why
  uint64_t netns_cookie = 0;
  std::string captured_path;
  std::string captured_uid;
  std::shared_ptr<NamespaceFds> fds;
  NetnsIdentity identity;
  std::vector<std::string> steps;
  bool changed = false;  // captured, but with another plan than wanted
  MonotonicNs next_try = 0;
  MonotonicNs backoff = 0;

  std::string key() const { return ns + "/" + name; }
  bool fails_closed() const {
    using FailMode = control_plane::LocalPod::FailMode;
    return fail_mode == FailMode::kClosed || (fail_mode == FailMode::kDefault && (has_policy || tunnels));
  }
};

class PodTable {
 public:
  struct Callbacks {
    // The id of a workload's uid, 0 when it has none yet.
    std::function<uint32_t(const std::string& uid)> id_of;
    // The uid of a pod that no manifest describes.
    std::function<std::string(const std::string& ns, const std::string& name)> uid_of;
    // Why no namespace is known of the pod with this uid; "": nobody looks for it. May be absent.
    std::function<std::string(const std::string& uid)> why_unknown = {};
  };

  PodTable(Dataplane& dataplane, ProxyFeed& feed, NetnsProbe probe, Callbacks callbacks);

  void set_manifest(const std::vector<control_plane::LocalPod>& pods);
  void set_enrollments(std::vector<Enrollment> enrollments);
  // What an earlier agent had captured and nobody wants any more (call after the first reconcile): taken out
  // again.
  void release_leftovers(const std::vector<CapturedNamespace>& leftovers, MonotonicNs now);

  // Whether some policy applies to the workload of this uid; changes how it fails.
  void set_has_policy(const std::string& uid, bool has_policy);
  // Whether other nodes open tunnels to it, and whether it takes them itself; changes how it fails, too.
  void set_tunnels(const std::string& uid, bool tunnels, bool native);
  // Whether the proxy judges the plain connections that come to it.
  void set_inspected(const std::string& uid, bool inspected);
  // Whether the proxy that is served, or was last, can judge plain connections; until one came it is taken
  // to. True: that is news.
  bool set_proxy_judges(bool judges) { return std::exchange(proxy_judges_, judges) != judges; }
  bool proxy_judges() const { return proxy_judges_; }

  // Brings every pod whose time has come closer to what is wanted.
  void reconcile(MonotonicNs now);
  // When reconcile has work next, for the reconciler's timer.
  MonotonicNs next_deadline(MonotonicNs now) const;

  // A proxy introduced itself: its listeners are taken over, and it is told what to serve.
  void proxy_ready(uint64_t connection, std::vector<HeldNamespace> held);
  // Namespaces whose only listeners died with the proxy get new ones.
  void proxy_gone();

  const std::map<std::string, Pod>& pods() const { return pods_; }
  const Pod* find(const std::string& key) const;
  // How the pod's namespace is, or is to be, enrolled.
  NamespacePlan plan_of(const Pod& pod) const;
  bool in_manifest(const std::string& key) const;
  // Where a pod's manifest says that it is; empty when none does.
  std::string manifest_netns(const std::string& key) const;
  // Subjects that need an id although the model may not know them.
  std::vector<Subject> subjects() const;
  uint32_t captured() const;
  // True while connections of a namespace that was released are still open.
  bool is_leaving(const std::string& netns_path) const;
  std::vector<CapturedNamespace> captured_namespaces() const;

 private:
  void refresh_wanted();
  void want(Pod wanted);
  void enroll(Pod& pod, MonotonicNs now);
  void take_over(Pod& pod, EnrolledNamespace enrolled, const NetnsIdentity& identity);
  bool release(Pod& pod, MonotonicNs now);
  void inspect(Pod& pod, MonotonicNs now);
  void postpone(Pod& pod, MonotonicNs now, std::string reason);
  absl::Status ensure_listeners(Pod& pod);
  // New ones, announced, when nobody holds a listener of the pod any more.
  void restore_listeners(Pod& pod);
  const Pod* owner_of(uint64_t cookie) const;
  void examine(Pod& pod, MonotonicNs now);
  void announce(const Pod& pod);
  bool let_go(uint64_t cookie, const std::string& path, MonotonicNs now);
  bool finish_leaving(const CapturedNamespace& leaving);

  // Captured no more, but with connections that are still open.
  struct Leaving {
    CapturedNamespace captured;
    MonotonicNs next_look = 0;
  };

  Dataplane& dataplane_;
  ProxyFeed& feed_;
  NetnsProbe probe_;
  Callbacks callbacks_;
  std::vector<control_plane::LocalPod> manifest_;
  std::vector<Enrollment> enrollments_;
  std::map<std::string, Pod> pods_;
  std::set<std::string> wanted_;
  std::vector<Leaving> leaving_;
  bool proxy_judges_ = true;
};

}  // namespace weft::agent
