// weft-bench-l4: what direct L4 costs against no mesh, and how it grows; see docs/benchmarks.md. Started by
// tools/bench/l4, which makes the namespaces and cgroups.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cstdio>

#include "base/log.h"
#include "base/strings.h"
#include "tools/bench/l4_agent.h"
#include "tools/bench/paired.h"
#include "tools/bench/peer.h"

namespace weft::bench {
namespace {

// The bar is in units of 10^6 bytes.
constexpr double kMbPerMib = 1.048576;

struct Options {
  std::string client_netns, other_netns, server_netns, cgroup_none, cgroup_small, cgroup_large, run_dir,
      pins_small, pins_large, json;
  std::string backend = "10.58.1.3";
  uint32_t rounds = 40;
  uint32_t services = 100000;
  uint32_t changes = 1000;
};

constexpr uint16_t kPort = 5432;
constexpr uint32_t kConnects = 250;  // of a slice

struct Arm {
  ClientPeer client;
  SocketAddress target;
  uint64_t run(Job job, uint32_t count) { return client.run(job, count, target); }
};

// ABBA in every round: drift that is steady within a round falls out.
template <typename Combine>
std::vector<double> paired(Arm& a, Arm& b, Job job, uint32_t count, uint32_t rounds, Combine combine) {
  std::vector<double> out;
  for (uint32_t round = 0; round < rounds; ++round) {
    const uint64_t a1 = a.run(job, count), b1 = b.run(job, count);
    const uint64_t b2 = b.run(job, count), a2 = a.run(job, count);
    out.push_back(combine(static_cast<double>(a1 + a2), static_cast<double>(b1 + b2)));
  }
  return out;
}

Interval single(double value) { return {value, value, value}; }

double quantile(std::vector<double> values, double q) {
  std::sort(values.begin(), values.end());
  return values[std::min(values.size() - 1, static_cast<size_t>(q * static_cast<double>(values.size())))];
}

double ratio(double mesh, double none) { return mesh / none; }

// Of two slices on either side, each the nanoseconds of one connect.
double added_us(double mesh, double none) { return (mesh - none) / 2e3; }

void measure_path(Arm& mesh, Arm& none, const Options& options, std::vector<Figure>* out) {
  mesh.run(Job::kEstablish, 1);
  none.run(Job::kEstablish, 1);
  std::printf("established connection: %u rounds of ABBA\n", options.rounds);
  out->push_back({"round trip of 1 KiB, meshed / no mesh", "",
                  median_interval(paired(mesh, none, Job::kPingPong, 2000, options.rounds, ratio)), 1.01,
                  true});
  out->push_back({"throughput of 64 KiB writes, meshed / no mesh", "",
                  median_interval(paired(mesh, none, Job::kBulk, 2000, options.rounds,
                                         [](double a, double b) { return b / a; })),
                  0.99, false});
}

void measure_connect(Arm& small, Arm& large, Arm& none, const Options& options, std::vector<Figure>* out) {
  std::printf("connects: %u rounds of ABBA\n", options.rounds * 2);
  out->push_back(
      {"connect() added, meshed - no mesh", "us",
       median_interval(paired(small, none, Job::kConnect, kConnects, options.rounds * 2, added_us)), 3,
       true});
  out->push_back({str_cat("connect() with ", options.services, " services / 1"), "",
                  median_interval(paired(large, small, Job::kConnect, kConnects, options.rounds * 2, ratio)),
                  1.1, true});
}

// The programs run for every process of the cgroup, whoever is enrolled.
void measure_bystander(Arm& inside, Arm& outside, const Options& options, std::vector<Figure>* out) {
  std::printf("connects of a pod that is not enrolled: %u rounds of ABBA\n", options.rounds * 2);
  out->push_back(
      {"connect() added, pod not enrolled", "us",
       median_interval(paired(inside, outside, Job::kConnect, kConnects, options.rounds * 2, added_us)), 1,
       true});
}

void measure_changes(AgentPeer& mesh, const Options& options, std::vector<Figure>* out) {
  std::printf("%u changes of one endpoint\n", options.changes);
  std::vector<double> took;
  for (uint32_t i = 0; i < options.changes; ++i)
    took.push_back(mesh.change((i * 7919) % options.services, 1 + i / options.services));
  out->push_back({str_cat("one endpoint of ", options.services, " in the kernel, p99"),
                  "ms",
                  {quantile(took, 0.99), quantile(took, 0.5), *std::max_element(took.begin(), took.end())},
                  5,
                  true});
}

int run(const Options& options) {
  const SocketAddress backend{*IpAddress::parse(options.backend), kPort};
  const SocketAddress vip{*IpAddress::parse("10.127.0.1"), kPort};
  const auto mesh = [&](const std::string& cgroup, const std::string& pins, const char* folder) {
    return L4Mesh::Options{.cgroup = cgroup,
                           .pin_root = pins,
                           .run_dir = options.run_dir + folder,
                           .netns_path = options.client_netns,
                           .vip = vip,
                           .backend = backend};
  };
  // Each in a process of its own, forked while this one is small.
  AgentPeer big(mesh(options.cgroup_large, options.pins_large, "/large"));
  AgentPeer one(mesh(options.cgroup_small, options.pins_small, "/small"));
  SubscriberPeer subscriber(options.run_dir + "/large/xds.sock");
  ServerPeer server({options.server_netns, "", 0}, backend);
  Arm none{ClientPeer({options.client_netns, options.cgroup_none, 1}), backend};
  Arm small{ClientPeer({options.client_netns, options.cgroup_small, 1}), vip};
  Arm large{ClientPeer({options.client_netns, options.cgroup_large, 1}), vip};
  Arm bystander_none{ClientPeer({options.other_netns, options.cgroup_none, 1}), backend};
  Arm bystander{ClientPeer({options.other_netns, options.cgroup_small, 1}), backend};

  const auto load_seconds = big.load(options.services);
  const Memory loaded = big.memory();
  if (subscriber.subscribe() != 2ull * options.services + 2) {
    std::fprintf(stderr, "weft-bench-l4: the proxy's stream lacks resources\n");
    return 1;
  }
  // Its acknowledgement is behind the first change that the agent makes.
  one.load(0);

  std::vector<Figure> figures;
  if (options.rounds != 0) {
    measure_path(small, none, options, &figures);
    measure_connect(small, large, none, options, &figures);
    measure_bystander(bystander, bystander_none, options, &figures);
  }
  measure_changes(big, options, &figures);
  const Memory after = big.memory();
  figures.push_back({str_cat("load of ", options.services, " services and endpoints"), "s",
                     single(load_seconds.seconds), 2, true});
  std::printf(
      "load: %.3f s of processor time; agent's memory: %.1f MiB loaded, %.1f at its peak by then, "
      "%.1f at its peak with a proxy\n",
      load_seconds.cpu_seconds, loaded.resident_mib, loaded.peak_mib, after.peak_mib);
  figures.push_back({str_cat("agent's memory, its proxy connected, after ", options.changes, " changes"),
                     "MB", single(after.resident_mib * kMbPerMib), 150, true});
  if (!report(figures, options.json)) {
    std::fprintf(stderr, "weft-bench-l4: cannot write %s\n", options.json.c_str());
    return 1;
  }
  return std::all_of(figures.begin(), figures.end(), [](const Figure& f) { return f.met(); }) ? 0 : 2;
}

}  // namespace
}  // namespace weft::bench

