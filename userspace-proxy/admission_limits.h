// The limits of one worker, from the options of the process, its limit of open files and its memory. Called
// once by each worker when it is made.
#pragma once

#include "userspace-proxy/exchange/admission.h"
#include "userspace-proxy/exchange/context.h"
#include "userspace-proxy/worker.h"

namespace weft::proxy {

// A worker's share of what the process may use. Defaults: connections half of the open files (one on each
// side), buffers a quarter of memory_limit(), a pod half of both, and 1024 requests that wait.
AdmissionLimits admission_limits(const Worker::Options& options);
// What the options say of single exchanges, and of connections to endpoints.
ExchangeLimits exchange_limits(const Worker::Options& options);
UpstreamLimits upstream_limits(const Worker::Options& options, const AdmissionLimits& admission);

}  // namespace weft::proxy
