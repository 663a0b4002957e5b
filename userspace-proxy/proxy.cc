// Start order, signals and drain of weft-proxy. Runs on the main thread; workers are reached through their
// own doors only.
#include "userspace-proxy/proxy.h"

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/log.h"
#include "base/start_memory.h"
#include "base/status_macros.h"

namespace weft::proxy {
namespace {

// From the first configuration until listeners, certificates and the other streams have come, too.
constexpr int kSettleMs = 2000;

void raise_event(const UniqueFd& event) {
  const uint64_t one = 1;
  // A full counter is readable already.
  [[maybe_unused]] const ssize_t ignored = ::write(event.get(), &one, sizeof(one));
}

absl::StatusOr<UniqueFd> open_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&set, signal);
  UniqueFd fd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd.valid()) return errno_status("open signalfd", errno);
  return fd;
}

absl::StatusOr<UniqueFd> open_event() {
  // A semaphore: one read takes one count, so every worker's end is seen.
  UniqueFd fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK | EFD_SEMAPHORE));
  if (!fd.valid()) return errno_status("open eventfd", errno);
  return fd;
}

std::string node_id() {
  std::array<char, 256> name{};
  ::gethostname(name.data(), name.size() - 1);
  return str_cat("weft-proxy~", std::string(name.data()));
}

template <typename T>
std::vector<T*> borrow(const std::vector<std::unique_ptr<T>>& owned) {
  std::vector<T*> out;
  for (const auto& item : owned) out.push_back(item.get());
  return out;
}

}  // namespace

Proxy::Proxy(Options options) : options_(std::move(options)) {}

Proxy::~Proxy() = default;

absl::StatusOr<std::unique_ptr<Proxy>> Proxy::start(Options options) {
  std::unique_ptr<Proxy> proxy(new Proxy(std::move(options)));
  ASSIGN_OR_RETURN(proxy->signals_, open_signals());
  ASSIGN_OR_RETURN(proxy->drain_requested_, open_event());
  ASSIGN_OR_RETURN(proxy->drained_, open_event());
  ASSIGN_OR_RETURN(proxy->configured_, open_event());
  ASSIGN_OR_RETURN(proxy->io_, choose_io(proxy->options_.io));
  RETURN_IF_ERROR(proxy->start_workers());
  RETURN_IF_ERROR(proxy->start_clients());
  return proxy;
}

absl::Status Proxy::start_workers() {
  if (options_.access_log != "off") {
    ASSIGN_OR_RETURN(access_log_, AccessLog::open(options_.access_log, options_.workers));
  }
  for (uint32_t i = 0; i < options_.workers; ++i) {
    telemetry_.push_back(std::make_unique<WorkerTelemetry>(i, access_log_.get(), &observed_));
    Worker::Options worker_options;
    worker_options.index = i;
    worker_options.count = options_.workers;
    worker_options.io = io_;
    worker_options.max_connections = options_.max_connections;
    worker_options.max_buffered_bytes = options_.max_buffered_bytes;
    worker_options.pod_max_connections = options_.pod_max_connections;
    worker_options.pod_max_exchanges = options_.pod_max_exchanges;
    worker_options.pod_max_buffered_bytes = options_.pod_max_buffered_bytes;
    worker_options.pod_max_waiting = options_.pod_max_waiting;
    worker_options.clusters = clusters_;
    worker_options.sink = telemetry_.back().get();
    auto worker = Worker::start(worker_options);
    if (!worker.ok()) return annotate(str_cat("start worker ", i), worker.status());
    workers_.push_back(*std::move(worker));
  }
  return absl::OkStatus();
}

