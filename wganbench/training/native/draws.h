// Random numbers as functions of (key, step, element) by Philox4x32-10, with the same words as
// wganbench/draws.py, and samplers that use them.
#pragma once

#include "samplers.h"
#include "vectors.h"

constexpr int COUNTERS = 64;  // counters turned into words in one call

// words[4 i + k] is word k of counter (first + i, 0, step).
inline void philox(uint64_t key, int64_t step, uint32_t first, uint32_t *__restrict words) {
  alignas(64) uint32_t c0[COUNTERS], c1[COUNTERS], c2[COUNTERS], c3[COUNTERS];
  for (int i = 0; i < COUNTERS; i++) {
    c0[i] = first + uint32_t(i);
    c1[i] = 0;
    c2[i] = uint32_t(uint64_t(step));
    c3[i] = uint32_t(uint64_t(step) >> 32);
  }
  uint32_t k0 = uint32_t(key), k1 = uint32_t(key >> 32);
  for (int round = 0; round < 10; round++) {
    for (int i = 0; i < COUNTERS; i++) {
      uint64_t a = uint64_t(c0[i]) * 0xD2511F53u, b = uint64_t(c2[i]) * 0xCD9E8D57u;
      uint32_t n0 = uint32_t(b >> 32) ^ c1[i] ^ k0, n2 = uint32_t(a >> 32) ^ c3[i] ^ k1;
      c0[i] = n0;
      c1[i] = uint32_t(b);
      c2[i] = n2;
      c3[i] = uint32_t(a);
    }
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  for (int i = 0; i < COUNTERS; i++) {
    words[4 * i] = c0[i];
    words[4 * i + 1] = c1[i];
    words[4 * i + 2] = c2[i];
    words[4 * i + 3] = c3[i];
  }
}

// The words of one step of a stream.
struct Words {
  uint64_t key;
  int64_t step;
  uint32_t counter;

  // Calls each(i, word) for words from ... from + n - 1; `from` is a multiple of 4.
  template <class Each> void each(int64_t from, int64_t n, Each call) const {
    alignas(64) uint32_t words[4 * COUNTERS];
    for (int64_t done = 0; done < n; done += 4 * COUNTERS) {
      philox(key, step, counter + uint32_t((from + done) / 4), words);
      int64_t here = n - done < 4 * COUNTERS ? n - done : 4 * COUNTERS;
      for (int64_t i = 0; i < here; i++) call(done + i, words[i]);
    }
  }

  Words after(int64_t words) const { return {key, step, counter + uint32_t((words + 3) / 4)}; }
};

// Writes normal numbers from ... from + n - 1 of a draw; `from` is a multiple of 4. `out` has room
// for n rounded up to 4 * COUNTERS.
inline void normals(const Words &source, int64_t from, int64_t n, float *out) {
  alignas(64) uint32_t words[4 * COUNTERS];
  alignas(64) float first[2 * COUNTERS], second[2 * COUNTERS];
  for (int64_t done = 0; done < n; done += 4 * COUNTERS) {
    philox(source.key, source.step, source.counter + uint32_t((from + done) / 4), words);
    for (int i = 0; i < 2 * COUNTERS; i++) {
      first[i] = (float(words[2 * i]) + 0.5f) * 2.3283064365386963e-10f;
      second[i] = float(words[2 * i + 1]) * 1.4629180792671596e-9f;
    }
    for (int i = 0; i < 2 * COUNTERS; i += LANES) {
      V radius = root(splat(-2.0f) * logarithm(load(first + i))), cosine, sine;
      cosine_and_sine(load(second + i), cosine, sine);
      store(first + i, radius * cosine);
      store(second + i, radius * sine);
    }
    for (int i = 0; i < 2 * COUNTERS; i++) {
      out[done + 2 * i] = first[i];
      out[done + 2 * i + 1] = second[i];
    }
  }
}

// Size of the working memory for drawing m points, in numbers.
inline size_t numbers_to_draw(int m, int dimension) {
  return size_t(m) * dimension + 8 * COUNTERS;
}

// Draws columns p0 ... p0 + m - 1 of the n columns of run r at a step into out[k * ld + column]. A
// column is a point, or a pack of `size` points one below the other. p0 is a multiple of 4. `given`
// holds the values that the caller passes, (n * size, dimension) for each run.
inline void draw(const Sampler &sampler, const float *given, int r, int64_t step, int n, int p0, int m,
                 float *out, size_t ld, float *scratch, int size = 1) {
  const int d = sampler.dimension, rows = d * size, columns = m;
  n *= size, p0 *= size, m *= size;
  if (sampler.kind == GIVEN) {
    const float *at = given + (size_t(r) * n + p0) * d;
    for (int c = 0; c < columns; c++)
      for (int k = 0; k < rows; k++) out[k * ld + c] = at[size_t(c) * rows + k];
    return;
  }
  Words words{sampler.keys[r], step, 0};
  int64_t from = int64_t(p0) * d, count = int64_t(m) * d;
  if (sampler.kind == UNIFORM) {
    words.each(from, count, [&](int64_t i, uint32_t word) { scratch[i] = fraction(word); });
  } else if (sampler.kind == SYMMETRIC) {
    words.each(from, count, [&](int64_t i, uint32_t word) { scratch[i] = fraction(word) * 2 - 1; });
  } else if (sampler.kind == NORMAL) {
    normals(words, from, count, scratch);
  } else if (sampler.kind == ROWS) {
    words.each(p0, m, [&](int64_t i, uint32_t word) {
      const float *row = sampler.table + size_t(below(word, sampler.rows)) * d;
      for (int k = 0; k < d; k++) scratch[i * d + k] = row[k];
    });
  } else {
    normals(words.after(n), from, count, scratch);
    words.each(p0, m, [&](int64_t i, uint32_t word) {
      const float *mode = sampler.table + size_t(mode_of(sampler, word)) * d;
      for (int k = 0; k < d; k++) scratch[i * d + k] = mode[k] + sampler.sigma * scratch[i * d + k];
    });
  }
  for (int k = 0; k < rows; k++)
    for (int c = 0; c < columns; c++) out[k * ld + c] = scratch[size_t(c) * rows + k];
}
