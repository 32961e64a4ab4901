// The largest singular value of a matrix and its vectors, as a function of the matrix alone.
//
// Lanczos' method for W'W from a fixed start, in double precision. All its vectors are kept
// orthogonal, so that it ends after as many steps as W has columns at the latest; mostly it needs 10
// to 40. Source: Golub and Van Loan, Matrix Computations, 4th ed., sections 10.1 to 10.4.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "vectors.h"

constexpr int PAIR = LANES / 2;  // doubles of a vector
typedef double D __attribute__((vector_size(LANES * 4), may_alias));
typedef D LooseD __attribute__((aligned(8)));
typedef float HalfV __attribute__((vector_size(LANES * 2), may_alias, aligned(4)));

inline D load(const double *at) { return *reinterpret_cast<const LooseD *>(at); }
inline void store(double *at, D value) { *reinterpret_cast<LooseD *>(at) = value; }
inline D in_double(const float *at) {
  return __builtin_convertvector(*reinterpret_cast<const HalfV *>(at), D);
}
inline int whole_pairs(int n) { return (n + PAIR - 1) / PAIR * PAIR; }

inline double sum(D a) {
  double s = 0;
  for (int i = 0; i < PAIR; i++) s += a[i];
  return s;
}

// The dot product of n numbers; n is a whole number of vectors.
inline double dot(const double *a, const double *b, int n) {
  D total = {};
  for (int i = 0; i < n; i += PAIR) total += load(a + i) * load(b + i);
  return sum(total);
}

// The dot product of any number of floats.
inline double dot(const float *a, const float *b, int n) {
  D total = {};
  int i = 0;
  for (; i + PAIR <= n; i += PAIR) total += in_double(a + i) * in_double(b + i);
  double found = sum(total);
  for (; i < n; i++) found += double(a[i]) * b[i];
  return found;
}

template <int WIDE>
inline void combined(const double *rows, int count, int ld, const double *x, double *to) {
  D total[WIDE] = {};
  for (int k = 0; k < count; k++)
#pragma GCC unroll 8
    for (int p = 0; p < WIDE; p++) total[p] += load(rows + size_t(k) * ld + p * PAIR) * x[k];
#pragma GCC unroll 8
  for (int p = 0; p < WIDE; p++) store(to + p * PAIR, total[p]);
}

// Writes the sum of x[k] times row k; rows have `ld` numbers, a whole number of vectors.
inline void combination(const double *rows, int count, int ld, const double *x, double *to) {
  int at = 0;
  for (; at + 8 * PAIR <= ld; at += 8 * PAIR) combined<8>(rows + at, count, ld, x, to + at);
  for (; at + 2 * PAIR <= ld; at += 2 * PAIR) combined<2>(rows + at, count, ld, x, to + at);
  for (; at < ld; at += PAIR) combined<1>(rows + at, count, ld, x, to + at);
}

constexpr int GUESSES = 32 / LANES > 2 ? 32 / LANES : 2;  // vectors of guesses tried together
constexpr double CLOSE = 1e-9;  // what is left of W'Wv beside v, relative to the largest eigenvalue

// A symmetric tridiagonal matrix that grows; its numbers beside the diagonal are above 0.
struct Tridiagonal {
  std::vector<double> diagonal, beside, from_top, from_end;

  explicit Tridiagonal(int most)
      : diagonal(most), beside(most), from_top(most), from_end(most) {}

  // The least number above all eigenvalues of the first n rows, to rounding; `low` is not above.
  double largest(int n, double low) const {
    double high = low;
    for (int i = 0; i < n; i++) {
      const double reach = (i ? beside[i - 1] : 0.0) + (i + 1 < n ? beside[i] : 0.0);
      high = std::fmax(high, diagonal[i] + reach);
    }
    high += 1e-15 * high;
    for (int pass = 0; pass < 14; pass++) {
      D x[GUESSES], pivot[GUESSES], least[GUESSES];
      for (int g = 0; g < GUESSES; g++) {
        for (int i = 0; i < PAIR; i++)
          x[g][i] = low + (high - low) * (g * PAIR + i + 1) / (GUESSES * PAIR + 1);
        least[g] = pivot[g] = x[g] - diagonal[0];
      }
      for (int i = 1; i < n; i++)
#pragma GCC unroll 4
        for (int g = 0; g < GUESSES; g++) {
          pivot[g] = x[g] - diagonal[i] - square(i - 1) / pivot[g];
          least[g] = pivot[g] < least[g] ? pivot[g] : least[g];
        }
      for (int j = 0; j < GUESSES * PAIR; j++) {
        const double guess = x[j / PAIR][j % PAIR];
        if (least[j / PAIR][j % PAIR] > 0) {
          high = guess;
          break;
        }
        low = guess;
      }
    }
    return high;
  }

  // Writes the eigenvector of the largest eigenvalue of the first n rows: the rows before the one
  // where both factorisations meet best from the top, the others from the end.
  void vector_of(int n, double value, double *to) {
    for (int i = 0; i < n; i++)
      from_top[i] = value - diagonal[i] - (i ? square(i - 1) / from_top[i - 1] : 0.0);
    for (int i = n - 1; i >= 0; i--)
      from_end[i] = value - diagonal[i] - (i + 1 < n ? square(i) / from_end[i + 1] : 0.0);
    int best = 0;
    double least = INFINITY;
    for (int i = 0; i < n; i++) {
      const double left = std::fabs(from_top[i] + from_end[i] - (value - diagonal[i]));
      if (left < least) least = left, best = i;
    }
    to[best] = 1.0;
    for (int i = best - 1; i >= 0; i--) to[i] = beside[i] * to[i + 1] / from_top[i];
    for (int i = best + 1; i < n; i++) to[i] = beside[i - 1] * to[i - 1] / from_end[i];
    double norm = 0;
    for (int i = 0; i < n; i++) norm += to[i] * to[i];
    for (int i = 0; i < n; i++) to[i] /= std::sqrt(norm);
  }

