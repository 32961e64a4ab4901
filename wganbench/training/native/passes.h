// One tile of a batch through both networks: scores, losses, and gradients of the parameters.
//
// A tile has a fixed number of points; a point is what the critic scores, perhaps a pack of points
// joined. Its columns are the reals, the fakes and, for each penalty, the points where the critic's
// slope is penalised. An activation with a second derivative adds one more part for each penalty.
// Columns beyond the points of the last tile are not used.
#pragma once

#include "batch_means.h"
#include "buffers.h"

// Sums over the points of a tile.
struct Sums {
  double real = 0, fake = 0, terms = 0, penalty[MOST_PENALTIES] = {};
};

// The data that all passes of one run at one step share.
struct Pass {
  const Network &critic, &generator;
  const Settings &settings;
  const PackedNetwork &packed_critic, &packed_generator;
  int run;
  int64_t step;
  const float *const *given;  // batches of this step by stream, if the caller passes them
  BatchMeans batch_means;
  float *scores;  // of the whole batch, `wide` numbers a side
  size_t wide;
  int pack;  // points of a pack, 1 without packs; the settings' batch is the number of packs
};

// Sums the scores and loss terms of m points, and replaces the scores by the loss's derivatives.
inline void scored(const Term &term, float *scores, int points, int m, float share, double &mean,
                   double &terms) {
  V total = {}, values = {};
  const I lanes = lane_numbers();
  for (int c = 0; c < points; c += LANES) {
    I live = lanes + c < m;
    V score = load(scores + c);
    total += live ? score : splat(0.0f);
    values += live ? value(term, score) : splat(0.0f);
    store(scores + c, live ? derivative(term, score) * splat(share) : splat(0.0f));
  }
  mean += sum(total);
  terms += sum(values);
}

// The same for a term of the differences of two sides' scores.
inline void paired(const Term &term, float *higher, float *lower, int points, int m, float share,
                   Sums &sums) {
  V values = {};
  const I lanes = lane_numbers();
  for (int c = 0; c < points; c += LANES) {
    I live = lanes + c < m;
    V difference = load(higher + c) - load(lower + c);
    values += live ? value(term, difference) : splat(0.0f);
    V slope = live ? derivative(term, difference) * splat(share) : splat(0.0f);
    store(higher + c, slope);
    store(lower + c, -slope);
  }
  sums.terms += sum(values);
}

// The same for a side whose scores are compared with the other side's mean.
inline void centred(const Term &term, const BatchMeans &batch_means, int side, float *scores,
                    int points, int m, float share, Sums &sums) {
  V values = {};
  const I lanes = lane_numbers();
  for (int c = 0; c < points; c += LANES) {
    I live = lanes + c < m;
    V score = load(scores + c);
    values += live ? value(term, above_other_mean(batch_means, side, score)) : splat(0.0f);
    const V slope = score_derivative(term, batch_means, side, score) * splat(share);
    store(scores + c, live ? slope : splat(0.0f));
  }
  sums.terms += sum(values);
}

// Draws reals of a stream to `to`; columns beyond the m points are 0.
inline void drawn_reals(const Pass &pass, Buffers &buffers, int stream, int first, int m, int points,
                        float *to, size_t ld) {
  const Settings &s = pass.settings;
  for (int k = 0; m < points && k < pass.critic.sizes[0]; k++)
    for (int c = m; c < points; c++) to[k * ld + c] = 0.0f;
  draw(s.samplers[stream], pass.given[stream], pass.run, pass.step, s.batch, first, m, to, ld,
       buffers.drawn, pass.pack);
}

// Copies numbers of packs, whose points stand one below the other in rows of `ld` numbers, to single
// points in rows of `wide`, or the other way.
inline void parted(const Pass &pass, float *packs, size_t ld, float *single, size_t wide, int points,
                   bool joins) {
  const int size = pass.pack, d = pass.critic.sizes[0] / size;
  for (int q = 0; q < size; q++)
    for (int k = 0; k < d; k++)
      for (int c = 0; c < points; c++) {
        float &one = single[k * wide + size_t(c) * size + q], &joined = packs[(q * d + k) * ld + c];
        if (joins)
          joined = one;
        else
          one = joined;
      }
}

