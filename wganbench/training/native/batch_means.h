// What the derivatives of a step need of the whole batch first.
#pragma once

#include "losses.h"
#include "products.h"
#include "vectors.h"

// Side 0 is the one that the loss wants higher. `scores` are means of its scores and the other side's,
// `slopes` those of the term's derivatives; `spread` is the deviation of all coordinates of reals.
struct BatchMeans {
  float scores[2] = {}, slopes[2] = {}, spread = 0;
};

inline I lane_numbers() {
  I lanes;
  for (int i = 0; i < LANES; i++) lanes[i] = i;
  return lanes;
}

// The sum of the scores of m points.
inline double total(const float *scores, int points, int m) {
  V all = {};
  const I lanes = lane_numbers();
  for (int c = 0; c < points; c += LANES) all += lanes + c < m ? load(scores + c) : splat(0.0f);
  return sum(all);
}

// How much higher scores of a side are than the other side's mean, or lower for side 1.
inline V above_other_mean(const BatchMeans &batch_means, int side, V score) {
  return side == 0 ? score - splat(batch_means.scores[1]) : splat(batch_means.scores[0]) - score;
}

// The means of n scores of each side, which stand in whole vectors.
inline BatchMeans batch_means_of(const Term &term, const float *const sides[2], int n) {
  BatchMeans batch_means;
  const I lanes = lane_numbers();
  const int points = rounded_up(n, LANES);
  for (int side = 0; side < 2; side++)
    batch_means.scores[side] = float(total(sides[side], points, n) / n);
  for (int side = 0; side < 2; side++) {
    V slopes = {};
    for (int c = 0; c < points; c += LANES) {
      V slope = derivative(term, above_other_mean(batch_means, side, load(sides[side] + c)));
      slopes += lanes + c < n ? slope : splat(0.0f);
    }
    batch_means.slopes[side] = float(sum(slopes) / n);
  }
  return batch_means;
}

// The derivative by a score of a side, times n: by the score itself, and by its share of the
// side's mean.
inline V score_derivative(const Term &term, const BatchMeans &batch_means, int side, V score) {
  V slope = derivative(term, above_other_mean(batch_means, side, score)) +
            splat(batch_means.slopes[1 - side]);
  return side == 0 ? slope : -slope;
}
