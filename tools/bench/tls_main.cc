// weft-bench-tls: what mutual TLS between nodes costs: handshakes against the arithmetic in them, requests
// and bytes against the same without it. Run by `tools/dev bench tls`; no root, no network but loopback.
#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "tools/bench/paired.h"
#include "tools/bench/tls_handshake.h"
#include "tools/bench/tls_traffic.h"

namespace weft::bench {
namespace {

struct Options {
  uint32_t rounds = 20;
  uint32_t handshakes = 100;
  double slice = 0.5;
  double rate = 3'000;
};

void add_handshakes(const TlsPair& shared, const Options& options, std::vector<Figure>* out) {
  TlsPair pair = shared;
  std::vector<double> arithmetic_us, full_us, resumed_us, against_arithmetic, against_full, library_us,
      against_library, resumed_against_library, first_us, resumed_against_first;
  const auto us = [&options](double seconds) { return 1e6 * seconds / options.handshakes; };
  // Whatever is made once is made.
  pair.full(options.handshakes / 10 + 1);
  pair.resumed(options.handshakes / 10 + 1);
  for (uint32_t i = 0; i < options.rounds; ++i) {
    arithmetic_us.push_back(us(handshake_arithmetic(options.handshakes)));
    library_us.push_back(us(pair.plain_library(options.handshakes)));
    full_us.push_back(us(pair.full(options.handshakes)));
    resumed_us.push_back(us(pair.resumed(options.handshakes)));
    // Last: it forgets what the others remember.
    first_us.push_back(us(TlsPair(shared).first_contact(options.handshakes)));
    against_arithmetic.push_back(arithmetic_us.back() / full_us.back());
    against_library.push_back(library_us.back() / full_us.back());
    resumed_against_library.push_back(library_us.back() / resumed_us.back());
    against_full.push_back(full_us.back() / resumed_us.back());
    resumed_against_first.push_back(first_us.back() / resumed_us.back());
  }
  out->push_back(
      {"arithmetic of a full handshake, both ends", "us", median_interval(arithmetic_us), 0, false});
  out->push_back(
      {"full handshake of the library alone, both ends", "us", median_interval(library_us), 0, false});
  out->push_back({"full handshake, both ends", "us", median_interval(full_us), 0, false});
  out->push_back({"full handshake at first contact, both ends", "us", median_interval(first_us), 0, false});
  out->push_back({"resumed handshake, both ends", "us", median_interval(resumed_us), 0, false});
  out->push_back({"full handshakes per core against arithmetic", "ratio", median_interval(against_arithmetic),
                  0.85, false});
  out->push_back({"full handshakes per core against the library's", "ratio", median_interval(against_library),
                  0.85, false});
  out->push_back({"resumed handshakes per core against the library's full", "ratio",
                  median_interval(resumed_against_library), 0, false});
  out->push_back({"resumed handshakes per core against those at first contact", "ratio",
                  median_interval(resumed_against_first), 0, false});
  out->push_back(
      {"resumed handshakes per core against full", "ratio", median_interval(against_full), 3, false});
}

void add_traffic(const TlsPair& pair, const Options& options, std::vector<Figure>* out) {
  using Way = TlsTraffic::Way;
  TlsTraffic traffic(pair);
  std::vector<double> plain_us, tunnel_us, request_ratio, plain_rate, tunnel_rate, rate_ratio;
  for (const Way way : {Way::kPlain, Way::kTunnel}) {
    traffic.request_cpu_us(way, options.slice, options.rate);
    traffic.bulk_rate(way, options.slice);
  }
  for (uint32_t i = 0; i < options.rounds; ++i) {
    plain_us.push_back(traffic.request_cpu_us(Way::kPlain, options.slice, options.rate));
    tunnel_us.push_back(traffic.request_cpu_us(Way::kTunnel, options.slice, options.rate));
    request_ratio.push_back(tunnel_us.back() / plain_us.back());
    plain_rate.push_back(1e-6 * traffic.bulk_rate(Way::kPlain, options.slice));
    tunnel_rate.push_back(1e-6 * traffic.bulk_rate(Way::kTunnel, options.slice));
    rate_ratio.push_back(tunnel_rate.back() / plain_rate.back());
  }
  out->push_back({"request of 1 KB in plain, sender's CPU", "us", median_interval(plain_us), 0, false});
  out->push_back({"request of 1 KB by mutual TLS, sender's CPU", "us", median_interval(tunnel_us), 0, false});
  out->push_back({"request CPU, mutual TLS against plain", "ratio", median_interval(request_ratio), 1.5});
  out->push_back({"bytes through two proxies in plain", "MB/s", median_interval(plain_rate), 0, false});
  out->push_back({"bytes through two proxies by HBONE", "MB/s", median_interval(tunnel_rate), 0, false});
  out->push_back({"bytes, HBONE against plain", "ratio", median_interval(rate_ratio), 0.6, false});
}

}  // namespace
}  // namespace weft::bench

int main(int argc, char** argv) {
  CLI::App app("What mutual TLS between nodes costs.", "weft-bench-tls");
  weft::bench::Options options;
  std::string json;
  app.add_option("--rounds", options.rounds, "Pairs of measurements")->check(CLI::Range(3, 1'000));
  app.add_option("--handshakes", options.handshakes, "In each slice")->check(CLI::Range(10, 100'000));
  app.add_option("--slice", options.slice, "Seconds of requests, or of bytes")->check(CLI::Range(0.1, 60.0));
  app.add_option("--rate", options.rate, "Requests per second")->check(CLI::Range(100, 100'000));
  app.add_option("--json", json, "Also write the figures there");
  CLI11_PARSE(app, argc, argv);
  const weft::bench::TlsPair pair;
  std::vector<weft::bench::Figure> figures;
  weft::bench::add_handshakes(pair, options, &figures);
  weft::bench::add_traffic(pair, options, &figures);
  return weft::bench::report(figures, json) ? 0 : 1;
}