absl::Status Proxy::start_clients() {
  const std::string xds = str_cat("unix:", options_.run_dir, "/xds.sock");
  identity_ = IdentityClient::start({.target = xds}, [this](const CredentialSetPtr& credentials) {
    for (const auto& worker : workers_) worker->set_credentials(credentials);
  });
  wanted_identities_ = std::make_unique<WantedIdentities>(*identity_);
  ConfigClient::Options config;
  config.target = xds;
  config.node_id = node_id();
  config.path_normalisation = options_.path_normalisation;
  config_ = ConfigClient::start(config, [this](SnapshotPtr snapshot) {
    for (const auto& worker : workers_) worker->set_snapshot(snapshot);
    wanted_identities_->configured(snapshot);
    log::info("config_published", {{"generation", snapshot->generation},
                                   {"clusters", snapshot->clusters.size()},
                                   {"virtual_hosts", snapshot->virtual_hosts.size()}});
    if (snapshot->generation == 1) raise_event(configured_);
  });
  std::vector<std::function<uint64_t()>> turns;
  for (const auto& worker : workers_)
    turns.emplace_back([w = worker.get()] { return w->gauges().loop_turns; });
  heartbeat_ = std::make_unique<Heartbeat>(std::move(turns));
  HandoverClient::Options handover;
  handover.heartbeat = [this](const UniqueFd& map) { return heartbeat_->beat_into(map); };
  handover.socket_path = str_cat(options_.run_dir, "/handover.sock");
  handover.version = kVersion;
  handover.served = [this](std::set<std::string> uids) { wanted_identities_->served(std::move(uids)); };
  ASSIGN_OR_RETURN(handover_, HandoverClient::start(handover, borrow(workers_)));
  Reporter::Options report;
  report.target = xds;
  report.version = kVersion;
  report.io = name_of(io_);
  Reporter::Sources sources;
  sources.workers = borrow(workers_);
  sources.telemetry = borrow(telemetry_);
  sources.observed = &observed_;
  sources.rejected = [this] { return config_->rejected(); };
  sources.access_log_dropped = [this] { return access_log_ == nullptr ? 0 : access_log_->dropped(); };
  sources.clusters = [this] { return clusters_->sums(); };
  sources.draining = [this] { return draining_.load(); };
  sources.drain = [this] { raise_event(drain_requested_); };
  reporter_ = Reporter::start(report, std::move(sources));
  return absl::OkStatus();
}

int Proxy::take_signal() {
  signalfd_siginfo info{};
  if (::read(signals_.get(), &info, sizeof(info)) != sizeof(info)) return 0;
  return static_cast<int>(info.ssi_signo);
}

absl::Status Proxy::run() {
  log::info("proxy ready", {{"version", kVersion},
                            {"workers", workers_.size()},
                            {"io", std::string(name_of(io_))},
                            {"run_dir", options_.run_dir}});
  RETURN_IF_ERROR(wait_for_stop());
  return drain();
}

absl::Status Proxy::wait_for_stop() {
  int start_ms = -1;  // until the start counts as over
  for (;;) {
    pollfd events[] = {
        {signals_.get(), POLLIN, 0}, {drain_requested_.get(), POLLIN, 0}, {configured_.get(), POLLIN, 0}};
    const int ready = ::poll(events, 3, start_ms);
    if (ready < 0 && errno != EINTR) return errno_status("wait for signals", errno);
    if (ready == 0) {
      give_back_start_memory();
      start_ms = -1;
      continue;
    }
    uint64_t once = 0;
    if (::read(configured_.get(), &once, sizeof(once)) == sizeof(once)) start_ms = kSettleMs;
    if (events[1].revents != 0) return absl::OkStatus();
    const int signal = take_signal();
    if (signal == SIGTERM || signal == SIGINT) return absl::OkStatus();
    if (signal == SIGHUP && access_log_ != nullptr) access_log_->reopen();
  }
}

absl::Status Proxy::drain() {
  log::info("draining",
            {{"seconds", options_.drain_timeout.count()}, {"next", "signal again to end at once"}});
  draining_.store(true);
  // From here on new pods and new connections are the next proxy's: the agent keeps the listeners.
  handover_.reset();
  heartbeat_.reset();
  for (const auto& worker : workers_) {
    worker->drain(options_.drain_timeout, [this] { raise_event(drained_); });
  }
  for (size_t left = workers_.size(); left > 0;) {
    pollfd events[] = {{signals_.get(), POLLIN, 0}, {drained_.get(), POLLIN, 0}};
    if (::poll(events, 2, -1) < 0 && errno != EINTR) return errno_status("wait for drain", errno);
    uint64_t one = 0;
    while (left > 0 && ::read(drained_.get(), &one, sizeof(one)) == sizeof(one)) --left;
    const int signal = take_signal();
    if (signal == SIGTERM || signal == SIGINT) break;
    if (signal == SIGHUP && access_log_ != nullptr) access_log_->reopen();
  }
  reporter_.reset();
  config_.reset();
  identity_.reset();
  workers_.clear();
  // Last: writes what the workers have left in the rings.
  telemetry_.clear();
  access_log_.reset();
  log::info("proxy stopped");
  return absl::OkStatus();
}

}  // namespace weft::proxy
