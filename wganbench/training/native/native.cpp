// Algorithm 1 of all runs of a stack on a CPU. It gives the same numbers as training/step.py up
// to rounding, from the same random words.
//
// A run's batch is cut into tiles, whose sums are added in order. Threads divide the runs; with
// more threads than runs, they divide the tiles and parameters of a run. Results do not depend on
// the number of threads.
#include "plan.h"
#include "probe.h"

// One thread's part of the work on one run.
class Worker {
 public:
  Worker(Plan &plan, Team &team, int member, int run)
      : plan_(plan), spec_(plan.spec), team_(team), member_(member), run_(run),
        factor_(rate_factor(*spec_.step, spec_.steps, spec_.decay)) {}

  void advance(int64_t critic_step, int64_t n_critic, int64_t step, const float *const *given) {
    fill_critic();
    team_.generator.fill(plan_.generator, run_, member_, team_.size());
    team_.barrier->wait();
    for (int64_t i = 0; i < n_critic; i++) {
      const float *own[STREAMS] = {};
      if (given) own[0] = given[0], own[1] = given[1], own[2] = given[2], own[5] = given[3];
      critic(critic_step + i, double(*spec_.critic_step) + double(i), own);
      if (given) given += 4;
    }
    if (step < 0) return;
    const float *own[STREAMS] = {};
    if (given) own[3] = given[0], own[4] = given[1];
    generator(step, own);
  }

 private:
  Plan &plan_;
  const Spec &spec_;
  Team &team_;
  const int member_, run_;
  const float factor_;

  void fill_critic() {
    Spectral *spectral = team_.divisor();
    if (spectral) {
      spectral->find(plan_.critic, run_, member_, team_.size());
      team_.barrier->wait();
    }
    team_.critic.fill(plan_.critic, run_, member_, team_.size(),
                      spectral ? spectral->weights() : nullptr);
  }

  void critic(int64_t step, double taken, const float *const *given) {
    constexpr auto tile = WRAPPER == GRADIENT ? normalised_critic_tile : critic_tile;
    tiles(tile, pass(step, given, batch_means(true, step, given)), plan_.critic);
    team_.barrier->wait();
    const float *clip = spec_.clip_values ? spec_.clip_values + run_ : nullptr;
    update(plan_.critic, move_at(spec_.optimizer, taken, spec_.critic_rates[run_] * factor_, clip));
    team_.barrier->wait();
    if (member_ == 0) note_critic();
    fill_critic();
    team_.barrier->wait();
  }

  void generator(int64_t step, const float *const *given) {
    constexpr auto tile = WRAPPER == GRADIENT ? normalised_generator_tile : generator_tile;
    tiles(tile, pass(step, given, batch_means(false, step, given)), plan_.generator);
    team_.barrier->wait();
    float rate = spec_.generator_rates[run_] * factor_;
    update(plan_.generator, move_at(spec_.optimizer, double(*spec_.step), rate, nullptr));
    team_.barrier->wait();
    if (member_ == 0) note_generator();
    team_.barrier->wait();
  }

  Pass pass(int64_t step, const float *const *given, const BatchMeans &batch_means) const {
    return {plan_.critic, plan_.generator, spec_.settings, team_.critic, team_.generator, run_, step,
            given, batch_means, team_.scores.get(), size_t(plan_.tiles) * plan_.points,
            int(spec_.pack)};
  }

  // Returns what the step's derivatives need of the whole batch; most losses need nothing.
  BatchMeans batch_means(bool of_critic, int64_t step, const float *const *given) {
    const Settings &s = spec_.settings;
    const Pass first = pass(step, given, BatchMeans());
    BatchMeans found;
    if (s.against == MEAN) {
      auto scores = [&](const Pass &pass, Buffers &buffers, int from, int m, float *, bool) {
        return scores_tile(pass, buffers, of_critic, from, m);
      };
      tiles(scores, first, plan_.critic);
      team_.barrier->wait();
      const float *const sides[2] = {first.scores, first.scores + first.wide};
      found = batch_means_of(of_critic ? s.real : s.generator, sides, s.batch);
    }
    bool perturbs = false;
    for (int p = 0; p < s.penalties; p++) perturbs = perturbs || s.penalty[p].where == PERTURBED;
    if (of_critic && perturbs) found.spread = spread_of(first, *team_.buffers[member_]);
    return found;
  }

  template <class Tile>
  void tiles(Tile tile, const Pass &pass, const Network &net) {
    const int batch = spec_.settings.batch;
    const bool alone = team_.size() == 1;
    for (int t = member_; t < plan_.tiles; t += team_.size()) {
      int first = t * plan_.points, left = batch - first;
      float *gradient = team_.partial.get() + (alone ? 0 : net.gradient_size * t);
      team_.sums[t] = tile(pass, *team_.buffers[member_], first,
                           left < plan_.points ? left : plan_.points, gradient, alone && t > 0);
    }
  }