 private:
  double square(int i) const { return beside[i] * beside[i]; }
};

// Finds the largest singular values of matrices of at most `rows` by `depth` numbers.
class Singular {
 public:
  Singular(int rows, int depth)
      : matrix_(size_t(in_groups(rows)) * whole_pairs(depth)),
        basis_(size_t(depth) * whole_pairs(depth)), long_(in_groups(rows)),
        next_(whole_pairs(depth)), weights_(depth), found_(whole_pairs(depth)), small_(depth) {}

  // Returns the value, and writes its vectors (rows) and (depth). With a number that is not finite
  // the value is NaN, and the vectors are 0; those of the matrix 0 are 0 too.
  double of(const float *weight, int rows, int depth, float *left, float *right) {
    rows_ = rows, depth_ = depth, wide_ = whole_pairs(depth);
    for (int i = 0; i < rows; i++) left[i] = 0.0f;
    for (int k = 0; k < depth; k++) right[k] = 0.0f;
    const double size = dot(weight, weight, rows * depth);
    if (!std::isfinite(size)) return NAN;
    if (size == 0) return 0.0;
    std::fill(matrix_.begin(), matrix_.begin() + size_t(in_groups(rows)) * wide_, 0.0);
    for (int i = 0; i < rows; i++)
      for (int k = 0; k < depth; k++)
        matrix_[size_t(i) * wide_ + k] = weight[size_t(i) * depth + k];
    direction();
    // The value is that of the vector, |W v|: its error is the square of the vector's.
    through(found_.data(), next_.data());
    double square = 0;
    for (int i = 0; i < rows; i++) square += long_[i] * long_[i];
    const double value = std::sqrt(square);
    for (int i = 0; i < rows; i++) left[i] = float(long_[i] / value);
    for (int k = 0; k < depth; k++) right[k] = float(found_[k]);
    return value;
  }

 private:
  static constexpr int GROUP = 4;  // rows that are read together
  static int in_groups(int rows) { return (rows + GROUP - 1) / GROUP * GROUP; }

  int rows_ = 0, depth_ = 0, wide_ = 0;
  // Rows of `wide_` numbers, those of the matrix in whole groups.
  std::vector<double> matrix_, basis_, long_, next_, weights_, found_;
  Tridiagonal small_;

  double *basis(int k) { return basis_.data() + size_t(k) * wide_; }

  // Writes W x to `long_` and W'W x to `to`, and reads W once.
  void through(const double *x, double *to) {
    for (int k = 0; k < wide_; k++) to[k] = 0.0;
    for (int i = 0; i < rows_; i += GROUP) {
      const double *rows = &matrix_[size_t(i) * wide_];
      auto at = [&](int q, int k) { return load(rows + size_t(q) * wide_ + k); };
      D total[GROUP] = {};
      for (int k = 0; k < wide_; k += PAIR)
#pragma GCC unroll 4
        for (int q = 0; q < GROUP; q++) total[q] += at(q, k) * load(x + k);
      for (int q = 0; q < GROUP; q++) long_[i + q] = sum(total[q]);
      for (int k = 0; k < wide_; k += PAIR) {
        D found = load(to + k);
#pragma GCC unroll 4
        for (int q = 0; q < GROUP; q++) found += at(q, k) * long_[i + q];
        store(to + k, found);
      }
    }
  }

  // Writes to `found_` the unit vector v for which |W v| is largest.
  void direction() {
    double *next = next_.data(), largest = 0, size = 0;
    start(basis(0));
    for (int k = 0, due = 7;; k++) {
      through(basis(k), next);
      small_.diagonal[k] = dot(basis(k), next, wide_);
      orthogonal(k + 1);
      orthogonal(k + 1);
      const double beside = std::sqrt(dot(next, next, wide_));
      size = std::fmax(size, small_.diagonal[k] + beside);
      const bool last = k + 1 == depth_ || beside <= 1e-15 * size;
      if (last || k == due) {
        due += k < 15 ? 4 : k / 4;
        largest = small_.largest(k + 1, largest);
        small_.vector_of(k + 1, largest, weights_.data());
        if (last || beside * std::fabs(weights_[k]) <= CLOSE * largest) {
          combination(basis(0), k + 1, wide_, weights_.data(), found_.data());
          return unit(found_.data(), found_.data());
        }
      }
      small_.beside[k] = beside;
      unit(next, basis(k + 1));
    }
  }

  // Subtracts from `next_` its parts along the first `count` vectors.
  void orthogonal(int count) {
    for (int i = 0; i < count; i++) weights_[i] = dot(basis(i), next_.data(), wide_);
    combination(basis(0), count, wide_, weights_.data(), found_.data());
    for (int k = 0; k < wide_; k++) next_[k] -= found_[k];
  }

  void unit(const double *from, double *to) const {
    const double norm = std::sqrt(dot(from, from, wide_));
    for (int k = 0; k < wide_; k++) to[k] = from[k] / norm;
  }

  // Scattered numbers, the same for each matrix of so many columns.
  void start(double *to) const {
    uint64_t state = 0x9E3779B97F4A7C15u;
    for (int k = 0; k < wide_; k++) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      to[k] = k < depth_ ? double(state >> 11) * 0x1p-52 - 1.0 : 0.0;
    }
    unit(to, to);
  }
};
