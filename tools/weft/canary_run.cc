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

std::string seconds_text(milliseconds time) {
  return duration_text(static_cast<uint64_t>(time.count()) * 1000);
}

// It may start again, which a step outlasts.
bool is_away(const absl::Status& agent) {
  return absl::IsUnavailable(agent) || absl::IsDeadlineExceeded(agent);
}

// Without the next command.
std::string reason_of(const absl::Status& status) {
  return std::string(status.message().substr(0, status.message().find("; next: ")));
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
  // A VirtualService of several places has a row for each; where nobody gets to it, it has no targets.
  std::optional<LiveTarget> listed;
  for (const auto& row : list.routes()) {
    if (row.origin().line() != place.line || row.origin().name() != place.name) continue;
    // Weights of 0 are gone; the route itself is there.
    listed.emplace();
    for (const auto& target : row.targets()) {
      const bool same_host = service_of(target.host(), place.ns) == service_of(destination.host, place.ns);
      if (!same_host || target.subset() != destination.subset) continue;
      LiveTarget out{.share = target.share_percent(), .problem = target.problem()};
      for (const auto& endpoint : target.endpoints()) out.workloads.insert(endpoint.workload());
      return std::optional<LiveTarget>(std::move(out));
    }
  }
  return listed;
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
  // An agent that hangs ends the stream too; next() opens another one.
  context_->set_deadline(std::chrono::system_clock::now() + options_.silence);
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
  const auto give_up = Clock::now() + options_.silence;
  for (;;) {
    if (interrupt_.asked()) return absl::CancelledError("interrupted");
    if (reader_ != nullptr && reader_->Read(counts)) {
      if (counts->proxy_answers()) return absl::OkStatus();
    } else {
      interrupt_.wait(kFastLook);
      if (!interrupt_.asked()) open(stream_interval_);
    }
    if (Clock::now() > give_up)
      return absl::UnavailableError(str_cat("agent or proxy have not answered for ",
                                            seconds_text(options_.silence), "; next: weft status"));
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

absl::Status CanaryRun::look_again() {
  current_.clear();
  ASSIGN_OR_RETURN(file_, ManifestFile::open(file_.path()));
  ASSIGN_OR_RETURN(RoutePlace found, find_route(file_.text(), options_.query));
  for (const WeightPlace& destination : found.destinations) current_.push_back(destination.weight);
  place_ = std::move(found);
  return absl::OkStatus();
}

// The agent refuses what we wrote, or the file that it stands in.
absl::Status CanaryRun::refused_manifest() {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kCallDeadline);
  admin::v1::NodeStatus status;
  if (!stub_.GetStatus(&context, {}, &status).ok()) return absl::OkStatus();
  const std::string base = file_.path().substr(file_.path().rfind('/') + 1);
  const std::string object = str_cat("VirtualService ", place_.ns, "/", place_.name);
  for (const auto& finding : status.findings()) {
    const bool whole_file =
        finding.object().empty() && finding.file().substr(finding.file().rfind('/') + 1) == base;
    if (finding.level() != "error" || (finding.object() != object && !whole_file)) continue;
    return absl::FailedPreconditionError(str_cat("the agent refuses ", finding.file(), ":", finding.line(),
                                                 ": ", finding.message(), "; next: weft analyze ",
                                                 file_.path()));
  }
  return absl::OkStatus();
}

absl::Status CanaryRun::await_effective(uint32_t percent) {
  const auto give_up = Clock::now() + options_.effective;
  for (;;) {
    if (interrupt_.asked()) return absl::CancelledError("interrupted");
    const auto answer = live_target(stub_, place_, place_.destinations[place_.canary]);
    if (!answer.ok() && !is_away(answer.status())) return answer.status();
    const std::optional<LiveTarget> target = answer.ok() ? *answer : std::nullopt;
    const bool listed = target.has_value() && std::abs(target->share - percent) < 0.01;
    if (listed && percent > 0 && !target->problem.empty())
      return absl::FailedPreconditionError(str_cat(place_.destinations[place_.canary].label(), ": ",
                                                   target->problem, "; next: weft get endpoints"));
    if (listed) {
      // Asked for after the agent listed it: what it says of generations is no older.
      open(kFastLook);
      RETURN_IF_ERROR(next(&counts_));
      if (counts_.proxy_generation() >= counts_.config_generation()) {
        workloads_ = target->workloads;
        // Of counts from before, some may still belong to the last step; none of this one is left out.
        return next(&counts_);
      }
    }
    RETURN_IF_ERROR(refused_manifest());
    if (Clock::now() > give_up)
      return absl::DeadlineExceededError(
          str_cat("the mesh does not route by ", file_.path(), " after ", seconds_text(options_.effective),
                  "; next: weft status, weft get routes ", place_.ns, "/", place_.name, " --explain"));
    interrupt_.wait(kFastLook);
  }
}

// Whatever somebody else made of the file meanwhile: the bad version's share goes.
absl::Status CanaryRun::write_rollback() {
  const absl::Status status = write(0);
  if (!absl::IsFailedPrecondition(status)) return status;
  RETURN_IF_ERROR(look_again());
  return write(0);
}

CanaryRun::End CanaryRun::roll_back(const std::string& why, Step* step) {
  step->verdict = str_cat("rolled back: ", why);
  problem_ = absl::AbortedError(why);
  const std::string label = place_.destinations[place_.canary].label();
  if (const absl::Status status = write_rollback(); !status.ok()) {
    (void)look_again();
    const std::string share = current_.empty() ? "its share" : str_cat(percent(), " %");
    step->verdict = str_cat("to be rolled back: ", why);
    // The next command is the caller's: to roll back by hand.
    problem_ = absl::Status(status.code(),
                            str_cat(label, " still has ", share, " (", why, "): ", reason_of(status)));
    return End::kFailed;
  }
  say(str_cat("rolled back: ", weights(), " (", why, ")"));
  if (const absl::Status status = await_effective(0); !status.ok() && !absl::IsCancelled(status)) {
    problem_ = status;
    return End::kFailed;
  }
  return End::kRolledBack;
}

// Pods come and go while a step lasts. Asks when the configuration is another one than `generation`; of an
// agent that is away for a moment again with the next counts.
absl::Status CanaryRun::follow_target(uint64_t* generation) {
  if (counts_.config_generation() == *generation) return absl::OkStatus();
  const WeightPlace& destination = place_.destinations[place_.canary];
  const auto answer = live_target(stub_, place_, destination);
  if (is_away(answer.status())) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::optional<LiveTarget> target, answer);
  *generation = counts_.config_generation();
  if (!target.has_value()) return absl::OkStatus();
  workloads_.insert(target->workloads.begin(), target->workloads.end());
  if (target->problem.empty()) return absl::OkStatus();
  return absl::FailedPreconditionError(str_cat(destination.label(), ": ", target->problem));
}