  float *gradient_of(const Piece &piece) const { return team_.partial.get() + piece.gradient; }

  // Adds the tiles' gradients, in order.
  void gather(const Network &net, const Piece &piece) const {
    float *g = gradient_of(piece);
    for (int t = 1; team_.size() > 1 && t < plan_.tiles; t++) {
      const float *other = g + net.gradient_size * t;
      for (int k = 0; k < piece.count; k++) g[k] += other[k];
    }
  }

  void update(const Network &net, const Move &move) {
    const int count = int(net.pieces.size());
    const bool averages = &net == &plan_.generator && spec_.average_decay > 0;
    Spectral *spectral = &net == &plan_.critic ? team_.divisor() : nullptr;
    for (int i = member_; i < count; i += team_.size()) {
      gather(net, net.pieces[i]);
      if (spectral) spectral->note(i, net.pieces[i], gradient_of(net.pieces[i]));
    }
    if (spectral) team_.barrier->wait();
    for (int i = member_; i < count; i += team_.size()) {
      const Piece &piece = net.pieces[i];
      float *g = gradient_of(piece);
      if (spectral) spectral->unwrap(net, piece, g);
      team_.squares[i] = squares(g, piece.count);
      size_t at = net.numbers[piece.tensor] * run_ + piece.start;
      auto of = [&](const std::vector<float *> &tensors) {
        return tensors[piece.tensor] ? tensors[piece.tensor] + at : nullptr;
      };
      moved(spec_.optimizer, move, piece.count, of(net.parameters), g, of(net.first),
            of(net.second));
      if (averages) averaged(piece.count, spec_.average_decay, of(net.parameters), of(net.average));
    }
  }

  Sums all_sums() const {
    Sums all;
    for (const Sums &s : team_.sums) {
      all.real += s.real;
      all.fake += s.fake;
      all.terms += s.terms;
      for (int p = 0; p < MOST_PENALTIES; p++) all.penalty[p] += s.penalty[p];
    }
    return all;
  }

  void note_critic() const {
    const double n = spec_.settings.batch;
    const Settings &settings = spec_.settings;
    const bool asks = settings.penalties > 0;
    Sums all = all_sums();
    float *row = spec_.critic_scalars + size_t(run_) * (5 + asks + plan_.critic.layers);
    float cost = 0.0f;
    for (int p = 0; p < settings.penalties; p++) {
      const Penalty &penalty = settings.penalty[p];
      cost += penalty.coefficient[run_] * penalty.scale * float(all.penalty[p] / n);
    }
    row[0] = float(all.terms / n) + cost;
    row[1] = float((all.real - all.fake) / n);
    row[2] = float(all.real / n);
    row[3] = float(all.fake / n);
    if (asks) row[4] = cost;
    note_norms(plan_.critic, row, 4 + asks);
  }

  void note_generator() const {
    float *row = spec_.generator_scalars + size_t(run_) * (2 + plan_.generator.layers);
    row[0] = float(all_sums().terms / double(spec_.settings.batch));
    note_norms(plan_.generator, row, 1);
  }

  // Writes the gradient's norms into the row from index `at` on; records a first non-finite step.
  void note_norms(const Network &net, float *row, int at) const {
    std::vector<double> layers(net.layers, 0.0);
    for (size_t i = 0; i < net.pieces.size(); i++)
      layers[net.pieces[i].layer] += team_.squares[i];
    double total = 0;
    for (int l = 0; l < net.layers; l++) {
      total += layers[l];
      row[at + 1 + l] = float(std::sqrt(layers[l]));
    }
    row[at] = float(std::sqrt(total));
    bool finite = true;
    for (int i = 0; i <= at + net.layers; i++) finite = finite && std::isfinite(row[i]);
    int64_t &first = spec_.diverged_at[run_];
    if (!finite && first < 0) first = int64_t(*spec_.step) + 1;
  }
};

static ThreadPool &thread_pool(int size) {
  static ThreadPool *kept = nullptr;
  // The old pool is not deleted: its threads may belong to another process.
  if (!kept || !kept->has(size)) kept = new ThreadPool(size);
  return *kept;
}

static std::mutex one_at_a_time;  // the pool works for one caller at a time

