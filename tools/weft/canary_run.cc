// CanaryRun of canary_run.h, in the order in which things happen. Everything waits for messages of the agent:
// new counts, or a new configuration in force.
#include "tools/weft/canary_run.h"

#include <algorithm>
#include <cmath>
#include <ctime>

#include "base/status_macros.h"
#include "base/strings.h"
#include "tools/weft/admin_call.h"

namespace weft::cli {
namespace {

using admin::v1::Admin;
using std::chrono::milliseconds;

constexpr milliseconds kEffectiveDeadline{30'000};
constexpr milliseconds kAgentAway{30'000};
constexpr milliseconds kFastLook{100};
constexpr milliseconds kSlowLook{1'000};

std::string clock_text() {
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  ::localtime_r(&now, &local);
  char text[16];
  std::strftime(text, sizeof(text), "%H:%M:%S", &local);
  return text;
}

std::string tally_text(const Tally& tally) {
  return str_cat(tally.requests, tally.requests == 1 ? " request, " : " requests, ", tally.errors,
                 " failed (", rate_text(tally.error_rate()), "), p99 ", duration_text(tally.p99_us()));
}

}  // namespace

std::string service_of(const std::string& host, const std::string& ns) {
  const size_t dot = host.find('.');
  if (dot == std::string::npos) return str_cat(ns, "/", host);
  const size_t end = std::min(host.find('.', dot + 1), host.size());
  return str_cat(host.substr(dot + 1, end - dot - 1), "/", host.substr(0, dot));
}

absl::StatusOr<std::optional<LiveTarget>> live_target(Admin::Stub& stub, const RoutePlace& place,
                                                      const WeightPlace& destination) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kCallDeadline);
  admin::v1::ListRequest request;
  request.set_namespace_(place.ns);
  request.set_name(place.name);
  request.set_explain(true);
  admin::v1::RouteList list;
  const grpc::Status status = stub.ListRoutes(&context, request, &list);
  if (!status.ok()) return to_status(status);
  for (const auto& row : list.routes()) {
    if (row.origin().line() != place.line || row.origin().name() != place.name) continue;
    for (const auto& target : row.targets()) {
      const bool same_host = service_of(target.host(), place.ns) == service_of(destination.host, place.ns);
      if (!same_host || target.subset() != destination.subset) continue;
      LiveTarget out{.share = target.share_percent(), .problem = target.problem()};
      for (const auto& endpoint : target.endpoints()) out.workloads.insert(endpoint.workload());
      return std::optional<LiveTarget>(std::move(out));
    }
    // Weights of 0 are gone; the route itself is there.
    return std::optional<LiveTarget>(LiveTarget());
  }
  return std::optional<LiveTarget>();
}

CanaryRun::CanaryRun(Options options, ManifestFile file, RoutePlace place, Admin::Stub& stub,
                     Interrupt& interrupt, Environment& env)
    : options_(std::move(options)),
      file_(std::move(file)),
      place_(std::move(place)),
      stub_(stub),
      env_(env),
      interrupt_(interrupt) {
  for (const WeightPlace& destination : place_.destinations) current_.push_back(destination.weight);
}

void CanaryRun::say(const std::string& line) { env_.err << clock_text() << "  " << line << std::endl; }

void CanaryRun::open(milliseconds interval) {
  close();
  stream_interval_ = interval;
  context_ = std::make_unique<grpc::ClientContext>();
  interrupt_.watch(context_.get());
  admin::v1::WatchRequestsRequest request;
  request.set_service(service_of(place_.destinations[place_.canary].host, place_.ns));
  request.set_interval_ms(static_cast<uint32_t>(interval.count()));
  reader_ = stub_.WatchRequests(context_.get(), request);
}

void CanaryRun::close() {
  interrupt_.watch(nullptr);
  if (context_ != nullptr) context_->TryCancel();
  if (reader_ != nullptr) reader_->Finish();
  reader_.reset();
  context_.reset();
}

absl::Status CanaryRun::next(admin::v1::RequestCounts* counts) {
  const auto give_up = Clock::now() + kAgentAway;
  for (;;) {
    if (interrupt_.asked()) return absl::CancelledError("interrupted");
    if (reader_ != nullptr && reader_->Read(counts)) {
      if (counts->proxy_answers()) return absl::OkStatus();
    } else {
      interrupt_.wait(kFastLook);
      if (!interrupt_.asked()) open(stream_interval_);
    }
    if (Clock::now() > give_up)
      return absl::UnavailableError("agent or proxy have not answered for 30 seconds; next: weft status");
  }
}

absl::Status CanaryRun::write(uint32_t percent) {
  const std::vector<uint32_t> weights = shifted_weights(place_, percent);
  const std::string text = with_weights(file_.text(), place_, weights);
  RETURN_IF_ERROR(file_.replace(text));
  current_ = weights;
  // Digits have moved; whom they belong to and what was shared before stay.
  RoutePlace found;
  ASSIGN_OR_RETURN(found, find_route(text, options_.query));
  for (size_t i = 0; i < found.destinations.size(); ++i) {
    place_.destinations[i].offset = found.destinations[i].offset;
    place_.destinations[i].length = found.destinations[i].length;
  }
  return absl::OkStatus();
}

// The agent refuses what we wrote, or what stands beside it in the file.
absl::Status CanaryRun::refused_manifest() {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kCallDeadline);
  admin::v1::NodeStatus status;
  if (!stub_.GetStatus(&context, {}, &status).ok()) return absl::OkStatus();
  const std::string base = file_.path().substr(file_.path().rfind('/') + 1);
  for (const auto& finding : status.findings()) {
    if (finding.level() != "error" || finding.file().substr(finding.file().rfind('/') + 1) != base) continue;
    return absl::FailedPreconditionError(str_cat("the agent refuses ", finding.file(), ":", finding.line(),
                                                 ": ", finding.message(), "; next: weft analyze ",
                                                 file_.path()));
  }
  return absl::OkStatus();
}

absl::Status CanaryRun::await_effective(uint32_t percent) {
  open(kFastLook);
  const auto give_up = Clock::now() + kEffectiveDeadline;
  for (;;) {
    RETURN_IF_ERROR(next(&counts_));
    ASSIGN_OR_RETURN(const auto target, live_target(stub_, place_, place_.destinations[place_.canary]));
    const bool listed = target.has_value() && std::abs(target->share - percent) < 0.01;
    if (listed && percent > 0 && !target->problem.empty())
      return absl::FailedPreconditionError(str_cat(place_.destinations[place_.canary].label(), ": ",
                                                   target->problem, "; next: weft get endpoints"));
    if (listed && counts_.proxy_generation() >= counts_.config_generation()) {
      workloads_ = target->workloads;
      // Of counts from before, some may still belong to the last step; none of this one is left out.
      return next(&counts_);
    }
    RETURN_IF_ERROR(refused_manifest());
    if (Clock::now() > give_up)
      return absl::DeadlineExceededError(str_cat("the mesh does not route by ", file_.path(),
                                                 " after 30 seconds; next: weft status, weft get routes ",
                                                 place_.ns, "/", place_.name, " --explain"));
  }
}

CanaryRun::End CanaryRun::roll_back(const std::string& why, Step* step) {
  if (step != nullptr) step->verdict = str_cat("rolled back: ", why);
  problem_ = absl::AbortedError(why);
  if (const absl::Status written = write(0); !written.ok()) {
    problem_ = written;
    return End::kFailed;
  }
  say(str_cat("rolled back: ", weights(), " (", why, ")"));
  if (const absl::Status status = await_effective(0); !status.ok() && !absl::IsCancelled(status)) {
    problem_ = status;
    return End::kFailed;
  }
  return End::kRolledBack;
}

// Until the step has passed; kPromoted says so.
CanaryRun::End CanaryRun::watch_step(Step* step) {
  const auto begin = Clock::now();
  uint32_t pid = counts_.proxy_pid();
  Tally first = tally_of(counts_, workloads_);
  open(std::clamp(options_.interval / 20, milliseconds(50), kSlowLook));
  for (;;) {
    if (const absl::Status status = next(&counts_); !status.ok()) {
      step->verdict = "interrupted";
      if (absl::IsCancelled(status)) return End::kInterrupted;
      return roll_back(std::string(status.message().substr(0, status.message().find(';'))), step);
    }
    // A new proxy counts from nothing.
    if (counts_.proxy_pid() != pid) first = Tally();
    pid = counts_.proxy_pid();
    step->tally = since(tally_of(counts_, workloads_), first);
    const auto elapsed = Clock::now() - begin;
    step->seconds = std::chrono::duration<double>(elapsed).count();
    if (const std::string why = broken_bound(step->tally, options_.bounds); !why.empty())
      return roll_back(why, step);
    if (elapsed < options_.interval) continue;
    if (step->tally.requests >= options_.bounds.min_requests) {
      step->verdict = "passed";
      return End::kPromoted;
    }
    if (elapsed > options_.patience)
      return roll_back(
          str_cat("only ", step->tally.requests, " of ", options_.bounds.min_requests, " requests came"),
          step);
  }
}

CanaryRun::End CanaryRun::run() {
  const std::string label = place_.destinations[place_.canary].label();
  for (size_t i = 0; i < options_.steps.size(); ++i) {
    const uint32_t percent = options_.steps[i];
    Step& step = steps_.emplace_back(Step{.percent = percent});
    const auto begin = Clock::now();
    absl::Status status = write(percent);
    if (!status.ok()) {
      problem_ = status;
      step.verdict = "not begun";
      close();
      return End::kFailed;
    }
    status = await_effective(percent);
    const auto took = std::chrono::duration_cast<milliseconds>(Clock::now() - begin).count();
    if (absl::IsCancelled(status)) {
      step.verdict = "interrupted";
      return End::kInterrupted;
    }
    if (!status.ok()) return roll_back(std::string(status.message()), &step);
    say(str_cat("step ", i + 1, "/", options_.steps.size(), ": ", label, " takes ", percent,
                " %, in force after ", took, " ms"));
    const End end = watch_step(&step);
    say(str_cat("step ", i + 1, "/", options_.steps.size(), ": ", tally_text(step.tally), ": ",
                step.verdict));
    if (end != End::kPromoted) {
      close();
      return end;
    }
  }
  close();
  return End::kPromoted;
}

}  // namespace weft::cli
