// What the checks between objects ask about all workloads: whether any has labels, whether a service has
// endpoints. Answers are remembered with a workload that shows them, so that a change of a few workloads
// tells whether any answer is another, without asking all others again. One thread.
#pragma once

#include <compare>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "control-plane/compile/workload_index.h"

namespace weft::control_plane {

class WorkloadFacts {
 public:
  using Labels = std::map<std::string, std::string>;
  struct Row {
    const Unit* unit = nullptr;
    std::string ns;
    std::shared_ptr<const Labels> labels;
    std::vector<std::string> services;  // keys
    bool tunnels = false;               // it takes HBONE
  };
  using Rows = absl::flat_hash_set<const Row*>;

  // A row stays where it is, and as it is, until it is forgotten. settle() after the last of a step.
  void learn(const Row* row);
  void forget(const Row* row);
  void settle();

  // What is asked from now on is what counts for news(): answers to other questions are forgotten.
  void begin_asking();
  // Some workload of the namespace (empty: of any) has the labels (empty: any).
  bool any(const std::string& ns, const Labels& labels) const { return ask({ns, "", labels}); }
  // Some endpoint of the service has them.
  bool any_of(const std::string& service_key, const Labels& labels) const {
    return ask({"", service_key, labels});
  }
  bool has_endpoints(const std::string& service_key) const { return members_.contains(service_key); }
  bool has_entry(const ObjectMeta& entry) const;
  // Hosts of services that have an endpoint which takes HBONE.
  std::set<std::string> tunnel_hosts() const;

  // Whether any of that is another than when it was asked; until the next begin_asking().
  bool news() const { return news_; }
  // Services, by their keys, that got their first endpoint or lost their last in this step.
  const std::set<std::string>& flipped() const { return flipped_; }

  const Rows& in_namespace(const std::string& ns) const { return of(by_ns_, ns); }
  const Rows& endpoints(const std::string& service_key) const { return of(members_, service_key); }

 private:
  struct Question {
    std::string ns, service;
    Labels labels;
    auto operator<=>(const Question&) const = default;
  };
  // Who shows it; nullptr: nobody.
  using Answers = std::map<Question, const Row*>;
  using ByText = absl::flat_hash_map<std::string, Rows>;

  static const Rows& of(const ByText& map, const std::string& key);
  bool ask(Question question) const;
  const Row* search(const Question& question) const;
  bool shows(const Row& row, const Question& question) const;
  // What the step may alter by the row.
  void note_before(const Row& row);

  ByText by_ns_, members_;
  Rows all_;
  std::set<Unit> entries_;
  std::map<std::string, size_t> tunnels_;  // endpoints by key of a service

  // Of the step: rows that came or went; true: it is there.
  absl::flat_hash_map<const Row*, bool> touched_;
  std::set<std::string> flipped_;
  std::map<std::string, bool> had_endpoints_;  // of services in the step, before it
  std::map<std::string, bool> had_tunnels_;
  std::map<Unit, bool> had_entry_;

  mutable Answers answers_;
  mutable Answers before_;  // of the round before this, not asked again yet
  bool news_ = false;
};

}  // namespace weft::control_plane
