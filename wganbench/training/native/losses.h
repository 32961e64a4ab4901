// The parts of the losses: a mean over scores for each side or over their pairs, and means over
// slopes.
#pragma once

#include "numbers.h"

enum Form : int32_t { IDENTITY = 0, SOFTPLUS = 1, HINGE = 2, SQUARE = 3 };

// The mean of weight * f(sign * score + shift) + slope * score. The hinge is max(0, .). Identity
// and softplus have no shift.
struct Term {
  float weight, sign;
  int32_t form;
  float shift, slope;
};

// The derivative of a term by one score, times n.
inline V derivative(const Term &term, V score) {
  V slope = splat(term.weight * term.sign), of = splat(term.sign) * score;
  if (term.form == IDENTITY) return slope;
  if (term.form == SOFTPLUS) {
    slope = slope * sigmoid(of);
    return term.slope == 0.0f ? slope : slope + splat(term.slope);
  }
  of = of + splat(term.shift);
  if (term.form == HINGE) return of > splat(0.0f) ? slope : splat(0.0f) * of;
  return splat(2.0f) * slope * of;
}

inline V value(const Term &term, V score) {
  V of = splat(term.sign) * score;
  if (term.form == IDENTITY) return splat(term.weight) * of;
  if (term.form == SOFTPLUS) {
    V found = splat(term.weight) * softplus(of);
    return term.slope == 0.0f ? found : found + splat(term.slope) * score;
  }
  of = of + splat(term.shift);
  if (term.form == HINGE) return splat(term.weight) * maximum(splat(0.0f), of);
  return splat(term.weight) * of * of;
}

enum Where : int32_t { INTERPOLATES = 1, REALS = 2, FAKES = 3, PERTURBED = 4 };
enum Cost : int32_t { SQUARED = 0, FROM_ONE = 1, ABOVE_ONE = 2, POWER = 3 };

// The penalty: coefficient[run] * scale * mean of slope^2, (slope - 1)^2, max(0, slope - 1)^2 or
// slope^power[run].
struct Penalty {
  int32_t where, cost;
  float scale, unused;
  const float *coefficient, *power;
};

constexpr int MOST_PENALTIES = 2;

// From squared slopes: the terms of the mean, and the factor that turns an input gradient into
// the derivative of its term by that gradient.
inline V slope_term(const Penalty &penalty, int run, V square, V &factor) {
  if (penalty.cost == SQUARED) {
    factor = splat(2.0f);
    return square;
  }
  V slope = root(square);
  if (penalty.cost == POWER) {
    float p = penalty.power[run];
    factor = slope == splat(0.0f) ? splat(0.0f) : splat(p) * power(slope, p - 2.0f);
    return power(slope, p);
  }
  V excess = slope - splat(1.0f);
  if (penalty.cost == ABOVE_ONE) excess = excess < splat(0.0f) ? splat(0.0f) : excess;
  factor = slope == splat(0.0f) ? splat(0.0f) : splat(2.0f) * excess / slope;
  return excess * excess;
}