int main(int argc, char** argv) {
  weft::bench::Options options;
  CLI::App app{"Direct L4 against no mesh, paired and alternating. Exit code 2: a bar was missed."};
  app.add_option("--client-netns", options.client_netns)->required();
  app.add_option("--other-netns", options.other_netns, "of a client that is not enrolled")->required();
  app.add_option("--server-netns", options.server_netns)->required();
  app.add_option("--cgroup-none", options.cgroup_none, "cgroup without programs, for equal accounting")
      ->required();
  app.add_option("--cgroup-small", options.cgroup_small, "cgroup of the mesh with one service")->required();
  app.add_option("--cgroup-large", options.cgroup_large, "cgroup of the mesh with many")->required();
  app.add_option("--pins-small", options.pins_small)->required();
  app.add_option("--pins-large", options.pins_large)->required();
  app.add_option("--run-dir", options.run_dir)->required();
  app.add_option("--backend", options.backend, "address of the server namespace");
  app.add_option("--rounds", options.rounds, "of the paired figures; 0: only load, changes and memory");
  app.add_option("--services", options.services);
  app.add_option("--changes", options.changes);
  app.add_option("--json", options.json, "write the figures there");
  CLI11_PARSE(app, argc, argv);
  weft::log::set_level(weft::log::Level::kError);
  return weft::bench::run(options);
}
