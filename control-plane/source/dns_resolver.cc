// DnsResolver of dns_resolver.h.
#include "control-plane/source/dns_resolver.h"

#include <netdb.h>
#include <sys/socket.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <thread>

#include "base/address.h"
#include "base/log.h"
#include "base/strings.h"

namespace weft::control_plane {
namespace {

using Clock = std::chrono::steady_clock;

std::optional<std::vector<std::string>> look_up_by_system(const std::string& host) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  if (getaddrinfo(host.c_str(), nullptr, &hints, &list) != 0) return std::nullopt;
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owned(list, &freeaddrinfo);
  std::set<std::string> seen;
  for (const addrinfo* each = list; each != nullptr; each = each->ai_next) {
    if (const auto address = SocketAddress::from_sockaddr(each->ai_addr))
      seen.insert(address->ip.to_string());
  }
  return std::vector<std::string>(seen.begin(), seen.end());
}

class ThreadedResolver final : public DnsResolver {
 public:
  ThreadedResolver(Options options, std::function<void()> changed)
      : options_(std::move(options)), changed_(std::move(changed)) {
    if (!options_.look_up) options_.look_up = look_up_by_system;
    thread_ = std::thread([this] { run(); });
  }
  ~ThreadedResolver() override {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_all();
    thread_.join();
  }

  void want(const std::set<std::string>& hosts) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    std::erase_if(names_, [&hosts](const auto& name) { return !hosts.contains(name.first); });
    for (const std::string& host : hosts) names_.try_emplace(host);
    wake_.notify_all();
  }

  Addresses addresses() const override {
    const std::lock_guard<std::mutex> lock(mutex_);
    Addresses out;
    for (const auto& [host, name] : names_) {
      if (!name.addresses.empty()) out.emplace(host, name.addresses);
    }
    return out;
  }

 private:
  struct Name {
    std::vector<std::string> addresses;
    Clock::time_point due;  // at the beginning of time: at once
    bool failing = false;
  };

  void run() {
    std::unique_lock<std::mutex> lock(mutex_);
    while (!stopping_) {
      const auto next = std::min_element(names_.begin(), names_.end(), [](const auto& a, const auto& b) {
        return a.second.due < b.second.due;
      });
      if (next == names_.end()) {
        wake_.wait(lock);
      } else if (next->second.due > Clock::now()) {
        wake_.wait_until(lock, next->second.due);
      } else {
        look_up(next->first, lock);
      }
    }
  }

  void look_up(std::string host, std::unique_lock<std::mutex>& lock) {
    lock.unlock();
    const auto found = options_.look_up(host);
    lock.lock();
    const auto name = names_.find(host);
    if (name == names_.end()) return;
    name->second.due = Clock::now() + (found ? options_.refresh : options_.retry);
    if (!found && !name->second.failing)
      log::warn("name_not_resolved", {{"host", host}, {"next", "check the name and the node's resolver"}});
    name->second.failing = !found;
    if (!found || name->second.addresses == *found) return;
    name->second.addresses = *found;
    lock.unlock();
    changed_();
    lock.lock();
  }

  Options options_;
  const std::function<void()> changed_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::map<std::string, Name> names_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace

std::unique_ptr<DnsResolver> DnsResolver::start(Options options, std::function<void()> changed) {
  return std::make_unique<ThreadedResolver>(std::move(options), std::move(changed));
}

}  // namespace weft::control_plane
