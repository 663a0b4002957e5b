// The kernel programs as one owner: open the skeleton, carry pinned maps over, load, replace the programs
// behind pinned links, attach what is new, pin. A start is a transaction: until commit() everything can be
// taken back, and the destructor takes it back. The dataplane calls it from its thread; nothing else includes
// the skeleton.
//
// The order, and what is in force when it stops there (an error, or the process dies):
//   load()            maps of equal shape are shared, the others are made beside the pinned ones and filled;
//                     the verifier sees every program.             The former version.
//   adopt_lookups(),  programs are replaced link by link. In between, former and new programs run side by
//   attach_cgroup()   side: they share maps or have equal rows, because the agent writes nothing that only
//   one
//                     of them would see.                           The former version, by abandon() or by the
//                                                                  next start; counters of a dead one are
//                                                                  lost.
//   commit()          counters are added up, then one rename makes the new maps and links the pinned ones.
//                                                                  Before it the former version, after it
//                                                                  this.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/fd.h"
#include "bpf/user/link_switch.h"
#include "bpf/user/migrate.h"
#include "bpf/user/pins.h"
#include "bpf/user/shortcut_plug.h"

struct mesh;
struct bpf_object;
struct bpf_program;

namespace weft::bpf {

struct SkeletonDeleter {
  void operator()(::mesh* skeleton) const;
};
using SkeletonPtr = std::unique_ptr<::mesh, SkeletonDeleter>;

// One attached program, for status.
struct Attachment {
  std::string program;
  std::string hook;
  uint64_t netns_cookie = 0;  // of a sk_lookup link, 0 for cgroup programs
  bool attached = false;
  std::string problem;  // what is not as this object left it; empty: nothing
};

// A namespace whose mesh_lookup a former start attached.
struct LookupTarget {
  uint64_t netns_cookie = 0;
  uint32_t slot = 0;
};

class Programs {
 public:
  struct Knobs {
    uint64_t report_ns = 1'000'000'000;  // least time between two reports of one open connection
    // Whether the shortcut of bpf/shortcut.bpf.c is wanted and the kernel can do it; why not, if not. Empty:
    // it is never tried.
    std::function<std::string()> try_shortcut;
    // For maps whose key or type changes from one version to the next.
    MapConverters converters;
    // Seams of the tests. Steps are "copy MAP", "switch LINK", "attach PROGRAM", "plug MAP", "add MAP" and
    // "commit".
    StepGate step;
    std::function<void(::bpf_object*)> reshape;  // before the maps are compared and made
  };

  // Pinned maps are used on, or their data is carried over (migrate.h). An error changed nothing; it says so
  // when a former version is in force.
  static absl::StatusOr<std::unique_ptr<Programs>> load(const Pins& pins, const Knobs& knobs);
  // Takes back what was not committed.
  ~Programs();

  // Replaces the program behind each of these namespaces' pinned links. Returns the cookies of those that
  // have no pinned link or whose namespace has died; nothing was changed for them. After an error: abandon().
  absl::StatusOr<std::vector<uint64_t>> adopt_lookups(const std::vector<LookupTarget>& targets);
  // sockops, the address hooks and connect; adopts links pinned for the same cgroup. After an error:
  // abandon().
  absl::Status attach_cgroup(const std::string& cgroup_path);
  // Makes this start the one in force and forgets the former. After an error: abandon().
  absl::Status commit();
  // Puts the former programs back and drops the new maps; no pin has changed. Returns `why`, completed by
  // what is in force now.
  absl::Status abandon(const absl::Status& why);

  // After commit(). A mesh_lookup of its own for this namespace, pinned; replaces the one that is there.
  absl::Status attach_lookup(uint64_t netns_cookie, uint32_t slot, int netns_fd);
  // False when the link is gone or its namespace died.
  bool lookup_attached(uint64_t netns_cookie) const;
  // Unpins and detaches. Fine when there is none.
  void detach_lookup(uint64_t netns_cookie);

  // Owned by this object; -1 when there is no such map.
  int map_fd(const char* name) const;
  std::vector<Attachment> attachments() const;
  // Why no new connection takes the shortcut, whatever pods ask for; empty: those may that ask.
  const std::string& shortcut_problem() const { return shortcut_problem_; }

 private:
  Programs(const Pins& pins, SkeletonPtr skeleton, Knobs knobs);

  // A link that this object has put its program behind.
  struct HeldLink {
    UniqueFd fd;
    uint32_t program_id = 0;
  };
  static HeldLink hold(UniqueFd link);
  std::string problem_of(const std::string& name, const HeldLink& link, bool attached) const;

  // kDraining: for open connections that a former agent gave it; no new ones. kOut: its code is dead.
  enum class Shortcut { kOn, kDraining, kOut };

  absl::Status load_all();
  absl::Status prepare_and_load();
  Shortcut shortcut_left() const;
  void configure_shortcut();
  absl::Status put_plug();
  absl::Status attach_shortcut();
  absl::Status gate(std::string_view verb, const std::string& name) const;
  absl::Status attach_one(::bpf_program* program, int cgroup_fd, uint64_t cgroup_id);
  absl::StatusOr<UniqueFd> load_lookup(uint32_t slot) const;
  absl::Status stage_maps() const;
  void drop_former_maps() const;
  absl::Status take_back();

  Pins pins_;
  SkeletonPtr skeleton_;
  Knobs knobs_;
  Migration migration_;
  LinkSwitch switch_;
  bool had_former_ = false;  // some link was pinned when this start began
  bool committed_ = false;
  std::string shortcut_problem_;
  Shortcut shortcut_ = Shortcut::kOut;
  std::optional<ShortcutPlug> plug_;
  std::map<std::string, HeldLink> cgroup_links_;
  std::map<uint64_t, HeldLink> lookup_links_;
};

}  // namespace weft::bpf