// Until the step has passed; kPromoted says so.
CanaryRun::End CanaryRun::watch_step(Step* step) {
  const auto begin = Clock::now();
  admin::v1::RequestCounts first = counts_;
  uint64_t generation = counts_.config_generation();
  open(std::clamp(options_.interval / 20, milliseconds(50), kSlowLook));
  for (;;) {
    absl::Status status = next(&counts_);
    if (status.ok()) status = follow_target(&generation);
    if (!status.ok()) {
      step->verdict = "interrupted";
      if (absl::IsCancelled(status)) return End::kInterrupted;
      return roll_back(reason_of(status), step);
    }
    // A new proxy counts from nothing.
    if (counts_.proxy_pid() != first.proxy_pid()) {
      first.Clear();
      first.set_proxy_pid(counts_.proxy_pid());
    }
    step->tally = since(tally_of(counts_, workloads_), tally_of(first, workloads_));
    const Tally lost = since(tally_of(counts_, {""}), tally_of(first, {""}));
    const auto elapsed = Clock::now() - begin;
    step->seconds = std::chrono::duration<double>(elapsed).count();
    if (const std::string why = broken_bound(step->tally, lost, options_.bounds); !why.empty())
      return roll_back(why, step);
    if (elapsed < options_.interval) continue;
    const bool enough = step->tally.requests >= options_.bounds.min_requests;
    if (enough && generation == counts_.config_generation()) {
      step->verdict = "passed";
      return End::kPromoted;
    }
    if (elapsed <= options_.patience) continue;
    if (enough) return roll_back("the agent does not say which pods are its own", step);
    return roll_back(
        str_cat("only ", step->tally.requests, " of ", options_.bounds.min_requests, " requests came"), step);
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
      (void)look_again();
      return End::kFailed;
    }
    status = await_effective(percent);
    const auto took = std::chrono::duration_cast<milliseconds>(Clock::now() - begin).count();
    if (absl::IsCancelled(status)) {
      step.verdict = "interrupted";
      return End::kInterrupted;
    }
    if (!status.ok()) return roll_back(reason_of(status), &step);
    say(str_cat("step ", i + 1, "/", options_.steps.size(), ": ", label, " takes ", percent,
                " %, in force after ", took, " ms"));
    const End end = watch_step(&step);
    say(str_cat("step ", i + 1, "/", options_.steps.size(), ": ", tally_text(step.tally), ": ",
                step.verdict));
    if (end != End::kPromoted) return end;
  }
  return End::kPromoted;
}

}  // namespace weft::cli
