// The networks' values that the metrics need, point by point.
#pragma once

#include "normalised.h"

// Output arrays of all runs: (R, n) each, and (R, n, d) for fakes and their gradients.
struct Probed {
  float *fakes, *score_real, *score_fake, *slopes_hat, *slopes_real, *slopes_fake;
  float *fake_gradients, *feedback;
};

inline float *of_point(float *at, const Pass &pass, int point, int numbers) {
  return at + (size_t(pass.run) * pass.settings.batch + point) * numbers;
}

// With means, the derivatives follow when all points of a run are measured: until then `feedback` is
// 1, and `fake_gradients` are those of the scores. Returns false when memory is short.
inline bool derivatives_by_means(const Settings &s, int run, int inputs, const Probed &to) {
  const int n = s.batch, wide = rounded_up(n, LANES);
  const Memory scores = memory(2 * size_t(wide));
  if (!scores) return false;
  const float *const sides[2] = {scores.get(), scores.get() + wide};
  std::memcpy(scores.get(), to.score_fake + size_t(run) * n, n * sizeof(float));
  std::memcpy(scores.get() + wide, to.score_real + size_t(run) * n, n * sizeof(float));
  const BatchMeans batch_means = batch_means_of(s.generator, sides, n);
  for (int c = 0; c < n; c += LANES) {
    V slope = score_derivative(s.generator, batch_means, 0, load(sides[0] + c));
    for (int i = 0; i < LANES && c + i < n; i++) {
      const size_t at = size_t(run) * n + c + i;
      to.feedback[at] = __builtin_fabsf(slope[i]);
      for (int k = 0; k < inputs; k++) to.fake_gradients[at * inputs + k] *= slope[i];
    }
  }
  return true;
}

// Writes the scores of the points in the first columns of `x` to `out`, and their gradients to `to`.
inline void bare_scores(const Pass &pass, Buffers &buffers, int columns, float *out, float *to) {
  const size_t ld = size_t(columns);
  const PackedNetwork &net = pass.packed_critic;
  float **hidden = buffers.hidden.data(), **deltas = buffers.deltas.data();
  forward(net, buffers.x, hidden, ld, 0, columns, Put{out, ld});
  for (int c = 0; c < columns; c++) buffers.found[c] = 1.0f;
  backward(net, buffers.found, hidden, deltas, ld, 0, 0, columns);
  product(net.backward[0], deltas[0], ld, columns, Put{to, ld});
}

// Measures points first ... first + m - 1 of a pass. The settings of the pass have the number of
// points as `batch`, and batches that the caller passes.
inline void probe_tile(const Pass &pass, Buffers &buffers, bool normalised, int first, int m,
                       const Probed &to) {
  const int points = rounded_up(m, LANES), inputs = pass.critic.sizes[0];
  const size_t ld = size_t(points) * 3;
  const Settings &s = pass.settings;
  drawn_reals(pass, buffers, 0, first, m, points, buffers.x, ld);
  generated(pass, buffers, 1, first, m, points, buffers.x + points, ld);
  asked_points(pass, buffers, INTERPOLATES, 2, first, m, points, ld);
  float *out = buffers.out, *slopes = buffers.transposed;
  for (int c = 0; c < m; c++)
    for (int k = 0; k < inputs; k++)
      of_point(to.fakes, pass, first + c, inputs)[k] = buffers.x[k * ld + points + c];
  if (normalised)
    normalised_scores(pass, buffers, int(ld), out, slopes);
  else
    bare_scores(pass, buffers, int(ld), out, slopes);
  for (int c = 0; c < m; c++) {
    *of_point(to.score_real, pass, first + c, 1) = out[c];
    *of_point(to.score_fake, pass, first + c, 1) = out[points + c];
  }
  float *moves = buffers.eps;  // derivative of the generator's loss by a fake's score, times n
  for (int c = 0; c < points; c += LANES) {
    V score = load(out + points + c);
    V higher = s.against == PARTNER ? score - load(out + c) : score;
    store(moves + c, s.against == MEAN ? splat(1.0f) : derivative(s.generator, higher));
  }
  float *norms[] = {to.slopes_real, to.slopes_fake, to.slopes_hat};
  for (int part = 0; part < 3; part++)
    for (int c = 0; c < m; c++) {
      float square = 0;
      for (int k = 0; k < inputs; k++) {
        float g = slopes[k * ld + part * points + c];
        square += g * g;
      }
      *of_point(norms[part], pass, first + c, 1) = __builtin_sqrtf(square);
    }
  for (int c = 0; c < m; c++) {
    *of_point(to.feedback, pass, first + c, 1) = __builtin_fabsf(moves[c]);
    for (int k = 0; k < inputs; k++)
      of_point(to.fake_gradients, pass, first + c, inputs)[k] =
          moves[c] / float(s.batch) * slopes[k * ld + points + c];
  }
}
