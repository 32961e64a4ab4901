// Coarse copies of a cloud: four neighbouring points are replaced by their mean.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <vector>

// Returns the number of points of each level, the coarsest first; the last level is the cloud.
inline std::vector<int> level_sizes(int n) {
  std::vector<int> sizes(1, n);
  while (sizes.back() >= 256) sizes.push_back(sizes.back() / 4);
  std::reverse(sizes.begin(), sizes.end());
  return sizes;
}

// Returns the first child of a point: levels have `coarse` points, and `fine` points below.
inline int first_child(int point, int coarse, int fine) {
  return int(int64_t(point) * fine / coarse);
}

// An order of the cloud in which the children of each coarse point are consecutive; it comes from
// halving along the widest side.
class Order {
 public:
  Order(const double* points, int n, int d, const std::vector<int>& sizes)
      : order(n), points_(points), d_(d), sizes_(sizes) {
    std::iota(order.begin(), order.end(), 0);
    halve(0, 0, sizes_[0]);
  }

  std::vector<int> order;

 private:
  int start(int level, int point) const {
    for (size_t l = level; l + 1 < sizes_.size(); l++)
      point = first_child(point, sizes_[l], sizes_[l + 1]);
    return point;
  }

  void halve(int level, int begin, int end) {
    if (end - begin == 1) {
      if (level + 1 == int(sizes_.size())) return;
      const int coarse = sizes_[level], fine = sizes_[level + 1];
      halve(level + 1, first_child(begin, coarse, fine), first_child(end, coarse, fine));
      return;
    }
    const int middle = (begin + end) / 2;
    const auto first = order.begin() + start(level, begin), last = order.begin() + start(level, end);
    const int axis = widest(&*first, int(last - first));
    std::nth_element(first, order.begin() + start(level, middle), last, [&](int a, int b) {
      return points_[size_t(a) * d_ + axis] < points_[size_t(b) * d_ + axis];
    });
    halve(level, begin, middle);
    halve(level, middle, end);
  }

  int widest(const int* some, int count) const {
    int axis = 0;
    double width = -1.0;
    for (int k = 0; k < d_; k++) {
      double low = INFINITY, high = -INFINITY;
      for (int q = 0; q < count; q++) {
        const double value = points_[size_t(some[q]) * d_ + k];
        low = std::min(low, value), high = std::max(high, value);
      }
      if (high - low > width) width = high - low, axis = k;
    }
    return axis;
  }

  const double* points_;
  int d_;
  const std::vector<int>& sizes_;
};

inline std::vector<double> means(const std::vector<double>& points, int d, int fine, int coarse) {
  std::vector<double> out(size_t(coarse) * d, 0.0);
  for (int p = 0; p < coarse; p++) {
    const int begin = first_child(p, coarse, fine), end = first_child(p + 1, coarse, fine);
    for (int q = begin; q < end; q++)
      for (int k = 0; k < d; k++)
        out[size_t(p) * d + k] += points[size_t(q) * d + k] / (end - begin);
  }
  return out;
}
