// Reduced costs of all arcs, computed when needed for a block of sources and a block of sinks.
//
// The first look uses single precision. Each pair of blocks stores its least reduced cost. That
// cost falls at most by the rise of the potentials since then, which each block stores too. So a
// pair is priced again only when it may hold an arc of negative reduced cost.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

constexpr int ROWS = 16, LANES = 64;

// Costs are stored in single precision when computing them takes long: from this dimension on,
// and up to this number of costs (100 MiB).
constexpr int KEPT_DIMENSION = 5;
constexpr size_t KEPT_COSTS = size_t(25) << 20;

struct Arc {
  int i, j;
  double cost;
};

// A cloud of n points of dimension d: point by point, and in blocks [block][coordinate][lane].
struct Cloud {
  int n = 0, d = 0, count = 0;
  std::vector<double> points, wide;
  std::vector<float> narrow;

  Cloud() = default;
  Cloud(int n, int d, std::vector<double> values)
      : n(n), d(d), count((n + LANES - 1) / LANES), points(std::move(values)) {
    wide.assign(size_t(count) * d * LANES, 0.0);
    for (int j = 0; j < n; j++)
      for (int k = 0; k < d; k++)
        wide[(size_t(j / LANES) * d + k) * LANES + j % LANES] = points[size_t(j) * d + k];
    narrow.assign(wide.begin(), wide.end());
  }
  const double* at(int j) const { return &points[size_t(j) * d]; }
  const double* block(int b, double) const { return &wide[size_t(b) * d * LANES]; }
  const float* block(int b, float) const { return &narrow[size_t(b) * d * LANES]; }
};

inline double distance(const double* a, const double* b, int d) {
  double parts[8] = {}, sum = 0.0;
  int k = 0;
  for (; k + 8 <= d; k += 8)
    for (int l = 0; l < 8; l++) parts[l] += (a[k + l] - b[k + l]) * (a[k + l] - b[k + l]);
  for (; k < d; k++) sum += (a[k] - b[k]) * (a[k] - b[k]);
  if (d >= 8)
    for (int l = 0; l < 8; l++) sum += parts[l];
  return std::sqrt(sum);
}

// Computes the costs of the arcs between a point and the 64 points of a block.
template <class T>
inline void costs(const double* x, const T* block, int d, T* out) {
  alignas(64) T sum[LANES];
  const T x0 = T(x[0]);
  for (int l = 0; l < LANES; l++) sum[l] = (x0 - block[l]) * (x0 - block[l]);
  for (int k = 1; k < d; k++) {
    const T xk = T(x[k]);
    const T* y = block + size_t(k) * LANES;
    for (int l = 0; l < LANES; l++) sum[l] += (xk - y[l]) * (xk - y[l]);
  }
  for (int l = 0; l < LANES; l++) out[l] = std::sqrt(sum[l]);
}

// Computes the same minus the potentials of the 64 points.
template <class T>
inline void price(const double* x, const T* block, const T* v, int d, T* out) {
  costs(x, block, d, out);
  for (int l = 0; l < LANES; l++) out[l] -= v[l];
}

template <class T>
inline T least_of(const T* values) {
  alignas(64) T m[LANES / 2];
  for (int l = 0; l < LANES / 2; l++) m[l] = std::min(values[l], values[l + LANES / 2]);
  for (int l = 0; l < LANES / 4; l++) m[l] = std::min(m[l], m[l + LANES / 4]);
  for (int l = 0; l < LANES / 8; l++) m[l] = std::min(m[l], m[l + LANES / 8]);
  for (int l = 0; l < LANES / 16; l++) m[l] = std::min(m[l], m[l + LANES / 16]);
  return std::min(std::min(m[0], m[1]), std::min(m[2], m[3]));
}

// Returns potentials padded to whole blocks; the padding never gives the least price.
template <class T>
std::vector<T> in_blocks(const double* v, int n) {
  std::vector<T> out((n + LANES - 1) / LANES * LANES, T(-1e30));
  for (int j = 0; j < n; j++) out[j] = T(v[j]);
  return out;
}