extern "C" {

// Returns a plan for the runs of a stack, or null when memory is short. The data behind the
// specification's pointers must outlive the plan.
void *wgan_open(const Spec *spec) {
  try {
    return new Plan(*spec);
  } catch (...) {
    return nullptr;
  }
}

void wgan_close(void *plan) { delete static_cast<Plan *>(plan); }

// Takes `n_critic` critic steps from `critic_step` on, then generator step `step` unless it is
// negative. `given`: four batches for each critic step, then the generator's latents and reals; null
// for those that are drawn here. Returns 0 on success.
int wgan_advance(void *opened, int64_t critic_step, int64_t n_critic, int64_t step,
                 const float *const *given) {
  Plan &plan = *static_cast<Plan *>(opened);
  std::lock_guard<std::mutex> lock(one_at_a_time);
  const int size = plan.teams[0]->size();
  std::atomic<size_t> next{0};
  auto work = [&](int thread) {
    Team &team = *plan.teams[thread / size];
    // Single threads take the next free run; the threads of a team must take the same run.
    size_t i = size > 1 ? size_t(thread / size) : next.fetch_add(1);
    for (; i < plan.places.size(); i = size > 1 ? i + plan.teams.size() : next.fetch_add(1)) {
      Worker worker(plan, team, thread % size, int(plan.places[i]));
      worker.advance(critic_step, n_critic, step, given);
    }
  };
  try {
    thread_pool(plan.threads()).run(plan.threads(), work);
  } catch (...) {
    return 1;
  }
  *plan.spec.critic_step += float(n_critic);
  if (step >= 0) *plan.spec.step += 1.0f;
  return 0;
}

// Measures n points of each run, given reals (R, n, d), latents (R, n, latents) and mixing weights
// (R, n). With packs, n is their number, and so many points and weights as they have are given.
// `averaged` uses the generator's average. Returns 0 on success.
int wgan_probe(void *opened, int averaged, int64_t n, const float *const *given,
               const Probed *to) {
  Plan &plan = *static_cast<Plan *>(opened);
  std::lock_guard<std::mutex> lock(one_at_a_time);
  Network generator = plan.generator;
  if (averaged) generator.parameters = generator.average;
  Settings settings = plan.spec.settings;
  settings.batch = int(n);
  for (Sampler &sampler : settings.samplers) sampler.kind = GIVEN;
  settings.samplers[2].dimension = 1;
  const int pack = int(plan.spec.pack);
  constexpr bool normalised = WRAPPER == GRADIENT;
  const int parts = normalised && !PIECEWISE ? 6 : 3;
  const int points = tile_points(plan.critic.hidden(), pack > parts ? pack : parts, int(n));
  const size_t tiles = size_t(n + points - 1) / points, jobs = tiles * plan.places.size();
  std::atomic<size_t> next{0};
  std::atomic<int> failed{0};
  constexpr bool divides = WRAPPER == SPECTRAL;
  std::vector<Spectral> spectral;
  auto work = [&](int thread) {
    Buffers buffers(plan.critic, generator, points, parts, 3, pack);
    PackedNetwork critic, maker;
    const size_t own = PackedNetwork::numbers(plan.critic);
    Memory packed = memory(own + PackedNetwork::numbers(generator));
    if (!buffers.all || !packed) {
      failed.store(1);
      return;
    }
    critic.place(plan.critic, packed.get());
    maker.place(generator, packed.get() + own);
    int filled = -1;
    for (size_t job = next.fetch_add(1); job < jobs; job = next.fetch_add(1)) {
      const int run = int(plan.places[job / tiles]), first = int(job % tiles) * points;
      if (filled != run) {
        if (divides) spectral[thread].find(plan.critic, run, 0, 1);
        critic.fill(plan.critic, run, 0, 1, divides ? spectral[thread].weights() : nullptr);
        maker.fill(generator, run, 0, 1);
        filled = run;
      }
      Pass pass{plan.critic, generator, settings, critic, maker, run, 0, given, {}, nullptr, 0,
                pack};
      const int left = int(n) - first;
      probe_tile(pass, buffers, normalised, first, left < points ? left : points, *to);
    }
  };
  try {
    for (int i = 0; divides && i < plan.threads(); i++) spectral.emplace_back(plan.critic, 1);
    thread_pool(plan.threads()).run(plan.threads(), work);
    if (settings.against == MEAN && !failed.load())
      for (int64_t run : plan.places)
        if (!derivatives_by_means(settings, int(run), plan.critic.sizes[0], *to)) failed.store(1);
  } catch (...) {
    return 1;
  }
  return failed.load();
}

#if WRAPPER == 1
// Returns the largest singular value of a weight (rows, depth), and writes its vectors, for tests.
double wgan_singular(const float *weight, int64_t rows, int64_t depth, float *left, float *right) {
  return Singular(int(rows), int(depth)).of(weight, int(rows), int(depth), left, right);
}
#endif

// Writes the values of one run at one step of a stream, (n, dimension), for tests.
int wgan_draw(const Sampler *sampler, int64_t run, int64_t step, int64_t n, float *out) {
  Memory transposed = memory(size_t(n + LANES) * sampler->dimension);
  Memory scratch = memory(numbers_to_draw(int(n), sampler->dimension));
  if (!transposed || !scratch) return 1;
  draw(*sampler, nullptr, int(run), step, int(n), 0, int(n), transposed.get(), size_t(n),
       scratch.get());
  for (int64_t c = 0; c < n; c++)
    for (int k = 0; k < sampler->dimension; k++)
      out[c * sampler->dimension + k] = transposed.get()[size_t(k) * n + c];
  return 0;
}
}
