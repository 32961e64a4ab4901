// The activation of this library, and its derivatives as functions of the activation's value.
#pragma once

#include "numbers.h"

#define ACTIVATION_RELU 0
#define ACTIVATION_LEAKY_RELU 1
#define ACTIVATION_TANH 2
#define ACTIVATION_SOFTPLUS 3

#ifndef ACTIVATION
#error "say which activation: -DACTIVATION=0 to 3"
#endif

// Whether the second derivative is 0 and needs no separate pass.
constexpr bool PIECEWISE = ACTIVATION == ACTIVATION_RELU || ACTIVATION == ACTIVATION_LEAKY_RELU;

inline V activate(V x) {
#if ACTIVATION == ACTIVATION_RELU || ACTIVATION == ACTIVATION_LEAKY_RELU
  return x * (x > splat(0.0f) ? splat(1.0f) : splat(ACTIVATION == ACTIVATION_RELU ? 0.0f : 0.2f));
#elif ACTIVATION == ACTIVATION_TANH
  return hyperbolic_tangent(x);
#else
  return splat(0.5f) * softplus(x + x + splat(2.0f)) - splat(1.0f);
#endif
}

// The derivative at the point where the activation has the value `a`.
inline V slope_at(V a) {
#if ACTIVATION == ACTIVATION_RELU || ACTIVATION == ACTIVATION_LEAKY_RELU
  return a > splat(0.0f) ? splat(1.0f) : splat(ACTIVATION == ACTIVATION_RELU ? 0.0f : 0.2f);
#elif ACTIVATION == ACTIVATION_TANH
  return splat(1.0f) - a * a;
#else
  return splat(1.0f) - exponential(splat(-2.0f) * a - splat(2.0f));
#endif
}

// The second derivative divided by the first, at the same point.
inline V bend_at(V a) {
#if ACTIVATION == ACTIVATION_TANH
  return splat(-2.0f) * a;
#elif ACTIVATION == ACTIVATION_SOFTPLUS
  return splat(2.0f) * exponential(splat(-2.0f) * a - splat(2.0f));
#else
  return splat(0.0f) * a;
#endif
}
