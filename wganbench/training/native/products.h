// Products of matrices. A batch is a matrix of features by columns, one column a point.
//
// Every sum runs over its terms in order, in one lane or in LANES interleaved lanes. The bits of
// a result therefore do not depend on how its rows and columns are divided.
#pragma once

#include "vectors.h"

constexpr int BLOCK = LANES == 8 ? 4 : 8;  // rows of a result that are computed together
constexpr int ACROSS = 3;                  // most vectors of columns computed together

inline int rounded_up(int n, int to) { return (n + to - 1) / to * to; }

// A weight (rows, depth) in the order of reading: BLOCK rows interleaved, then the next BLOCK.
struct Packed {
  int rows, depth;
  float *panels, *bias;  // bias is null when there is none

  const float *bias_of(int row) const { return bias ? bias + row : nullptr; }
  static size_t numbers(int rows, int depth) {
    return size_t(rounded_up(rows, BLOCK)) * depth + rounded_up(rows, BLOCK);
  }
};

// Packs a weight whose element (row, k) is source[row * row_stride + k * depth_stride].
inline void pack(const Packed &to, const float *source, const float *bias, int row_stride,
                 int depth_stride) {
  for (int first = 0; first < to.rows; first += BLOCK) {
    float *panel = to.panels + size_t(first) * to.depth;
    int rows = to.rows - first < BLOCK ? to.rows - first : BLOCK;
    for (int k = 0; k < to.depth; k++)
      for (int q = 0; q < BLOCK; q++)
        panel[k * BLOCK + q] =
            q < rows ? source[size_t(first + q) * row_stride + size_t(k) * depth_stride] : 0.0f;
    for (int q = 0; q < BLOCK && bias; q++) to.bias[first + q] = q < rows ? bias[first + q] : 0.0f;
  }
}

template <int ROWS, int WIDE, class Each>
inline void block(const float *panel, int row_step, int depth_step, const float *bias,
                  const float *in, int depth, size_t ld, Each each) {
  V total[ROWS][WIDE];
#pragma GCC unroll 8
  for (int q = 0; q < ROWS; q++)
#pragma GCC unroll 3
    for (int p = 0; p < WIDE; p++) total[q][p] = bias ? splat(bias[q]) : V{};
  for (int k = 0; k < depth; k++) {
    V x[WIDE];
#pragma GCC unroll 3
    for (int p = 0; p < WIDE; p++) x[p] = load(in + k * ld + p * LANES);
#pragma GCC unroll 8
    for (int q = 0; q < ROWS; q++) {
      V w = splat(panel[size_t(k) * depth_step + size_t(q) * row_step]);
#pragma GCC unroll 3
      for (int p = 0; p < WIDE; p++) total[q][p] += w * x[p];
    }
  }
#pragma GCC unroll 8
  for (int q = 0; q < ROWS; q++)
#pragma GCC unroll 3
    for (int p = 0; p < WIDE; p++) each(q, p, total[q][p]);
}

// Calls each(row, column, vector) for all of weight * in + bias, and also for missing rows up to
// the end of the last block. With Each::FEW_ROWS a short last block has fewer missing rows.
template <int WIDE, class Each>
inline void strip(const Packed &w, const float *in, size_t ld, int column, Each each) {
  int row = 0;
  auto at = [&](int q, int p, V value) { each(row + q, column + p * LANES, value); };
  const float *x = in + column;
  for (; row + BLOCK <= w.rows; row += BLOCK)
    block<BLOCK, WIDE>(w.panels + size_t(row) * w.depth, 1, BLOCK, w.bias_of(row), x, w.depth,
                       ld, at);
  if (row == w.rows) return;
  const float *panel = w.panels + size_t(row) * w.depth;
  int left = w.rows - row;
  if constexpr (Each::FEW_ROWS) {
    if (left == 1)
      return block<1, WIDE>(panel, 1, BLOCK, w.bias_of(row), x, w.depth, ld, at);
    if (left == 2)
      return block<2, WIDE>(panel, 1, BLOCK, w.bias_of(row), x, w.depth, ld, at);
    if (left <= 4)
      return block<4, WIDE>(panel, 1, BLOCK, w.bias_of(row), x, w.depth, ld, at);
  }
  block<BLOCK, WIDE>(panel, 1, BLOCK, w.bias_of(row), x, w.depth, ld, at);
}

template <class Each>
inline void product(const Packed &w, const float *in, size_t ld, int columns, Each each) {
  int column = 0;
  while (column < columns) {
    int vectors = (columns - column) / LANES;
    int wide = vectors >= 3 && vectors != 4 ? 3 : vectors >= 2 ? 2 : 1;
    if (wide == 3)
      strip<3>(w, in, ld, column, each);
    else if (wide == 2)
      strip<2>(w, in, ld, column, each);
    else
      strip<1>(w, in, ld, column, each);
    column += wide * LANES;
  }
}

// The target of a weight's gradient (rows, depth), which is overwritten or added to.
struct Gradient {
  float *at;
  int depth;
  bool adds;

  void put(int row, int k, float value) const {
    float &place = at[size_t(row) * depth + k];
    place = adds ? place + value : value;
  }
  void put(int row, int k, V value, int lanes) const {
    float *place = at + size_t(row) * depth + k;
    if (lanes >= LANES) {
      store_any(place, adds ? load_any(place) + value : value);
      return;
    }
    for (int i = 0; i < lanes; i++) put(row, k + i, value[i]);
  }
};