// Writes G(z) of the points' latents to `to`.
inline void generated(const Pass &pass, Buffers &buffers, int stream, int first, int m, int points,
                      float *to, size_t ld) {
  const Settings &s = pass.settings;
  if (pass.generator.layers == 0) return drawn_reals(pass, buffers, stream, first, m, points, to, ld);
  const Sampler &sampler = s.samplers[stream];
  const int size = pass.pack, own = m * size, single = points * size;
  const size_t wide = size_t(single);
  float *z = buffers.z;
  for (int k = 0; own < single && k < sampler.dimension; k++)
    for (int c = own; c < single; c++) z[k * wide + c] = 0.0f;
  draw(sampler, pass.given[stream], pass.run, pass.step, s.batch * size, first * size, own, z, wide,
       buffers.drawn);
  const Put put = size > 1 ? Put{buffers.apart, wide} : Put{to, ld};
  forward(pass.packed_generator, z, buffers.made.data(), wide, 0, single, put);
  if (size > 1) parted(pass, to, ld, buffers.apart, wide, points, true);
}

// Writes the points where a penalty takes slopes: between reals and fakes, at reals, at fakes or at
// reals that are perturbed.
inline void asked_points(const Pass &pass, Buffers &buffers, Where where, int part, int first, int m,
                         int points, size_t ld) {
  const Settings &s = pass.settings;
  bool mixes = where == INTERPOLATES, at_fakes = where == FAKES;
  if (mixes) {
    for (int c = 0; c < points; c++) buffers.eps[c] = 0.0f;
    draw(s.samplers[2], pass.given[2], pass.run, pass.step, s.batch * pass.pack, first, m, buffers.eps,
         points, buffers.drawn);
  }
  if (where == PERTURBED) {
    // The slopes are not computed yet: their place holds the noise.
    drawn_reals(pass, buffers, 5, first, m, points, buffers.slopes, size_t(points));
    for (int k = 0; k < pass.critic.sizes[0]; k++)
      for (int c = 0; c < points; c += LANES) {
        V noise = splat(pass.batch_means.spread / 2.0f) * load(buffers.slopes + k * points + c);
        store(buffers.x + k * ld + size_t(part) * points + c, load(buffers.x + k * ld + c) + noise);
      }
    return;
  }
  for (int k = 0; k < pass.critic.sizes[0]; k++) {
    float *row = buffers.x + k * ld;
    for (int c = 0; c < points; c += LANES) {
      V real = load(row + c), fake = load(row + points + c), e = load(buffers.eps + c);
      V mixed = e * real + (splat(1.0f) - e) * fake;
      store(row + size_t(part) * points + c, mixes ? mixed : at_fakes ? fake : real);
    }
  }
}

// Sums the terms of a penalty, and writes its derivatives by the input gradients to `to`.
// `slopes` holds these gradients in rows of `wide` numbers.
inline void penalised(const Pass &pass, const Penalty &penalty, const float *slopes, size_t wide,
                      int m, int points, float *to, size_t ld, double &total) {
  float share = penalty.coefficient[pass.run] * penalty.scale / float(pass.settings.batch);
  const int inputs = pass.critic.sizes[0];
  const I lanes = lane_numbers();
  V terms = {};
  for (int c = 0; c < points; c += LANES) {
    V square = {}, factor;
    for (int k = 0; k < inputs; k++) {
      V g = load(slopes + k * wide + c);
      square += g * g;
    }
    I live = lanes + c < m;
    V term = slope_term(penalty, pass.run, square, factor);
    terms += live ? term : splat(0.0f);
    factor = live ? factor * splat(share) : splat(0.0f);
    for (int k = 0; k < inputs; k++)
      store(to + k * ld + c, load(slopes + k * wide + c) * factor);
  }
  total += sum(terms);
}

// A tangent from a layer's sum; with a second derivative also the delta that it adds.
struct Tangent {
  static constexpr bool FEW_ROWS = false;
  float *to, *delta;
  const float *value;
  size_t ld;
  int columns;
  void operator()(int j, int c, V sum) const {
    V a = load(value + j * ld + c);
    store(to + j * ld + c, sum * slope_at(a));
    if (!PIECEWISE)
      store(delta + j * ld + c, bend_at(a) * sum * load(delta + columns + j * ld + c));
  }
};

