// See route_change.h.
#include "tools/bench/route_change.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <cstdio>
#include <ctime>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

#include "base/strings.h"
#include "tools/bench/route_mesh.h"
#include "tools/bench/route_traffic.h"
#include "tools/bench/route_window.h"

namespace weft::bench {
namespace {

using Clock = std::chrono::steady_clock;

double ms_between(Clock::time_point begin, Clock::time_point end) {
  return std::chrono::duration<double, std::milli>(end - begin).count();
}

// What the configuration client publishes, handed to the worker; who changes something waits for it here.
class Published {
 public:
  explicit Published(RouteTraffic& traffic) : traffic_(traffic) {}

  void put(proxy::SnapshotPtr snapshot) {
    const Clock::time_point at = Clock::now();
    traffic_.worker().set_snapshot(snapshot);
    const std::lock_guard lock(mutex_);
    snapshot_ = std::move(snapshot);
    at_ = at;
    changed_.notify_all();
  }
  struct Seen {
    uint64_t generation = 0;
    Clock::time_point at;  // when it was published
  };
  // The first snapshot that has this weight at `host`.
  Seen wait(const std::string& host, const SocketAddress& dialled, uint32_t weight) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] {
      const proxy::VirtualHost* found =
          snapshot_ == nullptr ? nullptr : snapshot_->find_virtual_host(proxy::kNone, host, dialled);
      return found != nullptr && found->routes.front().clusters.front().weight == weight;
    });
    return {snapshot_->generation, at_};
  }

 private:
  RouteTraffic& traffic_;
  std::mutex mutex_;
  std::condition_variable changed_;
  proxy::SnapshotPtr snapshot_;
  Clock::time_point at_;
};

class Changes {
 public:
  explicit Changes(const ChangeOptions& options) : options_(options) {
    run_where_weft_runs();
    const RouteMesh::Options mesh{options.routes, options.sets, traffic_.dialled(), traffic_.upstream()};
    mesh_ = std::make_unique<RouteMesh>(mesh, [this](proxy::SnapshotPtr s) { published_.put(std::move(s)); });
    wait(0, 0);
    traffic_.p99_us(options_.slice, options_.rate);
  }

  // Milliseconds of each, from the manifest to the worker's use of it.
  std::vector<double> time_all() {
    std::vector<double> parse, compile, deliver, swap, cpu, all;
    for (uint32_t i = 0; i < options_.changes; ++i) {
      const Text next = texts(1).front();
      const Clock::time_point begin = Clock::now();
      const std::clock_t cpu_begin = std::clock();
      const RouteMesh::Spent spent = mesh_->change(next.set, next.text);
      const Clock::time_point sent = Clock::now();
      const Clock::time_point published = wait(set(), version());
      const Clock::time_point end = Clock::now();
      parse.push_back(spent.parse_ms);
      compile.push_back(spent.compile_ms);
      deliver.push_back(ms_between(sent, std::max(published, sent)));
      swap.push_back(ms_between(published, end));
      cpu.push_back(1000.0 * static_cast<double>(std::clock() - cpu_begin) / CLOCKS_PER_SEC);
      all.push_back(ms_between(begin, end));
    }
    std::printf(
        "one change, median: %.2f ms to parse, %.2f to compile and diff, %.2f over ADS to a snapshot, "
        "%.2f to the worker (at most %.2f); %.2f ms of CPU\n",
        median_interval(parse).value, median_interval(compile).value, median_interval(deliver).value,
        median_interval(swap).value, *std::max_element(swap.begin(), swap.end()), median_interval(cpu).value);
    return all;
  }

