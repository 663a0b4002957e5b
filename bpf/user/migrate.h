// Carrying the data of pinned maps over to a version that declares them differently. Programs drives it: plan
// before the object is loaded, copy after, add_sums once no program of the former version runs any more,
// give_back when the former version stays in force after all. Touches no pin and no link. One thread.
//
// What is carried, by kind of map; the fields of a value are only ever appended, so two versions share the
// prefix of a value, and a field that one of them does not know starts at zero:
// - same shape: the map itself is used on;
// - hash, array, LPM trie: rows are copied before any program is replaced. The agent is the one writer of
// most,
//   and it writes nothing until the replacement is complete. LRU hashes, which programs write, are copied
//   again afterwards (rows that are missing), and so are arrays that a process has mapped;
// - sums (kSums): nothing is copied before. The new programs start at zero; after the last program was
// replaced
//   and those that were still running have ended, the totals are added to what the new ones counted since.
//   Nothing is lost or counted twice, except what finds no room in a smaller table (logged);
// - socket maps: the sockets cannot be had from user space, so the map is used on whatever its size;
// - storage of sockets, the table of sockets (m_socket) and ring buffers: start empty. Connections that are
// open then are no longer measured,
//   and those that were balanced in the kernel show their backend's address.
// Another key size or type is refused unless a converter knows how.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/fd.h"
#include "bpf/user/map_rows.h"
#include "bpf/user/map_sums.h"
#include "bpf/user/pins.h"

struct bpf_map;
struct bpf_object;

namespace weft::bpf {

// Asked with the name of a step before it is taken; an error makes the step fail. Tests inject failures here.
using StepGate = std::function<absl::Status(std::string_view step)>;
// Fills the new map from the old one; map name -> converter.
using MapConverter = std::function<absl::Status(int old_fd, int new_fd)>;
using MapConverters = std::map<std::string, MapConverter>;

enum class Carry {
  kReuse,    // the pinned map is used as it is
  kCopy,     // rows are copied into the new map
  kSum,      // rows are added to the new map's
  kEmpty,    // the new map starts empty
  kConvert,  // by the registered converter
};

// What becomes of a pinned map of shape `from` when the object declares `to`. FailedPrecondition when it
// cannot be carried over; the message says why.
absl::StatusOr<Carry> decide_carry(const std::string& name, const MapShape& from, const MapShape& to,
                                   bool has_converter);

class Migration {
 public:
  // Decides for every map of the object, and hands it the pinned maps that are used on. Nothing is changed.
  static absl::StatusOr<Migration> plan(const Pins& pins, ::bpf_object* object,
                                        const MapConverters& converters);

  // After the object was loaded. An error leaves the maps of the former version as they were.
  absl::Status copy(const StepGate& gate);
  // After the last program was replaced. An error, too, leaves those maps as they were.
  absl::Status add_sums(const StepGate& gate);
  // After the former programs are back: what was counted in the new maps meanwhile goes to the old ones.
  absl::Status give_back();
  // Maps of the former version that are not used on; 0 when nothing is migrated.
  size_t size() const { return changes_.size(); }
  // True when the new map takes the place of a pinned one of this name.
  bool replaces(std::string_view name) const;

 private:
  struct Change {
    std::string name;
    Carry carry = Carry::kReuse;
    ::bpf_map* map = nullptr;
    UniqueFd old;
    MapShape from, to;
    MapConverter converter;
    Sums added;  // to the new map, by add_sums

    int fresh() const;
    size_t words() const;
  };

  static absl::StatusOr<Change> inspect(const std::string& path, ::bpf_map* map,
                                        const MapConverters& converters);
  static absl::Status copy_change(const Change& change);
  static absl::Status copy_again(const Change& change);
  static absl::Status sum_change(Change& change);

  std::vector<Change> changes_;
};

}  // namespace weft::bpf
