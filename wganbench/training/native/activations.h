// The activation of this library, and its derivatives as functions of the activation's value.
#pragma once

#include "vectors.h"

#define RELU 0
#define LEAKY_RELU 1
#define TANH 2
#define SOFTPLUS 3

#ifndef ACTIVATION
#error "say which activation: -DACTIVATION=0 to 3"
#endif

// Whether the second derivative is 0 and needs no separate pass.
constexpr bool PIECEWISE = ACTIVATION == RELU || ACTIVATION == LEAKY_RELU;

inline V activate(V x) {
#if ACTIVATION == RELU || ACTIVATION == LEAKY_RELU
  return x * (x > splat(0.0f) ? splat(1.0f) : splat(ACTIVATION == RELU ? 0.0f : 0.2f));
#elif ACTIVATION == TANH
  return hyperbolic_tangent(x);
#else
  return splat(0.5f) * softplus(x + x + splat(2.0f)) - splat(1.0f);
#endif
}

// The derivative at the point where the activation has the value `a`.
inline V slope_at(V a) {
#if ACTIVATION == RELU || ACTIVATION == LEAKY_RELU
  return a > splat(0.0f) ? splat(1.0f) : splat(ACTIVATION == RELU ? 0.0f : 0.2f);
#elif ACTIVATION == TANH
  return splat(1.0f) - a * a;
#else
  return splat(1.0f) - exponential(splat(-2.0f) * a - splat(2.0f));
#endif
}

// The second derivative divided by the first, at the same point.
inline V bend_at(V a) {
#if ACTIVATION == TANH
  return splat(-2.0f) * a;
#elif ACTIVATION == SOFTPLUS
  return splat(2.0f) * exponential(splat(-2.0f) * a - splat(2.0f));
#else
  return splat(0.0f) * a;
#endif
}