  // p99 with changes to p99 without, of each round.
  std::vector<double> latency_ratios() {
    std::vector<double> ratios, calm, busy, waits_with, waits_without;
    for (uint32_t round = 0; round < options_.rounds; ++round) {
      double with = 0, without = 0;
      for (const bool changing : {round % 2 == 1, round % 2 == 0}) {
        const double waited = traffic_.waited_ms();
        (changing ? with : without) = slice(changing);
        (changing ? waits_with : waits_without).push_back((traffic_.waited_ms() - waited) / options_.slice);
      }
      ratios.push_back(with / without);
      calm.push_back(without);
      busy.push_back(with);
    }
    std::printf(
        "p99 of %.0f requests/s, median: %.0f us without changes, %.0f us with %.0f a second%s\n",
        options_.rate, median_interval(calm).value, median_interval(busy).value, 1 / options_.pause,
        RouteTraffic::has_priority() ? "" : " (clients and upstream have no priority: run it as root)");
    std::printf("the worker waited for its CPU, median: %.2f ms a second without changes, %.2f with\n",
                median_interval(waits_without).value, median_interval(waits_with).value);
    window_.print();
    return ratios;
  }

 private:
  // A manifest that somebody has written; writing it is no work of Weft's and is not measured.
  struct Text {
    uint32_t set;
    std::string text;
  };
  // Of the next changes: a different set each time, in turn.
  std::vector<Text> texts(size_t count) {
    std::vector<Text> out;
    while (out.size() < count) {
      ++changes_;
      out.push_back({set(), mesh_->manifest(set(), version())});
    }
    return out;
  }
  uint32_t set() const { return changes_ % options_.sets; }
  uint32_t version() const { return changes_ / options_.sets + 1; }

  // Until the worker uses it; when it was published.
  Clock::time_point wait(uint32_t set, uint32_t version) {
    const SocketAddress dialled = mesh_->dialled(set);
    const Published::Seen seen =
        published_.wait(RouteMesh::host_of(set), dialled, RouteMesh::weight_of(version));
    traffic_.wait_for(seen.generation);
    return seen.at;
  }

  double slice(bool changing) {
    if (!changing) return traffic_.p99_us(options_.slice, options_.rate);
    const auto pause =
        std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(options_.pause));
    const std::vector<Text> next_texts =
        texts(static_cast<size_t>(std::ceil(options_.slice / options_.pause)));
    std::mutex mutex;
    std::condition_variable wake;
    bool ended = false;
    std::vector<MonotonicNs> begun;
    const SystemClock clock;
    std::thread changer([&] {
      std::unique_lock lock(mutex);
      Clock::time_point due = Clock::now();
      for (const Text& next : next_texts) {
        begun.push_back(clock.now());
        mesh_->change(next.set, next.text);
        due += pause;
        if (wake.wait_until(lock, due, [&ended] { return ended; })) break;
      }
    });
    const double p99 = traffic_.p99_us(options_.slice, options_.rate);
    {
      const std::lock_guard lock(mutex);
      ended = true;
    }
    wake.notify_all();
    changer.join();
    window_.add(begun, traffic_.answers());
    return p99;
  }

  const ChangeOptions options_;
  RouteTraffic traffic_;
  Published published_{traffic_};
  std::unique_ptr<RouteMesh> mesh_;
  uint32_t changes_ = 0;
  ChangeWindow window_;
};

double percentile_99(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  return values[std::min(values.size() - 1, values.size() * 99 / 100)];
}

}  // namespace

std::vector<Figure> measure_changes(const ChangeOptions& options) {
  constexpr double kChangeMs = 50, kSpike = 1.1;
  Changes changes(options);
  const std::vector<double> times = changes.time_all();
  const double p99 = percentile_99(times);
  const std::string name = str_cat("one of ", options.sets, " sets of ", options.routes, " routes changed");
  return {
      {str_cat(name, ", until used"), "ms", median_interval(times), kChangeMs},
      {str_cat(name, ", p99"), "ms", {p99, p99, p99}, kChangeMs},
      {"p99 of requests while routes change / without", "ratio", median_interval(changes.latency_ratios()),
       kSpike},
  };
}

}  // namespace weft::bench
