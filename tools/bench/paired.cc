// See paired.h.
#include "tools/bench/paired.h"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

namespace weft::bench {
namespace {

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  const size_t middle = values.size() / 2;
  std::nth_element(values.begin(), values.begin() + static_cast<ptrdiff_t>(middle), values.end());
  if (values.size() % 2 == 1) return values[middle];
  const double upper = values[middle];
  return (upper + *std::max_element(values.begin(), values.begin() + static_cast<ptrdiff_t>(middle))) / 2;
}

}  // namespace

Interval median_interval(const std::vector<double>& samples) {
  if (samples.empty()) return {};
  constexpr size_t kResamples = 2000;
  std::mt19937 random(1);
  std::vector<double> medians;
  std::vector<double> drawn(samples.size());
  for (size_t i = 0; i < kResamples; ++i) {
    for (double& value : drawn) value = samples[random() % samples.size()];
    medians.push_back(median(drawn));
  }
  std::sort(medians.begin(), medians.end());
  return {.value = median(samples),
          .low = medians[kResamples * 25 / 1000],
          .high = medians[kResamples * 975 / 1000]};
}

bool report(const std::vector<Figure>& figures, const std::string& json_path) {
  std::printf("%-52s %12s %22s %12s  %s\n", "FIGURE", "VALUE", "95 %", "BAR", "MET");
  nlohmann::json rows = nlohmann::json::array();
  for (const Figure& figure : figures) {
    char interval[40];
    std::snprintf(interval, sizeof(interval), "%.4g .. %.4g", figure.result.low, figure.result.high);
    char bar[24];
    std::snprintf(bar, sizeof(bar), "%s %.4g", figure.at_most ? "<=" : ">=", figure.bar);
    std::printf("%-52s %8.4g %-3s %22s %12s  %s\n", figure.name.c_str(), figure.result.value,
                figure.unit.c_str(), interval, bar, figure.met() ? "yes" : "NO");
    rows.push_back({{"figure", figure.name},
                    {"value", figure.result.value},
                    {"unit", figure.unit},
                    {"low", figure.result.low},
                    {"high", figure.result.high},
                    {"bar", figure.bar},
                    {"met", figure.met()}});
  }
  if (json_path.empty()) return true;
  std::ofstream file(json_path);
  file << rows.dump(2) << "\n";
  return file.good();
}

}  // namespace weft::bench
