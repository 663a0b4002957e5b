// What the compiler made of a few objects, kept for the next time: a change is compiled where it is, not
// everywhere. A step names everything that its result depends on; the rest of the objects it must not read.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/inlined_vector.h"
#include "absl/hash/hash.h"
#include "base/courtesy.h"
#include "control-plane/compile/gateway_facts.h"
#include "control-plane/compile/workloads.h"
#include "control-plane/control_plane.h"
#include "control-plane/gateway_api_status.h"
#include "control-plane/resource/objects.h"

namespace weft::control_plane {

// The steps that are remembered.
enum class Step : uint64_t {
  kObject,
  kService,
  kDelegating,
  kReferences,
  kRules,
  kPlace,
  kGatewayRules,
  kGatewayPorts,
  kGatewayHost,
  kPassthrough,
  kTunnels,
  kGatewayStatus
};

// A step and what it depends on: revisions of objects, numbers. Two that are the same have the same result.
class Inputs {
 public:
  explicit Inputs(Step step) : values_{static_cast<uint64_t>(step)} {}
  // nullptr: there is no such object.
  Inputs& object(const ObjectMeta* meta) {
    known_ = known_ && (meta == nullptr || meta->revision != 0);
    return number(meta == nullptr ? 0 : meta->revision);
  }
  Inputs& object(const ObjectMeta& meta) { return object(&meta); }
  Inputs& number(uint64_t value) {
    values_.push_back(value);
    return *this;
  }
  Inputs& text(std::string_view value) { return number(absl::HashOf(value)); }
  // False: some object is of no store, and nothing is known of it.
  bool known() const { return known_; }

  bool operator==(const Inputs& other) const { return values_ == other.values_; }
  template <typename H>
  friend H AbslHashValue(H h, const Inputs& inputs) {
    return H::combine(std::move(h), inputs.values_);
  }

 private:
  absl::InlinedVector<uint64_t, 4> values_;
  bool known_ = true;
};

struct StepResult {
  std::vector<Resource> resources;
  std::vector<Finding> findings;
  std::vector<uint64_t> numbers;  // what else a step has to say
  RefusedReference refused;       // of a route's rules
  std::shared_ptr<const GatewayApiStatus> gateway_api;
};

// Results by what they depend on.
using StepResults = absl::flat_hash_map<Inputs, std::shared_ptr<const StepResult>>;

class Remembered {
 public:
  // `before`: of the last compilation, or nullptr. What this one uses is put into `now`.
  Remembered(const StepResults* before, StepResults& now) : before_(before), now_(now) {}

  // `make(StepResult*)` is called when there is no such result.
  template <typename Make>
  std::shared_ptr<const StepResult> get(const Inputs& inputs, Make make) {
    if (inputs.known()) {
      const auto [row, fresh] = now_.try_emplace(inputs);
      if (!fresh) return row->second;
      if (auto known = find(inputs)) return row->second = std::move(known);
    }
    give_way();
    auto made = std::make_shared<StepResult>();
    make(made.get());
    // The row may be elsewhere by now.
    if (inputs.known()) now_[inputs] = made;
    return made;
  }

 private:
  std::shared_ptr<const StepResult> find(const Inputs& inputs) const {
    if (before_ == nullptr) return nullptr;
    const auto known = before_->find(inputs);
    return known == before_->end() ? nullptr : known->second;
  }

  const StepResults* const before_;
  StepResults& now_;
};

// What tells whether any object of a kind is another than it was.
class KindStamps {
 public:
  // The objects stay as they are while this lives.
  explicit KindStamps(const Objects& objects) : objects_(objects) {}
  // Adds the objects of a kind, all together, to what a step depends on. One thread.
  void add(const std::string& kind, Inputs* out) const;

 private:
  struct Stamp {
    uint64_t hash = 0;
    const ObjectMeta* unknown = nullptr;  // of no store
  };
  const Objects& objects_;
  // Of the kinds that were asked for.
  mutable std::map<std::string, Stamp> by_kind_;
};

}  // namespace weft::control_plane
