// Iterations of Algorithm 1 for all runs of a stack on a GPU, in one launch. They give the same
// numbers as training/step.py up to rounding, from the same random words.
//
// A block of threads, or a cluster of BLOCKS blocks that divide the batch, trains one run. Weights
// and activations stay in shared memory. Results do not depend on which runs a launch trains.
#include "device.h"
#include "updates.h"

struct Arguments {
  Tensors critic, generator;
  Settings settings;
  Optimizer optimizer;
  const int64_t *places;  // places of the trained runs
  const float *critic_rates, *generator_rates, *clip_values;
  int64_t steps;
  int32_t decay, unused;
  double average_decay;
  float *step, *critic_step;
  int64_t *diverged_at;
  float *critic_scalars, *generator_scalars;
  float *fakes, *exchanged;  // working memory of each trained run
};

// The rule is known when the kernel is compiled.
inline Optimizer optimizer_of(const Arguments &a) {
  Optimizer optimizer = a.optimizer;
  optimizer.rule = RULE;
  return optimizer;
}

// A row of scalars in registers: the loss and more, then the gradient's norms.
template <int FIRST> struct Row {
  float values[FIRST + LAYERS + 2];

  void put_norms(const float *squares) {
    float all = 0;
    for (int l = 0; l <= LAYERS; l++) {
      all += squares[l];
      values[FIRST + 1 + l] = sqrtf(squares[l]);
    }
    values[FIRST] = sqrtf(all);
  }
  bool is_finite() const {
    bool finite = true;
    for (float value : values) finite = finite && value - value == 0.0f;
    return finite;
  }
  void write(float *rows, int run) const {
    constexpr int N = FIRST + LAYERS + 2;
    for (int i = 0; i < N; i++) rows[int64_t(run) * N + i] = values[i];
  }
};

// Notes whether a critic step was finite, and after the last one writes its row.
inline void note_critic(const Arguments &a, int run, const float *totals, bool last, bool &finite) {
  const float n = float(BATCH);
  Row<4 + (PENALTIES > 0)> row;
  float cost = 0;
  for (int p = 0; p < PENALTIES; p++) {
    const Penalty &penalty = a.settings.penalty[p];
    cost += penalty.coefficient[run] * penalty.scale * (totals[FIRST_PENALTY + p] / n);
  }
  row.values[0] = totals[TERMS] / n + cost;
  row.values[1] = (totals[REAL] - totals[FAKE]) / n;
  row.values[2] = totals[REAL] / n;
  row.values[3] = totals[FAKE] / n;
  if (PENALTIES) row.values[4 - (PENALTIES == 0)] = cost;
  row.put_norms(totals + SUMS);
  finite = finite && row.is_finite();
  if (last) row.write(a.critic_scalars, run);
}

inline void note_generator(const Arguments &a, int run, const float *totals, bool &finite) {
  Row<1> row;
  row.values[0] = totals[TERMS] / float(BATCH);
  row.put_norms(totals + SUMS);
  finite = finite && row.is_finite();
  row.write(a.generator_scalars, run);
}

// Makes the fakes of this block's points for some critic steps from `step` on.
inline void make_fakes(const Block &b, const Tensors &generator, int64_t step, int steps, float *to) {
  load<Generator>(b, generator);
  const int columns = PARTS * TILE;
  for (int first = 0; first < steps * OWN; first += columns) {
    for (int c = b.thread; c < columns; c += THREADS) {
      const int i = (first + c) % OWN, of = (first + c) / OWN;
      for (int k = 0; k < LATENT; k++) b.x[k * LD + c] = 0.0f;
      if (of < steps && b.is_live(i))
        draw_point<LATENT>(b.settings.samplers[1], b.run, step + of, BATCH, b.point(i), b.x + c, LD);
    }
    __syncthreads();
    forward<Generator, PARTS>(b, 0);
    outputs<Generator>(b, 0, columns);
    for (int c = b.thread; c < columns; c += THREADS) {
      const int i = (first + c) % OWN, of = (first + c) / OWN;
      if (of < steps && b.is_live(i))
        for (int k = 0; k < POINT; k++)
          to[(int64_t(of) * BATCH + b.point(i)) * POINT + k] = b.out[k * LD + c];
    }
    __syncthreads();
  }
}

struct Iteration {
  const Arguments &a;
  const Block &b;
  float *exchanged, *totals;
  Move *moves;  // of AT_ONCE critic steps, then of the generator's step
  float factor;
  bool finite;

