// Bounded fan-out of exchanges; see observe_hub.h. Called by the telemetry stream and the admin service.
#include "agent/feed/observe_hub.h"

#include <string_view>

namespace weft::agent {
namespace {

bool has_prefix(std::string_view text, std::string_view prefix) {
  return text.substr(0, prefix.size()) == prefix;
}

}  // namespace

bool wanted(const admin::v1::ObserveRequest& filter, const proxy::v1::Exchange& exchange) {
  if (filter.errors_only() && exchange.outcome() == "ok") return false;
  if (!has_prefix(exchange.source_workload(), filter.from())) return false;
  return has_prefix(exchange.destination_service(), filter.to()) ||
         has_prefix(exchange.destination_workload(), filter.to());
}

ObserveHub::Watch::~Watch() {
  const std::lock_guard lock(hub_.mutex_);
  hub_.watches_.erase(this);
  if (hub_.watches_.empty() && hub_.on_active_) hub_.on_active_(false);
}

std::optional<proxy::v1::Exchange> ObserveHub::Watch::next(std::chrono::milliseconds timeout) {
  std::unique_lock lock(hub_.mutex_);
  if (!hub_.arrived_.wait_for(lock, timeout, [this] { return !queue_.empty(); })) return std::nullopt;
  proxy::v1::Exchange exchange = std::move(queue_.front());
  queue_.pop_front();
  return exchange;
}

void ObserveHub::on_active(std::function<void(bool)> listener) {
  const std::lock_guard lock(mutex_);
  on_active_ = std::move(listener);
}

std::unique_ptr<ObserveHub::Watch> ObserveHub::watch(const admin::v1::ObserveRequest& filter) {
  const std::lock_guard lock(mutex_);
  if (watches_.size() >= kMaxWatchers) return nullptr;
  std::unique_ptr<Watch> watch(new Watch(*this, filter));
  watches_.insert(watch.get());
  if (watches_.size() == 1 && on_active_) on_active_(true);
  return watch;
}

void ObserveHub::publish(const proxy::v1::Exchange& exchange) {
  const std::lock_guard lock(mutex_);
  for (Watch* watch : watches_) {
    if (!wanted(watch->filter_, exchange)) continue;
    if (watch->queue_.size() >= kQueueLength) {
      dropped_.fetch_add(1, std::memory_order_relaxed);
      continue;
    }
    watch->queue_.push_back(exchange);
  }
  arrived_.notify_all();
}

bool ObserveHub::active() const {
  const std::lock_guard lock(mutex_);
  return !watches_.empty();
}

}  // namespace weft::agent
