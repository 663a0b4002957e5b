// See failing_reports.h. Called by the agent's thread that waits for reports.
#include "agent/dataplane/failing_reports.h"

#include <bpf/libbpf.h>

#include <cstring>

#include "base/log.h"

namespace weft::agent {

FailingReports::FailingReports(int ring_fd, int backend_fd) : backends_(backend_fd, "m_backend") {
  ring_ = ring_buffer__new(ring_fd, &FailingReports::take, this, nullptr);
  if (ring_ == nullptr) log::error("failing_backends_not_watched", {{"error", std::strerror(errno)}});
}

FailingReports::~FailingReports() { ring_buffer__free(ring_); }

int FailingReports::take(void* self, void* data, size_t size) noexcept {
  auto& reports = *static_cast<FailingReports*>(self);
  weft_failing report{};
  if (size < sizeof(report)) return 0;
  std::memcpy(&report, data, sizeof(report));
  const auto row = reports.backends_.find(report.backend);
  if (!row || row->generation != report.generation) return 0;
  FailingBackend failing{.service = report.service,
                         .address = {},
                         .failures = report.failures_in_a_row,
                         .latency_us = report.latency_us};
  std::memcpy(failing.address.ip.bytes.data(), row->ip, sizeof(row->ip));
  failing.address.port = static_cast<uint16_t>(row->port);
  reports.taken_.push_back(failing);
  return 0;
}

std::vector<FailingBackend> FailingReports::wait(std::chrono::milliseconds timeout) {
  if (ring_ != nullptr) ring_buffer__poll(ring_, static_cast<int>(timeout.count()));
  return std::exchange(taken_, {});
}

}  // namespace weft::agent
