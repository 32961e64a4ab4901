// The parts of the losses: a mean over scores for each side, and a mean over slopes.
#pragma once

#include "vectors.h"

// The mean of weight * f(sign * score), where f is the softplus or the identity.
struct Term {
  float weight, sign;
  int32_t softplus, unused;
};

// The derivative of a term by one score, times n.
inline V derivative(const Term &term, V score) {
  V slope = splat(term.weight * term.sign);
  return term.softplus ? slope * sigmoid(splat(term.sign) * score) : slope;
}

inline V value(const Term &term, V score) {
  V signed_score = splat(term.sign) * score;
  return splat(term.weight) * (term.softplus ? softplus(signed_score) : signed_score);
}

enum Where : int32_t { NOWHERE = 0, INTERPOLATES = 1, REALS = 2 };

// The penalty: coefficient[run] * scale * mean of (slope - target)^2, or of
// max(0, slope - target)^2.
struct Penalty {
  int32_t where, one_sided;
  float target, scale;
  const float *coefficient;
};

// From squared slopes: the terms of the mean, and the factor that turns an input gradient into
// the derivative of its term by that gradient.
inline V slope_term(const Penalty &penalty, V square, V &factor) {
  if (penalty.target == 0.0f) {
    factor = splat(2.0f);
    return square;
  }
  V slope = root(square);
  V excess = slope - splat(penalty.target);
  if (penalty.one_sided) excess = excess < splat(0.0f) ? splat(0.0f) : excess;
  factor = slope == splat(0.0f) ? splat(0.0f) : splat(2.0f) * excess / slope;
  return excess * excess;
}