  // Computes the settings of `steps` critic updates and of the generator's, each by one thread.
  void prepare_moves(double taken, int steps) const {
    const int i = THREADS - 1 - b.thread;
    if (i < steps) {
      const float *clip = a.clip_values ? a.clip_values + b.run : nullptr;
      moves[i] = move_at(optimizer_of(a), taken + i, a.critic_rates[b.run] * factor, clip);
    } else if (i == AT_ONCE) {
      const float rate = a.generator_rates[b.run] * factor;
      moves[i] = move_at(optimizer_of(a), double(*a.step), rate, nullptr);
    }
  }

  void critic(int64_t step, const Move &move, const float *made, bool last) {
    Gradients gradients = {};
    float sums[SUMS] = {};
    for (int first = 0; first < OWN; first += TILE) critic_tile(b, first, step, made, gradients, sums);
    const Update with{a.critic, optimizer_of(a), move, 0.0, exchanged};
    update<Critic>(b, with, gradients, sums, totals);
    if (b.rank == 0 && b.thread == 0) note_critic(a, b.run, totals, last, finite);
    load<Critic>(b, a.critic);
  }

  void generator(int64_t step) {
    constexpr int MADE = PARTS - 1, SCORED = PAIRS ? 2 : 1;
    Gradients gradients = {};
    float sums[SUMS] = {};
    const Masks unused = {};
    for (int first = 0; first < OWN; first += TILE) {
      load<Generator>(b, a.generator);
      place_latents(b, first, step, MADE);
      forward<Generator, 1>(b, MADE);
      outputs<Generator>(b, MADE * TILE, TILE);
      load<Critic>(b, a.critic);
      place_fakes(b, first, step, MADE);
      forward<Critic, SCORED>(b, 0);
      outputs<Critic>(b, 0, SCORED * TILE);
      score_generator(b, first, sums);
      fake_slopes(b, MADE);
      load<Generator>(b, a.generator);
      backward<Generator, 1, false>(b, MADE, unused, gradients);
    }
    const Update with{a.generator, optimizer_of(a), moves[AT_ONCE], a.average_decay, exchanged};
    update<Generator>(b, with, gradients, sums, totals);
    if (b.rank == 0 && b.thread == 0) note_generator(a, b.run, totals, finite);
  }
};

// Takes `n_critic` critic steps from `critic_step` on, then generator step `step` unless it is
// negative. Blocks BLOCKS i to BLOCKS i + BLOCKS - 1 train the run at places[i].
KERNEL void OF_RUNS iterate(const Arguments a, int64_t critic_step, int64_t n_critic, int64_t step) {
  SHARED_ROOM(room);
  const int slot = blockIdx.x / BLOCKS;
  const Block b(a.settings, threadIdx.x, blockIdx.x % BLOCKS, int(a.places[slot]), room);
  const Kept kept(b.hidden);
  float *exchanged = a.exchanged + int64_t(slot) * BLOCKS * EXCHANGED;
  float *fakes = a.fakes + int64_t(slot) * AT_ONCE * BATCH * POINT;
  Move *moves = reinterpret_cast<Move *>(b.hidden + HIDDEN_ROOM);
  const float factor = rate_factor(*a.step, a.steps, a.decay);
  Iteration iteration{a, b, exchanged, kept.sums, moves, factor, true};
  const double taken = double(*a.critic_step);
  for (int64_t done = 0; done < n_critic || done == 0; done += AT_ONCE) {
    const int steps = int(n_critic - done < AT_ONCE ? n_critic - done : AT_ONCE);
    iteration.prepare_moves(taken + double(done), steps);
    if (steps == 0) break;
    make_fakes(b, a.generator, critic_step + done, steps, fakes);
    load<Critic>(b, a.critic);
    for (int i = 0; i < steps; i++)
      iteration.critic(critic_step + done + i, moves[i], fakes + int64_t(i) * BATCH * POINT,
                       done + i + 1 == n_critic);
  }
  if (step >= 0) iteration.generator(step);
  const bool first = b.rank == 0 && b.thread == 0 && a.diverged_at[b.run] < 0;
  if (first && !iteration.finite) a.diverged_at[b.run] = int64_t(*a.step) + 1;
}

// Counts the steps that all runs have taken.
KERNEL void count(const Arguments a, int64_t n_critic, int64_t n_generator) {
  *a.critic_step += float(n_critic);
  *a.step += float(n_generator);
}
