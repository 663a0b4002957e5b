// Weighted choice with two array reads: Vose's alias method ("A Linear Algorithm for Generating Random
// Numbers with a Given Distribution", 1991) in whole numbers, as bpf/lib/balance.h reads it. Pure.
#pragma once

#include <cstdint>
#include <vector>

namespace weft::agent {

struct WeightedChoice {
  uint32_t value = 0;   // what a pick yields
  uint32_t weight = 0;  // relative; 0 is never picked
};

struct AliasRow {
  uint32_t threshold = 0;  // of 2^32: below it `self`, else `alias`
  uint32_t self = 0;
  uint32_t alias = 0;
};

// One row per choice whose weight is not 0; empty when there is none. The error of each probability is below
// 2^-31.
std::vector<AliasRow> build_alias_table(const std::vector<WeightedChoice>& choices);

}  // namespace weft::agent
