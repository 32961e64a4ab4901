// The samplers of the streams, and what they make of one random word. CPUs and GPUs share them.
#pragma once

#include "numbers.h"

enum SamplerKind : int32_t { GIVEN, NORMAL, UNIFORM, SYMMETRIC, ROWS, MIXTURE };

// The sampler of one stream. GIVEN: the caller passes the values. UNIFORM: from 0 to 1.
// SYMMETRIC: from -1 to 1. ROWS: rows of `table` with replacement. MIXTURE: a row of `table` plus
// normal noise of standard deviation sigma; `steps` is the distribution function of the rows,
// which are equally likely without it.
struct Sampler {
  int32_t kind, dimension;
  int64_t rows;
  const float *table, *steps;
  const uint64_t *keys;
  float sigma;
  int32_t unused;
};

inline float fraction(uint32_t word) { return float(word >> 8) * 5.9604644775390625e-8f; }

inline uint32_t below(uint32_t word, int64_t m) {
  return uint32_t((uint64_t(word) * uint64_t(m)) >> 32);
}

inline int mode_of(const Sampler &sampler, uint32_t word) {
  if (!sampler.steps) return int(below(word, sampler.rows));
  float u = fraction(word);
  int64_t low = 0, high = sampler.rows;  // bounds of the number of steps <= u
  while (low < high) {
    int64_t middle = (low + high) / 2;
    if (sampler.steps[middle] <= u)
      low = middle + 1;
    else
      high = middle;
  }
  return int(low < sampler.rows ? low : sampler.rows - 1);
}
