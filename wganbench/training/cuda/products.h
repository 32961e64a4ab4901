// Products of a block of threads. A batch is a matrix of features by columns in shared memory, one
// column a point; the columns of a part follow those of the part before.
//
// A thread computes TALL rows (half of them from 4 a on, half from HIDDEN / 2 + 4 a on) of WIDE
// columns of each part. Sums run over their terms in order.
#pragma once

#include "sizes.h"

inline const Four &four_at(const float *at) { return *reinterpret_cast<const Four *>(at); }
inline const Two &two_at(const float *at) { return *reinterpret_cast<const Two *>(at); }

// The place of a matrix's element (j, k). Groups of four columns are exchanged, so that threads
// that read four rows or columns apart use different banks.
constexpr int SLOTS = HIDDEN / 4 < 8 ? HIDDEN / 4 - 1 : 7;
inline int place(int j, int k) {
  return j * HIDDEN + ((((k >> 2) ^ ((j >> 2) & SLOTS)) << 2) | (k & 3));
}

// A thread's rows and columns.
struct Lane {
  int a, column;

  explicit Lane(int thread) : a(thread % GROUPS), column(WIDE * (thread / GROUPS)) {}
  int row(int r) const { return 4 * a + (r < 4 ? r : HIDDEN / 2 + r - 4); }
};

inline void read(const float *at, float (&x)[WIDE]) {
  if (WIDE == 2) {
    const Two pair = two_at(at);
    x[0] = pair.x, x[WIDE - 1] = pair.y;
  } else {
    x[0] = *at;
  }
}

inline void write(float *at, const float (&x)[WIDE]) {
  if (WIDE == 2)
    *reinterpret_cast<Two *>(at) = Two{x[0], x[WIDE - 1]};
  else
    *at = x[0];
}

template <int COUNT> struct Totals {
  float of[TALL][COUNT][WIDE];

  // Each row starts from its own number, or from 0.
  void start(const Lane &lane, const float *bias) {
    for (int r = 0; r < TALL; r++)
      for (int p = 0; p < COUNT; p++)
        for (int v = 0; v < WIDE; v++) of[r][p][v] = bias ? bias[lane.row(r)] : 0.0f;
  }

  void add(int r, float w, const float (&x)[COUNT][WIDE]) {
    UNROLL
    for (int p = 0; p < COUNT; p++)
      UNROLL
      for (int v = 0; v < WIDE; v++) of[r][p][v] += w * x[p][v];
  }
};

template <int COUNT>
inline void read_parts(const float *row, const Lane &lane, float (&x)[COUNT][WIDE]) {
  UNROLL
  for (int p = 0; p < COUNT; p++) read(row + p * TILE + lane.column, x[p]);
}

// Adds matrix * in.
template <int COUNT>
inline void add_product(Totals<COUNT> &totals, const Lane &lane, const float *matrix,
                        const float *in) {
#pragma unroll 1
  for (int k = 0; k < HIDDEN; k += 4) {
    Four w[TALL];
    UNROLL
    for (int half = 0; half < 2; half++) {
      // Four rows below each other have the same exchange of columns.
      const float *from = matrix + place(lane.row(4 * half), k);
      UNROLL
      for (int r = 0; r < 4; r++) w[4 * half + r] = four_at(from + r * HIDDEN);
    }
    UNROLL
    for (int q = 0; q < 4; q++) {
      float x[COUNT][WIDE];
      read_parts(in + (k + q) * LD, lane, x);
      UNROLL
      for (int r = 0; r < TALL; r++)
        totals.add(r, q == 0 ? w[r].x : q == 1 ? w[r].y : q == 2 ? w[r].z : w[r].w, x);
    }
  }
}

// Adds the transpose of the matrix, times in.
template <int COUNT>
inline void add_transposed(Totals<COUNT> &totals, const Lane &lane, const float *matrix,
                           const float *in) {
#pragma unroll 1
  for (int first = 0; first < HIDDEN; first += 4) {
    const float *left = matrix + place(first, lane.row(0));
    const float *right = matrix + place(first, lane.row(4));
    UNROLL
    for (int q = 0; q < 4; q++) {
      float x[COUNT][WIDE];
      read_parts(in + (first + q) * LD, lane, x);
      const Four low = four_at(left + q * HIDDEN), high = four_at(right + q * HIDDEN);
      totals.add(0, low.x, x);
      totals.add(1, low.y, x);
      totals.add(2, low.z, x);
      totals.add(3, low.w, x);
      totals.add(4, high.x, x);
      totals.add(5, high.y, x);
      totals.add(6, high.z, x);
      totals.add(7, high.w, x);
    }
  }
}

// A thread's share of the gradient of a matrix: delta times the transpose of seen, summed over a
// share of the columns. Its rows are j, j + HIDDEN / 4, ...; its columns likewise.
struct Corner {
  float of[4][4];
};

struct Share {
  int j, k, number;

  explicit Share(int thread)
      : j(thread / (HIDDEN / 4) % (HIDDEN / 4)), k(thread % (HIDDEN / 4)),
        number(thread / (MATRIX / 16)) {}
};

inline void add_gradient(Corner &corner, const Share &share, const float *delta, const float *seen,
                         int columns) {
  const int each = columns / SHARES, first = share.number * each;
  const float *d = delta + share.j * LD + first, *s = seen + share.k * LD + first;
#pragma unroll 2
  for (int c = 0; c < each; c += 2) {
    Two left[4], right[4];
    UNROLL
    for (int q = 0; q < 4; q++) {
      left[q] = two_at(d + q * (HIDDEN / 4) * LD + c);
      right[q] = two_at(s + q * (HIDDEN / 4) * LD + c);
    }
    UNROLL
    for (int p = 0; p < 4; p++)
      UNROLL
      for (int q = 0; q < 4; q++)
        corner.of[p][q] = (corner.of[p][q] + left[p].x * right[q].x) + left[p].y * right[q].y;
  }
}

// The sum of row[c] * other[c], or of row[c], over a thread's share of the columns.
inline float line(const float *row, const float *other, int number, int columns) {
  const int each = columns / LINES;
  float sum = 0;
#pragma unroll 4
  for (int c = number * each; c < (number + 1) * each; c += 2) {
    const Two x = two_at(row + c);
    if (other) {
      const Two y = two_at(other + c);
      sum = (sum + x.x * y.x) + x.y * y.y;
    } else {
      sum += x.x + x.y;
    }
  }
  return sum;
}