// Computes the tangents of the hidden layers along the directions in `x`, one for each of the
// `asked` columns from `first` on. They overwrite the activations when these are piecewise linear.
// Otherwise they stand beside the activations, and the deltas of the second derivative stand before
// the tangents.
inline void tangents(const Pass &pass, Buffers &buffers, int first, int asked, size_t ld) {
  const PackedNetwork &net = pass.packed_critic;
  const int at = PIECEWISE ? first : first + asked;
  const float *in = buffers.x;
  size_t hidden = buffers.hidden.size();
  for (size_t l = 0; l < hidden; l++) {
    Packed weight = net.forward[l];
    weight.bias = nullptr;
    float *value = buffers.hidden[l] + first;
    product(weight, in + at, ld, asked,
            Tangent{buffers.hidden[l] + at, buffers.deltas[l] + first, value, ld, asked});
    in = buffers.hidden[l];
  }
  if (PIECEWISE) return;
  for (size_t l = hidden; l-- > 1;)
    product(net.backward[l], buffers.deltas[l] + first, ld, asked,
            Through<true>{buffers.deltas[l - 1] + first, buffers.hidden[l - 1] + first, ld});
}

// Writes the derivatives of a compared loss by the scores of both sides over them; the side that it
// wants higher comes first.
inline void compared(const Pass &pass, const Term &term, float *out, int points, int m, Sums &sums) {
  const float share = 1.0f / float(pass.settings.batch);
  if (pass.settings.against == PARTNER)
    return paired(term, out, out + points, points, m, share, sums);
  for (int side = 0; side < 2; side++)
    centred(term, pass.batch_means, side, out + side * points, points, m, share, sums);
}

// Writes the derivatives of the critic's loss by its scores over the scores in `out`.
inline void critic_scored(const Pass &pass, float *out, int points, int m, Sums &sums) {
  const Settings &s = pass.settings;
  const float share = 1.0f / float(s.batch);
  if (s.against != NOTHING) {
    sums.real += total(out, points, m);
    sums.fake += total(out + points, points, m);
    return compared(pass, s.real, out, points, m, sums);
  }
  scored(s.real, out, points, m, share, sums.real, sums.terms);
  scored(s.fake, out + points, points, m, share, sums.fake, sums.terms);
}

// Returns the sums of the critic's loss on points first ... first + m - 1, and writes or adds its
// gradients.
inline Sums critic_tile(const Pass &pass, Buffers &buffers, int first, int m, float *gradient,
                        bool adds) {
  const Settings &s = pass.settings;
  const int points = rounded_up(m, LANES), scores = 2 * points, asked = s.penalties * points;
  const size_t ld = size_t(points) * parts_of(s.penalties);
  Sums sums;
  drawn_reals(pass, buffers, 0, first, m, points, buffers.x, ld);
  generated(pass, buffers, 1, first, m, points, buffers.x + points, ld);
  for (int p = 0; p < s.penalties; p++)
    asked_points(pass, buffers, Where(s.penalty[p].where), 2 + p, first, m, points, ld);
  float *out = buffers.out;
  forward(pass.packed_critic, buffers.x, buffers.hidden.data(), ld, 0, scores + asked, Put{out, ld});
  critic_scored(pass, out, points, m, sums);
  for (size_t c = scores; c < ld; c++)
    out[c] = PIECEWISE || c >= size_t(scores + asked) ? 1.0f : 0.0f;
  if (asked && !PIECEWISE) {
    backward(pass.packed_critic, out, buffers.hidden.data(), buffers.deltas.data(), ld, 0, 0, scores);
    backward(pass.packed_critic, out, buffers.hidden.data(), buffers.deltas.data(), ld, scores, asked,
             asked);
  } else {
    backward(pass.packed_critic, out, buffers.hidden.data(), buffers.deltas.data(), ld, 0, 0, int(ld));
  }
  if (asked) {
    size_t last = ld - asked;
    product(pass.packed_critic.backward[0], buffers.deltas[0] + last, ld, asked,
            Put{buffers.slopes, size_t(asked)});
    for (int p = 0; p < s.penalties; p++)
      penalised(pass, s.penalty[p], buffers.slopes + p * points, size_t(asked), m, points,
                buffers.x + last + p * points, ld, sums.penalty[p]);
    tangents(pass, buffers, scores, asked, ld);
  }
  // A penalty depends on the biases only if the activation has a second derivative.
  int of_biases = PIECEWISE ? scores : scores + asked;
  gradients(pass.critic, buffers.x, buffers.hidden.data(), buffers.deltas.data(), out, ld, int(ld),
            of_biases, gradient, adds, buffers.transposed);
  return sums;
}