template <int ROWS, int DEEP>
inline void dots(const float *d, const float *x, size_t ld, int columns, int row, int k,
                 const Gradient &to) {
  V total[ROWS * DEEP > LANES ? ROWS * DEEP : LANES] = {};
  for (int c = 0; c < columns; c += LANES) {
    V seen[DEEP];
#pragma GCC unroll 4
    for (int q = 0; q < DEEP; q++) seen[q] = load(x + (k + q) * ld + c);
#pragma GCC unroll 4
    for (int p = 0; p < ROWS; p++) {
      V delta = load(d + (row + p) * ld + c);
#pragma GCC unroll 4
      for (int q = 0; q < DEEP; q++) total[p * DEEP + q] += delta * seen[q];
    }
  }
  for (int first = 0; first < ROWS * DEEP; first += LANES) {
    V found = sums(total + first);
    for (int i = 0; i < LANES && first + i < ROWS * DEEP; i++)
      to.put(row + (first + i) / DEEP, k + (first + i) % DEEP, found[i]);
  }
}

template <int ROWS>
inline void dots_of_rows(const float *d, const float *x, size_t ld, int columns, int row,
                         int depth, const Gradient &to) {
  int k = 0;
  for (; k + 4 <= depth; k += 4) dots<ROWS, 4>(d, x, ld, columns, row, k, to);
  for (; k + 2 <= depth; k += 2) dots<ROWS, 2>(d, x, ld, columns, row, k, to);
  for (; k < depth; k++) dots<ROWS, 1>(d, x, ld, columns, row, k, to);
}

// Computes sum_c d[row][c] x[k][c], with LANES partial sums for every element.
inline void gradient_by_dots(const float *d, int rows, const float *x, int depth, size_t ld,
                             int columns, const Gradient &to) {
  int row = 0;
  for (; row + 4 <= rows; row += 4) dots_of_rows<4>(d, x, ld, columns, row, depth, to);
  for (; row < rows; row++) dots_of_rows<1>(d, x, ld, columns, row, depth, to);
}

// Transposes x (depth, columns) into (columns, depth rounded up); x has rows up to that depth.
inline void transpose(const float *x, int depth, size_t ld, int columns, float *to) {
  int wide = rounded_up(depth, LANES);
  for (int k = 0; k < wide; k += LANES)
    for (int c = 0; c < columns; c += LANES) {
      V a[LANES];
      for (int i = 0; i < LANES; i++) a[i] = load(x + (k + i) * ld + c);
      swap_groups<LANES / 2>(a);
      for (int i = 0; i < LANES; i++) store(to + size_t(c + i) * wide + k, a[i]);
    }
}

template <int ROWS, int WIDE>
inline void outer_block(const float *d, size_t ld, const float *x, int columns, int wide, int row,
                        int k, const Gradient &to) {
  block<ROWS, WIDE>(d + row * ld, int(ld), 1, nullptr, x + k, columns, size_t(wide),
                    [&](int q, int p, V value) {
                      to.put(row + q, k + p * LANES, value, to.depth - k - p * LANES);
                    });
}

template <int ROWS>
inline void outer_rows(const float *d, size_t ld, const float *x, int columns, int wide, int row,
                       const Gradient &to) {
  int k = 0;
  while (k < wide) {
    int vectors = (wide - k) / LANES;
    int step = vectors >= 3 && vectors != 4 ? 3 : vectors >= 2 ? 2 : 1;
    if (step == 3)
      outer_block<ROWS, 3>(d, ld, x, columns, wide, row, k, to);
    else if (step == 2)
      outer_block<ROWS, 2>(d, ld, x, columns, wide, row, k, to);
    else
      outer_block<ROWS, 1>(d, ld, x, columns, wide, row, k, to);
    k += step * LANES;
  }
}

// Computes the same from the transpose of x, written to `scratch`; each element has one lane.
inline void gradient_by_outer(const float *d, int rows, const float *x, int depth, size_t ld,
                              int columns, const Gradient &to, float *scratch) {
  transpose(x, depth, ld, columns, scratch);
  int wide = rounded_up(depth, LANES), row = 0;
  for (; row + BLOCK <= rows; row += BLOCK)
    outer_rows<BLOCK>(d, ld, scratch, columns, wide, row, to);
  for (; row < rows; row++) outer_rows<1>(d, ld, scratch, columns, wide, row, to);
}

// Gradient of a weight: sum over columns of d (rows, columns) times x (depth, columns). The
// transpose is faster when many rows use it; sums over lanes are faster with many columns.
inline void weight_gradient(const float *d, int rows, const float *x, int depth, size_t ld,
                            int columns, const Gradient &to, float *scratch) {
  bool by_outer = depth >= LANES / 2 && 90 * rows > 8 * columns;
  if (by_outer)
    gradient_by_outer(d, rows, x, depth, ld, columns, to, scratch);
  else
    gradient_by_dots(d, rows, x, depth, ld, columns, to);
}

// Gradient of a bias: sum of each row of d over its first columns.
inline void bias_gradient(const float *d, int rows, size_t ld, int columns, const Gradient &to) {
  int row = 0;
  for (; row < rows; row += LANES) {
    V a[LANES] = {};
    int here = rows - row < LANES ? rows - row : LANES;
    for (int i = 0; i < here; i++)
      for (int c = 0; c < columns; c += LANES) a[i] += load(d + (row + i) * ld + c);
    to.put(0, row, sums(a), here);
  }
}
