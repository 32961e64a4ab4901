// Exact W1 of two clouds of n points each, Euclidean: the cheapest one-to-one assignment.
//
// It goes from coarse to fine: a level starts with the potentials and the matching of the level
// before. Within a level, arcs of negative reduced cost are found (pricing.hpp) and brought into
// the basis (simplex.hpp) until there are none, at the last level in double precision. Before an
// answer is given, every arc is priced once more in double precision. u_i = min_j |x_i - y_j| - v_j
// is always feasible, so sum(u) + sum(v) is a lower bound of every assignment's cost.
//
// Memory grows like n d, plus n^2 / 128 bytes. One thread, no clock, no state outside a handle.
#include <memory>

#include "coarse.hpp"
#include "pricing.hpp"
#include "simplex.hpp"

namespace {

constexpr int NEAR = 64, PASSES = 3;        // sources tried for an exchange; passes over all
constexpr int64_t PIVOTS_PER_POINT = 1000;  // hard clouds need 100
constexpr int64_t ROUNDS = 1000;            // hard clouds need 100
constexpr int SECOND_ROUNDS = 50;           // a few are needed; more only repeat rounding errors
constexpr double RELATIVE = 1e-12;          // smallest saving of an arc, relative to the mean cost
constexpr double ROUNDING = 1e-14, SINGLE = 4e-6;  // of potentials, times the clouds' extent

enum class State { start, look, list, certify, done, given_up };

class Assignment {
 public:
  Assignment(int n, int d, const double* x, const double* y)
      : n_(n), d_(d), sizes_(level_sizes(n)), x_order_(Order(x, n, d, sizes_).order),
        y_order_(Order(y, n, d, sizes_).order), levels_(sizes_.size()) {
    std::vector<double> xs = ordered(x, x_order_), ys = ordered(y, y_order_);
    extent_ = extent_of(xs, ys);
    for (int l = int(sizes_.size()) - 1; l >= 0; l--) {
      const int m = sizes_[l];
      levels_[l] = {Cloud(m, d, xs), Cloud(m, d, ys)};
      if (l) xs = means(xs, d, m, sizes_[l - 1]), ys = means(ys, d, m, sizes_[l - 1]);
    }
  }

  // Works on for about `budget` arcs and nodes; returns whether the method has ended.
  bool advance(int64_t budget) {
    while (budget > 0 && state_ < State::done) budget -= step();
    return state_ >= State::done;
  }

  bool answer(int* partner, double* u, double* v, double* primal, double* dual) const {
    if (state_ != State::done) return false;
    for (int i = 0; i < n_; i++) {
      partner[x_order_[i]] = y_order_[partner_[i]];
      u[x_order_[i]] = u_[i];
      v[y_order_[i]] = v_[i];
    }
    *primal = primal_ / n_, *dual = dual_ / n_;
    return true;
  }

 private:
  struct Level {
    Cloud x, y;
  };

  int64_t step() {
    switch (state_) {
      case State::start: return start();
      case State::look: return look();
      case State::list: return work_off();
      default: return certify();
    }
  }

  double cost(int i, int j) const {
    return distance(levels_[level_].x.at(i), levels_[level_].y.at(j), d_);
  }

  // Builds the basis of a level from the matching and potentials of the level before.
  int64_t start() {
    const int m = sizes_[level_];
    std::vector<double> v(m, 0.0);
    std::vector<int> partner(m);
    if (level_ == 0) std::iota(partner.begin(), partner.end(), 0);
    else refine(v, partner);
    exchange(partner);
    const auto arc = [this](int i, int j) { return cost(i, j); };
    double sum = 0.0;
    for (int i = 0; i < m; i++) sum += cost(i, partner[i]);
    tolerance_ = std::max(RELATIVE * sum / m, ROUNDING * extent_);
    simplex_ = std::make_unique<Simplex>(m, partner.data(), v.data(), arc);
    pricing_ = std::make_unique<Pricing>(levels_[level_].x, levels_[level_].y);
    begin_round(false);
    return int64_t(m) * (NEAR * PASSES + (level_ ? sizes_[level_ - 1] : 0));
  }

  // Sets v_j = min_a |X_a - y_j| - u_a, and matches children of X_a to its partner's, in order.
  void refine(std::vector<double>& v, std::vector<int>& partner) {
    const int m = sizes_[level_], before = sizes_[level_ - 1];
    const std::vector<float> u = in_blocks<float>(u_.data(), before);
    for (int j = 0; j < m; j++)
      v[j] = least_price(levels_[level_].y.at(j), levels_[level_ - 1].x, u.data());
    std::vector<char> taken(m, 0);
    std::fill(partner.begin(), partner.end(), -1);
    for (int a = 0; a < before; a++) {
      int i = first_child(a, before, m), j = first_child(partner_[a], before, m);
      const int i_end = first_child(a + 1, before, m);
      const int j_end = first_child(partner_[a] + 1, before, m);
      for (; i < i_end && j < j_end; i++, j++) partner[i] = j, taken[j] = 1;
    }
    int free = 0;
    for (int i = 0; i < m; i++) {
      if (partner[i] >= 0) continue;
      while (taken[free]) free++;
      partner[i] = free, taken[free] = 1;
    }
  }

  // Exchanges the partners of two sources near each other in the order, where that is cheaper.
  void exchange(std::vector<int>& partner) const {
    const int m = int(partner.size());
    for (int pass = 0; pass < PASSES; pass++)
      for (int i = 0; i < m; i++) {
        double mine = cost(i, partner[i]);
        for (int k = i + 1; k < std::min(m, i + NEAR); k++) {
          const double together = mine + cost(k, partner[k]);
          const double other = cost(i, partner[k]);
          if (other + cost(k, partner[i]) >= together - ROUNDING * extent_) continue;
          std::swap(partner[i], partner[k]);
          mine = other;
        }
      }
  }

