// DnsResolver of dns_resolver.h.
#include "control-plane/source/dns_resolver.h"

#include <netdb.h>
#include <sys/socket.h>

#include <algorithm>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>

#include "base/address.h"
#include "base/log.h"
#include "base/strings.h"

namespace weft::control_plane {
namespace {

using Clock = std::chrono::steady_clock;

absl::StatusOr<std::vector<std::string>> look_up_by_system(const std::string& host) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  // No address of a family that this node does not speak: connections there would only fail.
  hints.ai_flags = AI_ADDRCONFIG;
  addrinfo* list = nullptr;
  const int error = getaddrinfo(host.c_str(), nullptr, &hints, &list);
  if (error != 0) return absl::NotFoundError(gai_strerror(error));
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owned(list, &freeaddrinfo);
  std::set<std::string> seen;
  for (const addrinfo* each = list; each != nullptr; each = each->ai_next) {
    if (const auto address = SocketAddress::from_sockaddr(each->ai_addr))
      seen.insert(address->ip.to_string());
  }
  return std::vector<std::string>(seen.begin(), seen.end());
}

// So many names are looked up at once: one whose server is silent holds up nobody else.
constexpr int kMaxLookUps = 16;

struct Name {
  std::vector<std::string> addresses;
  std::string problem;    // of the last look-up; empty: none
  Clock::time_point due;  // at the beginning of time: at once
  bool under_way = false;
  bool tried = false;  // a look-up is over
  int failures = 0;    // in a row
};

// What the resolver and its look-ups know together. A look-up that hangs outlives the resolver, and finds
// this instead.
class Names {
 public:
  explicit Names(DnsResolver::Options options) : options_(std::move(options)) {
    if (!options_.look_up) options_.look_up = look_up_by_system;
  }

  void want(const std::set<std::string>& hosts) {
    const std::lock_guard<std::mutex> lock(mutex_);
    std::erase_if(names_, [&hosts](const auto& name) { return !hosts.contains(name.first); });
    for (const std::string& host : hosts) names_.try_emplace(host);
    wake_.notify_all();
  }

  DnsResolver::Addresses addresses() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    DnsResolver::Addresses out;
    for (const auto& [host, name] : names_) {
      if (!name.addresses.empty()) out.emplace(host, name.addresses);
    }
    return out;
  }

  DnsResolver::Problems problems() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    DnsResolver::Problems out;
    for (const auto& [host, name] : names_) {
      if (!name.problem.empty()) out.emplace(host, name.problem);
    }
    return out;
  }

  bool wait_for_first(std::chrono::milliseconds limit) const {
    std::unique_lock<std::mutex> lock(mutex_);
    wake_.wait_for(lock, limit, [this] { return stopping_ || all_tried(); });
    return all_tried();
  }

  void stop() {
    const std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
    wake_.notify_all();
  }

  // Begins look-ups when they are due, until addresses changed (true) or the resolver stops (false).
  static bool wait_for_change(const std::shared_ptr<Names>& names) {
    std::unique_lock<std::mutex> lock(names->mutex_);
    while (!names->stopping_ && !names->changed_) {
      const auto next = names->next_due();
      if (next == names->names_.end()) {
        names->wake_.wait(lock);
      } else if (next->second.due > Clock::now()) {
        names->wake_.wait_until(lock, next->second.due);
      } else {
        next->second.under_way = true;
        ++names->look_ups_;
        std::thread([names, host = next->first] { names->look_up(host); }).detach();
      }
    }
    names->changed_ = false;
    return !names->stopping_;
  }

 private:
  using Map = std::map<std::string, Name>;

  bool all_tried() const {
    return std::all_of(names_.begin(), names_.end(), [](const auto& name) { return name.second.tried; });
  }

  // The end when none may begin before another has ended.
  Map::iterator next_due() {
    auto found = names_.end();
    if (look_ups_ >= kMaxLookUps) return found;
    for (auto each = names_.begin(); each != names_.end(); ++each) {
      if (each->second.under_way) continue;
      if (found == names_.end() || each->second.due < found->second.due) found = each;
    }
    return found;
  }

  // Before the next look-up after one that failed; `failures`: so many before that.
  std::chrono::milliseconds pause(int failures) const {
    constexpr int kMaxDoublings = 10;
    const auto grown = options_.retry * (1 << std::min(failures, kMaxDoublings));
    return std::max(options_.retry, std::min(grown, options_.refresh));
  }

  void look_up(const std::string& host) {
    const auto found = options_.look_up(host);
    const std::lock_guard<std::mutex> lock(mutex_);
    --look_ups_;
    wake_.notify_all();
    const auto name = names_.find(host);
    if (name == names_.end() || stopping_) return;
    name->second.under_way = false;
    name->second.tried = true;
    if (!found.ok() && name->second.failures == 0)
      log::warn(options_.event,
                {{"host", host}, {"reason", found.status().message()}, {"next", options_.next}});
    name->second.due = Clock::now() + (found.ok() ? options_.refresh : pause(name->second.failures));
    name->second.failures = found.ok() ? 0 : name->second.failures + 1;
    std::string problem(found.status().message());
    changed_ = changed_ || (options_.tells_problems && problem != name->second.problem);
    name->second.problem = std::move(problem);
    if (!found.ok() || name->second.addresses == *found) return;
    name->second.addresses = *found;
    changed_ = true;
  }

  DnsResolver::Options options_;
  mutable std::mutex mutex_;
  mutable std::condition_variable wake_;
  Map names_;
  int look_ups_ = 0;
  bool changed_ = false;
  bool stopping_ = false;
};

class ThreadedResolver final : public DnsResolver {
 public:
  ThreadedResolver(Options options, std::function<void()> changed)
      : names_(std::make_shared<Names>(std::move(options))), changed_(std::move(changed)) {
    thread_ = std::thread([this] {
      while (Names::wait_for_change(names_)) changed_();
    });
  }
  ~ThreadedResolver() override { ThreadedResolver::stop(); }

  void want(const std::set<std::string>& hosts) override { names_->want(hosts); }
  Addresses addresses() const override { return names_->addresses(); }
  Problems problems() const override { return names_->problems(); }
  bool wait_for_first(std::chrono::milliseconds limit) const override {
    return names_->wait_for_first(limit);
  }
  void stop() override {
    names_->stop();
    const std::lock_guard<std::mutex> lock(joining_);
    if (thread_.joinable()) thread_.join();
  }

 private:
  const std::shared_ptr<Names> names_;
  const std::function<void()> changed_;
  std::mutex joining_;
  std::thread thread_;
};

}  // namespace

std::unique_ptr<DnsResolver> DnsResolver::start(Options options, std::function<void()> changed) {
  return std::make_unique<ThreadedResolver>(std::move(options), std::move(changed));
}

}  // namespace weft::control_plane
