// What the derivatives of a step need of the whole batch first.
#pragma once

#include "losses.h"
#include "vectors.h"

// Side 0 is the one that the loss wants higher. `means` are of its scores and the other side's,
// `slopes` those of the term's derivatives; `spread` is the deviation of all coordinates of reals.
struct Whole {
  float means[2] = {}, slopes[2] = {}, spread = 0;
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
inline V lead(const Whole &whole, int side, V score) {
  return side == 0 ? score - splat(whole.means[1]) : splat(whole.means[0]) - score;
}

// The means of n scores of each side, which stand in whole vectors.
inline Whole whole_of(const Term &term, const float *const sides[2], int n) {
  Whole whole;
  const I lanes = lane_numbers();
  const int points = rounded_up(n, LANES);
  for (int side = 0; side < 2; side++)
    whole.means[side] = float(total(sides[side], points, n) / n);
  for (int side = 0; side < 2; side++) {
    V slopes = {};
    for (int c = 0; c < points; c += LANES) {
      V slope = derivative(term, lead(whole, side, load(sides[side] + c)));
      slopes += lanes + c < n ? slope : splat(0.0f);
    }
    whole.slopes[side] = float(sum(slopes) / n);
  }
  return whole;
}

// The derivative by a score of a side, times n: its own lead, and its share of the side's mean.
inline V pull(const Term &term, const Whole &whole, int side, V score) {
  V slope = derivative(term, lead(whole, side, score)) + splat(whole.slopes[1 - side]);
  return side == 0 ? slope : -slope;
}
