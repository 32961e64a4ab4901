// One point of a stream by Philox4x32-10, with the same words as wganbench/draws.py.
#pragma once

#include "../native/samplers.h"

struct Counter {
  uint32_t words[4];

  uint32_t word(int index) const {
    return index & 2 ? (index & 1 ? words[3] : words[2]) : (index & 1 ? words[1] : words[0]);
  }
};

// The words of counter (number, 0, step).
inline Counter philox(uint64_t key, int64_t step, uint32_t number) {
  uint32_t c0 = number, c1 = 0, c2 = uint32_t(uint64_t(step)), c3 = uint32_t(uint64_t(step) >> 32);
  uint32_t k0 = uint32_t(key), k1 = uint32_t(key >> 32);
  for (int round = 0; round < 10; round++) {
    const uint64_t a = uint64_t(c0) * 0xD2511F53u, b = uint64_t(c2) * 0xCD9E8D57u;
    c0 = uint32_t(b >> 32) ^ c1 ^ k0;
    c2 = uint32_t(a >> 32) ^ c3 ^ k1;
    c1 = uint32_t(b);
    c3 = uint32_t(a);
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return {{c0, c1, c2, c3}};
}

inline uint32_t word_at(uint64_t key, int64_t step, uint32_t first, int index) {
  return philox(key, step, first + uint32_t(index / 4)).word(index % 4);
}

// Draws point `point` of the n points, of D numbers, of run r at a step into out[k * ld].
template <int D>
inline void draw_point(const Sampler &sampler, int r, int64_t step, int n, int point, float *out,
                       int ld) {
  const uint64_t key = sampler.keys[r];
  const float *row = nullptr;
  uint32_t first = 0;
  if (sampler.kind == ROWS || sampler.kind == MIXTURE) {
    const uint32_t word = word_at(key, step, 0, point);
    row = sampler.table + int64_t(D) * (sampler.kind == MIXTURE ? mode_of(sampler, word)
                                                               : below(word, sampler.rows));
    first = uint32_t((n + 3) / 4);
  }
  if (sampler.kind == ROWS) {
    for (int k = 0; k < D; k++) out[k * ld] = row[k];
    return;
  }
  Counter counter;
  float radius = 0, cosine = 0, sine = 0;
  int of_words = -1, of_pair = -1;
  for (int k = 0; k < D; k++) {
    const int element = point * D + k;
    if (element / 4 != of_words) {
      of_words = element / 4;
      counter = philox(key, step, first + uint32_t(of_words));
    }
    if (sampler.kind == UNIFORM || sampler.kind == SYMMETRIC) {
      const float u = fraction(counter.word(element % 4));
      out[k * ld] = sampler.kind == UNIFORM ? u : u * 2 - 1;
      continue;
    }
    if (element / 2 != of_pair) {
      of_pair = element / 2;
      const int at = element % 4 / 2 * 2;
      radius = sqrtf(-2.0f * logf((float(counter.word(at)) + 0.5f) * 2.3283064365386963e-10f));
      sincosf(float(counter.word(at + 1)) * 1.4629180792671596e-9f, &sine, &cosine);
    }
    const float normal = radius * (element % 2 ? sine : cosine);
    out[k * ld] = row ? row[k] + sampler.sigma * normal : normal;
  }
}
