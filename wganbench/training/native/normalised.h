// Gradient normalisation: tiles for a critic whose score is D / (|grad D| + |D|), with D the network
// (arXiv:2109.02235, eq. 12).
//
// The score is a function of D and of its slope s at the point. Its derivatives are therefore those
// of D, and those of s as a penalty needs them: along the direction grad D / s.
#pragma once

#include "passes.h"

constexpr float LEAST_SUM = 1e-30f;  // no score is divided by less

// Scores and slopes of the network's output at some columns; then the score's derivatives by both,
// the one by the slope divided by the slope.
struct Normalised {
  float *score, *by_output, *by_slope;
};

inline Normalised normalised_in(Buffers &buffers, int columns) {
  return {buffers.found, buffers.found + columns, buffers.found + 2 * columns};
}

// Computes them from the outputs and the gradients of the output, `wide` numbers a row.
inline void normalise(const Normalised &to, const float *output, const float *gradients, size_t wide,
                      int inputs, int columns) {
  for (int c = 0; c < columns; c += LANES) {
    V square = {}, f = load(output + c);
    for (int k = 0; k < inputs; k++) {
      V g = load(gradients + k * wide + c);
      square += g * g;
    }
    const V s = root(square), none = splat(0.0f), one = splat(1.0f);
    const V sum = s + (f < none ? -f : f);
    const I clamped = sum < splat(LEAST_SUM);
    const V divisor = clamped ? splat(LEAST_SUM) : sum, score = f / divisor;
    store(to.score + c, score);
    store(to.by_output + c, clamped ? one / divisor : s / divisor / divisor);
    store(to.by_slope + c, (clamped | (s == none)) != 0 ? none : -score / divisor / s);
  }
}

// Returns the sums of the critic's loss on points first ... first + m - 1, and writes or adds its
// gradients. The columns of reals and fakes stand twice: for scores and for slopes.
inline Sums normalised_critic_tile(const Pass &pass, Buffers &buffers, int first, int m,
                                   float *gradient, bool adds) {
  const int points = rounded_up(m, LANES), scores = 2 * points, inputs = pass.critic.sizes[0];
  const size_t ld = size_t(points) * parts_of(2), last = ld - scores;
  const PackedNetwork &net = pass.packed_critic;
  float *x = buffers.x, *out = buffers.out;
  float **hidden = buffers.hidden.data(), **deltas = buffers.deltas.data();
  Sums sums;
  drawn_reals(pass, buffers, 0, first, m, points, x, ld);
  generated(pass, buffers, 1, first, m, points, x + points, ld);
  for (int k = 0; k < inputs; k++)
    std::memcpy(x + k * ld + scores, x + k * ld, scores * sizeof(float));
  forward(net, x, hidden, ld, 0, 2 * scores, Put{out, ld});
  for (size_t c = scores; c < ld; c++) out[c] = c >= last ? 1.0f : 0.0f;
  backward(net, out, hidden, deltas, ld, scores, int(last) - scores, scores);
  product(net.backward[0], deltas[0] + last, ld, scores, Put{buffers.slopes, size_t(scores)});
  const Normalised found = normalised_in(buffers, scores);
  normalise(found, out, buffers.slopes, size_t(scores), inputs, scores);
  critic_scored(pass, found.score, points, m, sums);
  for (int c = 0; c < scores; c += LANES) {
    const V by_score = load(found.score + c);
    store(out + c, by_score * load(found.by_output + c));
    for (int k = 0; k < inputs; k++)
      store(x + k * ld + last + c,
            load(buffers.slopes + k * scores + c) * by_score * load(found.by_slope + c));
  }
  backward(net, out, hidden, deltas, ld, 0, 0, scores);
  tangents(pass, buffers, scores, scores, ld);
  gradients(pass.critic, x, hidden, deltas, out, ld, int(ld), PIECEWISE ? scores : 2 * scores, gradient,
            adds, buffers.transposed);
  return sums;
}