// Computes the generator's gradients from those of the loss by the fakes, which stand in `fakes`.
inline void made_gradients(const Pass &pass, Buffers &buffers, int points, float *gradient, bool adds) {
  float *fakes = buffers.fakes;
  const int single = points * pass.pack;
  const size_t ld = size_t(single);
  if (pass.pack > 1) {
    parted(pass, fakes, size_t(points), buffers.apart, ld, points, false);
    fakes = buffers.apart;
  }
  float **made = buffers.made.data(), **deltas = buffers.made_deltas.data();
  backward(pass.packed_generator, fakes, made, deltas, ld, 0, 0, single);
  gradients(pass.generator, buffers.z, made, deltas, fakes, ld, single,
            single, gradient, adds, buffers.transposed);
}

// Returns the sums of the generator's loss on points first ... first + m - 1, with gradients.
// If scores are compared, the columns of the reals follow those of the fakes.
inline Sums generator_tile(const Pass &pass, Buffers &buffers, int first, int m, float *gradient,
                           bool adds) {
  const Settings &s = pass.settings;
  const int points = rounded_up(m, LANES), columns = s.against ? 2 * points : points;
  const size_t ld = size_t(columns);
  const float share = 1.0f / float(s.batch);
  Sums sums;
  generated(pass, buffers, 3, first, m, points, buffers.x, ld);
  if (s.against) drawn_reals(pass, buffers, 4, first, m, points, buffers.x + points, ld);
  float *out = buffers.out;
  forward(pass.packed_critic, buffers.x, buffers.hidden.data(), ld, 0, columns, Put{out, ld});
  if (s.against)
    compared(pass, s.generator, out, points, m, sums);
  else
    scored(s.generator, out, points, m, share, sums.fake, sums.terms);
  backward(pass.packed_critic, out, buffers.hidden.data(), buffers.deltas.data(), ld, 0, 0, points);
  product(pass.packed_critic.backward[0], buffers.deltas[0], ld, points,
          Put{buffers.fakes, size_t(points)});
  made_gradients(pass, buffers, points, gradient, adds);
  return sums;
}

// Writes the scores of points first ... first + m - 1 to the pass's, those that the loss of the
// critic or of the generator wants higher first.
inline Sums scores_tile(const Pass &pass, Buffers &buffers, bool of_critic, int first, int m) {
  const int points = rounded_up(m, LANES);
  const size_t ld = 2 * size_t(points);
  float *reals = buffers.x + (of_critic ? 0 : points);
  float *fakes = buffers.x + (of_critic ? points : 0);
  drawn_reals(pass, buffers, of_critic ? 0 : 4, first, m, points, reals, ld);
  generated(pass, buffers, of_critic ? 1 : 3, first, m, points, fakes, ld);
  forward(pass.packed_critic, buffers.x, buffers.hidden.data(), ld, 0, int(ld), Put{buffers.out, ld});
  for (int side = 0; side < 2; side++)
    for (int c = 0; c < points; c++)
      pass.scores[side * pass.wide + first + c] = buffers.out[side * points + c];
  return Sums();
}

// Returns the standard deviation of all coordinates of the batch's reals.
inline float spread_of(const Pass &pass, Buffers &buffers) {
  const int batch = pass.settings.batch, inputs = pass.critic.sizes[0];
  double sum = 0, squares = 0;
  for (int first = 0; first < batch; first += buffers.points) {
    const int m = batch - first < buffers.points ? batch - first : buffers.points;
    const int points = rounded_up(m, LANES);
    drawn_reals(pass, buffers, 0, first, m, points, buffers.x, size_t(points));
    for (int k = 0; k < inputs; k++)
      for (int c = 0; c < m; c++) {
        const double value = buffers.x[k * points + c];
        sum += value;
        squares += value * value;
      }
  }
  const double n = double(batch) * inputs, variance = squares / n - (sum / n) * (sum / n);
  return variance > 0 ? float(__builtin_sqrt(variance)) : 0.0f;
}
