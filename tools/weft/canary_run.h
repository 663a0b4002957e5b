// CanaryRun: one progressive delivery: writes the weights of each step into the manifest, waits until the
// proxy routes by them, watches what the new version does, and goes on or rolls back. Used by `weft canary
// run`; one thread, its own.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "proto/weft/admin/v1/admin.grpc.pb.h"
#include "tools/weft/canary_judge.h"
#include "tools/weft/cli.h"
#include "tools/weft/interrupt.h"
#include "tools/weft/manifest_file.h"
#include "tools/weft/weight_edit.h"

namespace weft::cli {

// "shop/cart" of "cart.shop.svc.cluster.local", or of "cart" in a manifest of that namespace.
std::string service_of(const std::string& host, const std::string& ns);

// The workloads that a destination of a route leads to, and its share; nullopt while no route of the agent
// has it (an edit is not in force, or its weight is 0).
struct LiveTarget {
  double share = 0;
  std::set<std::string> workloads;
  std::string problem;
};
absl::StatusOr<std::optional<LiveTarget>> live_target(admin::v1::Admin::Stub& stub, const RoutePlace& place,
                                                      const WeightPlace& destination);

class CanaryRun {
 public:
  struct Options {
    RouteQuery query;
    std::vector<uint32_t> steps;
    std::chrono::milliseconds interval{60'000};
    // A step that has too few requests by then is rolled back.
    std::chrono::milliseconds patience{600'000};
    Bounds bounds;
    // How long a change may take to be in force, and agent and proxy may be silent.
    std::chrono::milliseconds effective{30'000};
    std::chrono::milliseconds silence{30'000};
  };
  struct Step {
    uint32_t percent = 0;
    Tally tally;
    double seconds = 0;
    std::string verdict;  // "passed", "rolled back: ...", "interrupted"
  };
  enum class End { kPromoted, kRolledBack, kInterrupted, kFailed };

  // `place` is in the file's text.
  CanaryRun(Options options, ManifestFile file, RoutePlace place, admin::v1::Admin::Stub& stub,
            Interrupt& interrupt, Environment& env);
  ~CanaryRun() { close(); }
  CanaryRun(const CanaryRun&) = delete;
  CanaryRun& operator=(const CanaryRun&) = delete;

  End run();
  const std::vector<Step>& steps() const { return steps_; }
  // Why it did not end well.
  const absl::Status& problem() const { return problem_; }
  // What the file says, as far as it could be read.
  std::string weights() const { return current_.empty() ? "unknown" : weights_text(place_, current_); }
  uint32_t percent() const { return current_.empty() ? 0 : current_[place_.canary]; }

 private:
  using Clock = std::chrono::steady_clock;

  absl::Status write(uint32_t percent);
  // Takes what somebody else made of the file for what is to be edited next.
  absl::Status look_again();
  absl::Status await_effective(uint32_t percent);
  absl::Status refused_manifest();
  End watch_step(Step* step);
  absl::Status follow_target(uint64_t* generation);
  End roll_back(const std::string& why, Step* step);
  absl::Status write_rollback();
  // The next counts of the proxy; opens the stream again when the agent was away for a moment.
  absl::Status next(admin::v1::RequestCounts* counts);
  void open(std::chrono::milliseconds interval);
  void close();
  void say(const std::string& line);

  const Options options_;
  ManifestFile file_;
  RoutePlace place_;
  std::vector<uint32_t> current_;
  admin::v1::Admin::Stub& stub_;
  Environment& env_;
  Interrupt& interrupt_;
  std::unique_ptr<grpc::ClientContext> context_;
  std::unique_ptr<grpc::ClientReader<admin::v1::RequestCounts>> reader_;
  std::chrono::milliseconds stream_interval_{0};
  // Of the version, as long as the step lasts: also those that are gone.
  std::set<std::string> workloads_;
  admin::v1::RequestCounts counts_;
  std::vector<Step> steps_;
  absl::Status problem_;
};

}  // namespace weft::cli
