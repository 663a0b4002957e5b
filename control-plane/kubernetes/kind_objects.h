// The objects of one kind as an API server has them: parses what is new or changed, and nothing else, and
// gathers what the store is to be told. Knows lists and events, no connections. Bound to one thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "control-plane/kubernetes/json_identity.h"
#include "control-plane/kubernetes/kinds.h"
#include "control-plane/resource/store.h"
#include "control-plane/resource/yaml_document.h"

namespace weft::control_plane {

class KindObjects {
 public:
  explicit KindObjects(const KubernetesKind& kind) : kind_(kind) {}

  // What comes until end_list() is everything that there is.
  void begin_list();
  // What the list did not name is gone, unless some of its objects could not be read: it may be among them.
  void end_list();

  // An object as it is now. Objects of lists of core kinds say neither kind nor apiVersion: `api_version` is
  // what was asked for. False: it has no name.
  bool put(YamlNode object, const std::string& api_version);
  void remove(const YamlNode& object);
  // An object that is over a limit, by what it calls itself: it is refused, and all others come and go as
  // before. False: it has no name.
  bool put_too_large(const ObjectIdentity& object, std::string message);
  void remove(const ObjectIdentity& object);
  // All are gone: the kind itself is.
  void remove_all();
  // A finding about an object that could not even be named; all objects stay as they are. Until the next list
  // that can be read.
  void unreadable(const char* code, std::string message);

  // Whether the object at that place ("Namespace shop") is being deleted but still there: what depends on it
  // is deleted first. False: it is not, or there is none.
  bool ending(const std::string& place) const {
    const auto known = known_.find(place);
    return known != known_.end() && known->second.ending;
  }

  size_t size() const { return known_.size(); }
  // Of objects given to the resource parser since the start.
  uint64_t parsed() const { return parsed_; }
  bool changed() const { return !changes_.empty(); }
  // Among the changes is a VirtualService that names other subsets than before: the DestinationRule that
  // defines them may be about to come, from the same file.
  bool may_lack_subsets() const { return may_lack_subsets_; }
  Store::Changes take() {
    replaced_.clear();
    may_lack_subsets_ = false;
    return std::exchange(changes_, {});
  }

 private:
  // What tells that an object is as it was.
  struct Known {
    std::string version;   // metadata.resourceVersion
    uint64_t digest = 0;   // of what we read of it
    size_t uid = 0;        // hash of metadata.uid: an object of the same name may be another one
    bool ending = false;   // it has a metadata.deletionTimestamp
    uint32_t subsets = 0;  // hash of those that its routes lead to; 0: none
  };

  // "VirtualService shop/cart": in the store it stands where files have their path.
  std::string place_of(const YamlNode& object) const;
  // "": it has no name.
  std::string place_of(std::string_view ns, std::string_view name) const;
  void forget(const std::string& place);
  // `was`: what stood at the place; nullptr: nothing.
  bool is_another(const std::string& place, const Known* was, size_t uid) const;
  // A pod that is on no node or has ended, where the server did not leave it out.
  bool without_part(const YamlNode& object) const;

  const KubernetesKind& kind_;
  std::unordered_map<std::string, Known> known_;
  std::unordered_set<std::string> listed_;
  bool listing_ = false;
  bool list_unreadable_ = false;
  bool has_finding_ = false;
  uint64_t parsed_ = 0;
  Store::Changes changes_;
  bool may_lack_subsets_ = false;
  // Places of changes_ where another object stands than the one that was told last.
  std::unordered_set<std::string> replaced_;
};

}  // namespace weft::control_plane
