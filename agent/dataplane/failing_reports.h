// The reports of failing backends (m_failing) as the kernel sends them. One reader; see wait().
#pragma once

#include <chrono>
#include <memory>
#include <vector>

#include "agent/dataplane/dataplane.h"
#include "bpf/abi/service.h"
#include "bpf/user/map.h"

struct ring_buffer;

namespace weft::agent {

class FailingReports {
 public:
  FailingReports(int ring_fd, int backend_fd);
  ~FailingReports();
  FailingReports(const FailingReports&) = delete;
  FailingReports& operator=(const FailingReports&) = delete;

  // Any one thread. Reports of backends that are gone by now are dropped.
  std::vector<FailingBackend> wait(std::chrono::milliseconds timeout);

 private:
  static int take(void* self, void* data, size_t size) noexcept;

  bpf::Map<uint32_t, weft_backend> backends_;
  ring_buffer* ring_ = nullptr;
  std::vector<FailingBackend> taken_;
};

}  // namespace weft::agent
