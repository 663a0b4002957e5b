// The metrics page after a known transfer: the L4 series that the kernel measured and the L7 series of the
// proxy, with numbers.
#include <gmock/gmock.h>

#include <sstream>

#include "base/strings.h"
#include "tests/harness/mesh_test.h"

namespace weft::harness {
namespace {

class MetricsTest : public MeshTest {
 protected:
  // The sum over all series of `name` whose labels contain every one of `labels`.
  static double sum(const std::string& page, const std::string& name,
                    const std::vector<std::string>& labels) {
    std::istringstream lines(page);
    double total = 0;
    for (std::string line; std::getline(lines, line);) {
      if (line.rfind(name + "{", 0) != 0 && line.rfind(name + " ", 0) != 0) continue;
      bool matches = true;
      for (const std::string& label : labels) matches = matches && line.find(label) != std::string::npos;
      if (matches) total += std::stod(line.substr(line.rfind(' ') + 1));
    }
    return total;
  }

  // The series grows by at least `growth` over `before`; telemetry arrives about once a second.
  ::testing::AssertionResult grows(const std::string& before, const std::string& name,
                                   const std::vector<std::string>& labels, double growth) {
    const double start = sum(before, name, labels);
    double now = start;
    if (wait_until(milliseconds(15'000), [&] {
          now = sum(mesh_->metrics(), name, labels);
          return now - start >= growth;
        })) {
      return ::testing::AssertionSuccess();
    }
    return ::testing::AssertionFailure()
           << name << " grew from " << start << " to " << now << ", not by " << growth << "\n"
           << mesh_->metrics();
  }
};

TEST_F(MetricsTest, RequestsAreCountedByTheProxyAndConnectionsByTheKernel) {
  const std::string before = mesh_->metrics();
  const LoadResult result = load(client_, {kProductV4, "-n", "300", "--new-connections"});
  ASSERT_EQ(result.failed, 0u) << result.text;
  EXPECT_TRUE(grows(before, "weft_requests_total", {"product-service"}, 300));
  EXPECT_TRUE(grows(before, "weft_request_duration_seconds_count", {}, 300));
  EXPECT_TRUE(grows(before, "weft_tcp_opened_total", {"product-service"}, 300));
  EXPECT_TRUE(grows(before, "weft_tcp_closed_total", {"product-service"}, 300));
  EXPECT_TRUE(grows(before, "weft_tcp_rtt_seconds_count", {"product-service"}, 300));
  EXPECT_TRUE(grows(before, "weft_tcp_first_byte_seconds_count", {"product-service"}, 300));
}

// The smallest bound of the request duration in seconds, as printed; 0 when the series is not there yet.
double smallest_bound(const std::string& page) {
  const size_t series = page.find("\nweft_request_duration_seconds_bucket");
  if (series == std::string::npos) return 0;
  const size_t le = page.find("le=\"", series);
  return le == std::string::npos ? 0 : std::stod(page.substr(le + 4));
}

TEST_F(MetricsTest, RequestDurationStartsAtABucketOfFiftyMicroseconds) {
  EXPECT_TRUE(wait_until(milliseconds(15'000), [&] { return smallest_bound(mesh_->metrics()) > 0; }));
  EXPECT_NEAR(smallest_bound(mesh_->metrics()), 50e-6, 1e-9);
}

TEST_F(MetricsTest, BytesOfATransferAreCountedBothWays) {
  const std::string before = mesh_->metrics();
  mesh_->manifests().write("canary.yaml", canary_yaml(100, 0));
  ASSERT_TRUE(cli_shows({"get", "routes"}, "100%"));
  const LoadResult up = load(
      client_, {kProductV4, "-n", "10", "--method", "POST", "--body-bytes", "1000000", "--new-connections"});
  ASSERT_EQ(up.requests, 10u) << up.text;
  EXPECT_TRUE(grows(before, "weft_tcp_sent_bytes_total", {"product-service"}, 10e6));
  const std::string middle = mesh_->metrics();
  ASSERT_EQ(
      curl(client_, {"-o", "/dev/null", "-r", "0-19999999", std::string("http://") + kProductV4 + "/file"})
          .exit_code,
      0);
  EXPECT_TRUE(grows(middle, "weft_tcp_received_bytes_total", {"product-service"}, 20e6));
}

}  // namespace
}  // namespace weft::harness
