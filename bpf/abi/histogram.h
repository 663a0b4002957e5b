/* Bounds of every duration histogram in Weft, in microseconds: one definition for kernel, agent and proxy. */
#ifndef WEFT_BPF_ABI_HISTOGRAM_H
#define WEFT_BPF_ABI_HISTOGRAM_H

/* X(upper bound in microseconds), ascending; a last bucket without bound follows. */
/* clang-format off */
#define WEFT_HISTOGRAM_BOUNDS_US(X)                                           \
  X(50) X(100) X(250) X(500) X(1000) X(2500) X(5000) X(10000) X(25000)        \
  X(50000) X(100000) X(250000) X(1000000) X(2500000) X(10000000)
/* clang-format on */
#define WEFT_HISTOGRAM_BUCKETS 16

#endif
