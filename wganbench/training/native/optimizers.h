// The update rules of torch.optim on a piece of a parameter, without weight decay. CPUs and GPUs
// share them.
#pragma once

#include "numbers.h"

enum Rule : int32_t { ADAM = 0, RMSPROP = 1, SGD = 2 };
enum Decay : int32_t { NO_DECAY = 0, LINEAR = 1, COSINE = 2 };

// Returns the factor on the rates at a generator step.
inline float rate_factor(float step, int64_t steps, int decay) {
  const float progress = step / float(steps);
  if (decay == LINEAR) return 1.0f - progress;
  if (decay == COSINE) return (1.0f + cosf(3.14159274f * progress)) / 2.0f;
  return 1.0f;
}

struct Optimizer {
  int32_t rule, unused;
  double betas[2];
};

// The settings of one step.
struct Move {
  float rate, shrink, clip;  // shrink: factor of Adam's second moment; a clip of NaN gives NaN
  bool clips;
};

// Returns the settings of a step; `taken` is the number of earlier steps.
inline Move move_at(const Optimizer &optimizer, double taken, float rate, const float *clip) {
  Move move{rate, 1.0f, clip ? *clip : 0.0f, clip != nullptr};
  if (optimizer.rule == ADAM) {
    double t = taken + 1;
    move.rate = float(rate / (1 - pow(optimizer.betas[0], t)));
    move.shrink = float(1 / sqrt(1 - pow(optimizer.betas[1], t)));
  }
  return move;
}

inline void moved(const Optimizer &optimizer, const Move &move, int n, float *__restrict p,
                  const float *__restrict g, float *__restrict a, float *__restrict b) {
  const float beta = float(optimizer.betas[0]), decay = float(optimizer.betas[1]);
  const float own = float(1 - optimizer.betas[0]), rest = float(1 - optimizer.betas[1]);
  const float rate = move.rate, shrink = move.shrink;
  if (optimizer.rule == ADAM) {
    for (int i = 0; i < n; i++) {
      a[i] = own < 0.5f ? a[i] + own * (g[i] - a[i]) : g[i] - (g[i] - a[i]) * beta;
      b[i] = decay * b[i] + rest * g[i] * g[i];
      p[i] -= rate * a[i] / (sqrtf(b[i]) * shrink + 1e-8f);
    }
  } else if (optimizer.rule == RMSPROP) {
    for (int i = 0; i < n; i++) a[i] = decay * a[i] + rest * g[i] * g[i];
    if (beta > 0)
      for (int i = 0; i < n; i++) {
        b[i] = beta * b[i] + g[i] / (sqrtf(a[i]) + 1e-8f);
        p[i] -= rate * b[i];
      }
    else
      for (int i = 0; i < n; i++) p[i] -= rate * g[i] / (sqrtf(a[i]) + 1e-8f);
  } else if (beta != 0) {
    for (int i = 0; i < n; i++) {
      a[i] = beta * a[i] + g[i];
      p[i] -= rate * a[i];
    }
  } else {
    for (int i = 0; i < n; i++) p[i] -= rate * g[i];
  }
  if (!move.clips) return;
  const float high = move.clip, low = -high;
  if (high != high)
    for (int i = 0; i < n; i++) p[i] = high;
  else
    for (int i = 0; i < n; i++) p[i] = p[i] < low ? low : p[i] > high ? high : p[i];
}

inline void averaged(int n, double decay, const float *__restrict p, float *__restrict average) {
  const float weight = float(1 - decay), kept = float(decay);
  if (weight < 0.5f)
    for (int i = 0; i < n; i++) average[i] += weight * (p[i] - average[i]);
  else
    for (int i = 0; i < n; i++) average[i] = p[i] - (p[i] - average[i]) * kept;
}