// Returns min_j |x - y_j| - v_j.
template <class T>
T least_price(const double* x, const Cloud& y, const T* v) {
  T least = T(INFINITY);
  for (int b = 0; b < y.count; b++) {
    alignas(64) T values[LANES];
    price(x, y.block(b, T()), v + b * LANES, y.d, values);
    least = std::min(least, least_of(values));
  }
  return least;
}

class Pricing {
 public:
  Pricing(const Cloud& x, const Cloud& y)
      : rows((x.n + ROWS - 1) / ROWS), x_(x), y_(y),
        least_(size_t(rows) * y.count, -INFINITY), u_rise_(rows, 0.0), v_rise_(y.count, 0.0),
        u_(x.n, 0.0), v_(y.n, 0.0) {
    const size_t costs = least_.size() * ROWS * LANES;
    if (x.d >= KEPT_DIMENSION && costs <= KEPT_COSTS) kept_.resize(costs);
  }

  const int rows;

  // Stores the potentials and their rise since the last call; needed before each pass over rows.
  void note(const double* u, const double* v) {
    rise(u, u_, ROWS, u_rise_);
    rise(v, v_, LANES, v_rise_);
    narrow_ = in_blocks<float>(v, y_.n);
    wide_ = in_blocks<double>(v, y_.n);
  }

  // Finds arcs of a block of sources with reduced cost below -tolerance in single precision: the
  // best of each source in each block of sinks. Returns the number of arcs priced.
  int64_t first_look(int row, double tolerance, std::vector<Arc>& found) {
    return look<float>(row, tolerance, -tolerance, narrow_.data(), found);
  }

  // Does the same in double precision, for pairs whose first look found less than `margin`.
  int64_t second_look(int row, double tolerance, double margin, std::vector<Arc>& found) {
    return look<double>(row, tolerance, margin, wide_.data(), found);
  }

 private:
  template <class T>
  int64_t look(int row, double tolerance, double bound, const T* v, std::vector<Arc>& found) {
    int64_t looked = 0;
    const int begin = row * ROWS, end = std::min(x_.n, begin + ROWS);
    for (int b = 0; b < y_.count; b++) {
      double& least = least_[size_t(row) * y_.count + b];
      const double rise = u_rise_[row] + v_rise_[b];
      if (least - rise >= bound) continue;
      looked += int64_t(end - begin) * LANES;
      double here = INFINITY;
      for (int i = begin; i < end; i++) {
        alignas(64) T values[LANES];
        price_kept(i, b, least == -INFINITY, v + b * LANES, values);
        const T best = least_of(values);
        here = std::min(here, double(best) - u_[i]);
        if (double(best) - u_[i] >= -tolerance) continue;
        const int j = b * LANES + int(std::find(values, values + LANES, best) - values);
        if (j < y_.n) found.push_back({i, j, distance(x_.at(i), y_.at(j), x_.d)});
      }
      least = here + rise;
    }
    return looked;
  }

  void price_kept(int i, int b, bool first, const float* v, float* out) {
    if (kept_.empty()) return price(x_.at(i), y_.block(b, 0.0f), v, x_.d, out);
    float* kept = &kept_[(size_t(i) * y_.count + b) * LANES];
    if (first) costs(x_.at(i), y_.block(b, 0.0f), x_.d, kept);
    for (int l = 0; l < LANES; l++) out[l] = kept[l] - v[l];
  }
  void price_kept(int i, int b, bool, const double* v, double* out) {
    price(x_.at(i), y_.block(b, 0.0), v, x_.d, out);
  }

  static void rise(const double* now, std::vector<double>& seen, int width,
                   std::vector<double>& total) {
    const int n = int(seen.size());
    for (int b = 0; b * width < n; b++) {
      double most = 0.0;
      for (int k = b * width; k < std::min(n, (b + 1) * width); k++) {
        most = std::max(most, now[k] - seen[k]);
        seen[k] = now[k];
      }
      total[b] += most;
    }
  }

  const Cloud &x_, &y_;
  std::vector<double> least_, u_rise_, v_rise_, u_, v_, wide_;
  std::vector<float> narrow_, kept_;
};