  void begin_round(bool second) {
    second_ = second, row_ = 0, round_pivots_ = 0;
    list_.clear();
    simplex_->refresh();
    pricing_->note(simplex_->u(), simplex_->v());
    state_ = ++rounds_ > ROUNDS || pivots_ > PIVOTS_PER_POINT * n_ ? State::given_up : State::look;
  }

  int64_t look() {
    if (row_ < pricing_->rows) {
      const int row = row_++;
      return ROWS + (second_ ? pricing_->second_look(row, tolerance_, SINGLE * extent_, list_)
                             : pricing_->first_look(row, tolerance_, list_)) * (d_ + 3) / 5;
    }
    at_ = dry_ = 0;
    state_ = State::list;
    return 1;
  }

  // Brings arcs of the list into the basis, the best of a small block each time, until no arc of
  // negative reduced cost is left.
  int64_t work_off() {
    const size_t size = list_.size();
    const size_t block = std::max<size_t>(16, size_t(std::sqrt(double(size)) / 2));
    int64_t spent = 1;
    while (dry_ < size) {
      double best = -tolerance_;
      const Arc* arc = nullptr;
      for (size_t k = 0; k < block && dry_ < size; k++, dry_++, spent++) {
        const Arc& candidate = list_[at_];
        at_ = at_ + 1 < size ? at_ + 1 : 0;
        const double reduced = simplex_->reduced(candidate.i, candidate.j, candidate.cost);
        if (reduced < best) best = reduced, arc = &candidate;
      }
      if (!arc) continue;
      spent += 4 * simplex_->pivot(arc->i, arc->j, arc->cost);
      pivots_++, round_pivots_++, dry_ = 0;
      if (spent > SLICE) return spent;
    }
    end_round();
    return spent;
  }

  void end_round() {
    const bool last = level_ + 1 == int(sizes_.size());
    if (round_pivots_ > 0 && second_) {
      if (++second_rounds_ > SECOND_ROUNDS) end_level();
      else begin_round(round_pivots_ <= n_ / 50 + 1);
    } else if (round_pivots_ > 0 || (last && !second_)) {
      begin_round(round_pivots_ == 0);
    } else {
      end_level();
    }
  }

  void end_level() {
    const int m = sizes_[level_];
    partner_.resize(m);
    simplex_->matching(partner_.data());
    u_.assign(simplex_->u(), simplex_->u() + m);
    v_.assign(simplex_->v(), simplex_->v() + m);
    if (level_ + 1 < int(sizes_.size())) {
      level_++;
      state_ = State::start;
      return;
    }
    row_ = 0;
    wide_ = in_blocks<double>(v_.data(), n_);
    for (double v : v_) dual_ += v;
    state_ = State::certify;
  }

  // Prices all arcs of one source.
  int64_t certify() {
    const int i = row_++;
    u_[i] = least_price(levels_[level_].x.at(i), levels_[level_].y, wide_.data());
    dual_ += u_[i];
    primal_ += cost(i, partner_[i]);
    if (row_ == n_) state_ = State::done;
    return int64_t(n_) * (d_ + 3) / 3;
  }

  std::vector<double> ordered(const double* points, const std::vector<int>& order) const {
    std::vector<double> out(size_t(n_) * d_);
    for (int i = 0; i < n_; i++)
      std::copy_n(points + size_t(order[i]) * d_, d_, &out[size_t(i) * d_]);
    return out;
  }

  // The diagonal of the smallest box around both clouds.
  double extent_of(const std::vector<double>& x, const std::vector<double>& y) const {
    double sum = 0.0;
    for (int k = 0; k < d_; k++) {
      double low = INFINITY, high = -INFINITY;
      for (size_t q = k; q < x.size(); q += d_) {
        low = std::min(low, std::min(x[q], y[q]));
        high = std::max(high, std::max(x[q], y[q]));
      }
      sum += (high - low) * (high - low);
    }
    return std::sqrt(sum);
  }

  static constexpr int64_t SLICE = 1 << 20;

  int n_, d_, level_ = 0, row_ = 0;
  std::vector<int> sizes_, x_order_, y_order_, partner_;
  std::vector<Level> levels_;
  std::vector<double> u_, v_, wide_;
  std::unique_ptr<Simplex> simplex_;
  std::unique_ptr<Pricing> pricing_;
  std::vector<Arc> list_;
  size_t at_ = 0, dry_ = 0;
  bool second_ = false;
  State state_ = State::start;
  int64_t pivots_ = 0, round_pivots_ = 0, rounds_ = 0;
  int second_rounds_ = 0;
  double tolerance_ = 0.0, extent_ = 0.0, primal_ = 0.0, dual_ = 0.0;
};

}  // namespace

extern "C" {

// Returns a handle, or null when memory is short. x and y hold n points each of dimension d, row
// by row.
void* assignment_new(int n, int d, const double* x, const double* y) {
  try {
    return new Assignment(n, d, x, y);
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}

// Works on for a while; returns 1 when it has ended, 0 when work is left, -1 without memory.
int assignment_advance(void* handle, int64_t budget) {
  try {
    return static_cast<Assignment*>(handle)->advance(budget) ? 1 : 0;
  } catch (const std::bad_alloc&) {
    return -1;
  }
}

// Writes the answer and returns 1; returns 0 when the method gave up.
int assignment_answer(void* handle, int* partner, double* u, double* v, double* primal,
                      double* dual) {
  return static_cast<Assignment*>(handle)->answer(partner, u, v, primal, dual) ? 1 : 0;
}

void assignment_delete(void* handle) { delete static_cast<Assignment*>(handle); }
}