// Returns the sums of the generator's loss on points first ... first + m - 1, with gradients. The
// columns are the fakes, again the fakes for the second derivative, and the reals of compared scores.
inline Sums normalised_generator_tile(const Pass &pass, Buffers &buffers, int first, int m,
                                      float *gradient, bool adds) {
  const Settings &s = pass.settings;
  const int points = rounded_up(m, LANES), inputs = pass.critic.sizes[0];
  const int at = PIECEWISE ? 0 : points;  // where the slopes of the fakes are computed
  const int reals = at + points, columns = s.against ? reals + points : reals;
  const int asked = columns - at;
  const size_t ld = size_t(columns);
  const PackedNetwork &net = pass.packed_critic;
  float *x = buffers.x, *out = buffers.out;
  float **hidden = buffers.hidden.data(), **deltas = buffers.deltas.data();
  Sums sums;
  generated(pass, buffers, 3, first, m, points, x + at, ld);
  if (s.against) drawn_reals(pass, buffers, 4, first, m, points, x + reals, ld);
  for (int k = 0; !PIECEWISE && k < inputs; k++)
    for (int c = 0; c < points; c += LANES) store(x + k * ld + c, load(x + k * ld + at + c));
  forward(net, x, hidden, ld, 0, columns, Put{out, ld});
  const Normalised found = normalised_in(buffers, asked);
  float *outputs = buffers.found + 3 * asked;
  for (int c = 0; c < columns; c++) {
    if (c >= at) outputs[c - at] = out[c];
    out[c] = 1.0f;
  }
  backward(net, out, hidden, deltas, ld, at, 0, asked);
  product(net.backward[0], deltas[0] + at, ld, asked, Put{buffers.slopes, size_t(asked)});
  normalise(found, outputs, buffers.slopes, size_t(asked), inputs, asked);
  if (s.against)
    compared(pass, s.generator, found.score, points, m, sums);
  else
    scored(s.generator, found.score, points, m, 1.0f / float(s.batch), sums.fake, sums.terms);
  float *fakes = buffers.fakes;
  if (!PIECEWISE) {
    for (int k = 0; k < inputs; k++)
      for (int c = 0; c < points; c += LANES)
        store(x + k * ld + at + c, load(buffers.slopes + k * asked + c) * load(found.score + c) *
                                       load(found.by_slope + c));
    tangents(pass, buffers, 0, points, ld);
    product(net.backward[0], deltas[0], ld, points, Put{fakes, size_t(points)});
  }
  for (int k = 0; k < inputs; k++)
    for (int c = 0; c < points; c += LANES) {
      V own = load(buffers.slopes + k * asked + c) * load(found.score + c) * load(found.by_output + c);
      store(fakes + k * points + c, PIECEWISE ? own : own + load(fakes + k * points + c));
    }
  made_gradients(pass, buffers, points, gradient, adds);
  return sums;
}

// Writes the scores of the points in the first columns of `x` to `out`, and their gradients to `to`.
// The columns are overwritten.
inline void normalised_scores(const Pass &pass, Buffers &buffers, int columns, float *out, float *to) {
  const int inputs = pass.critic.sizes[0], at = PIECEWISE ? 0 : columns;
  const size_t ld = size_t(at + columns), wide = size_t(columns);
  const PackedNetwork &net = pass.packed_critic;
  float *x = buffers.x, **hidden = buffers.hidden.data(), **deltas = buffers.deltas.data();
  // Rows of `wide` numbers become rows of `ld`, from the last one on.
  for (int k = inputs - 1; at && k >= 0; k--) {
    std::memmove(x + k * ld, x + k * wide, wide * sizeof(float));
    std::memmove(x + k * ld + at, x + k * ld, wide * sizeof(float));
  }
  forward(net, x, hidden, ld, 0, int(ld), Put{out, ld});
  const Normalised found = normalised_in(buffers, columns);
  float *outputs = buffers.found + 3 * columns;
  std::memcpy(outputs, out + at, wide * sizeof(float));
  for (size_t c = 0; c < ld; c++) out[c] = 1.0f;
  backward(net, out, hidden, deltas, ld, at, 0, columns);
  product(net.backward[0], deltas[0] + at, ld, columns, Put{buffers.slopes, wide});
  normalise(found, outputs, buffers.slopes, wide, inputs, columns);
  std::memcpy(out, found.score, wide * sizeof(float));
  if (!PIECEWISE) {
    for (int k = 0; k < inputs; k++)
      for (int c = 0; c < columns; c += LANES)
        store(x + k * ld + at + c, load(buffers.slopes + k * wide + c) * load(found.by_slope + c));
    tangents(pass, buffers, 0, columns, ld);
    product(net.backward[0], deltas[0], ld, columns, Put{to, wide});
  }
  for (int k = 0; k < inputs; k++)
    for (int c = 0; c < columns; c += LANES) {
      V own = load(buffers.slopes + k * wide + c) * load(found.by_output + c);
      store(to + k * wide + c, PIECEWISE ? own : own + load(to + k * wide + c));
    }
}
