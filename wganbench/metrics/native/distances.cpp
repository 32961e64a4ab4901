// Sums and minima over all pairs of two clouds, by differences and in float64.
//
// One cloud is transposed, (d, m), so that the inner loops run over its points and use the
// processor's vectors. The order of every sum is fixed: results do not depend on threads.

#include <cmath>
#include <vector>

namespace {

constexpr int LANES = 8;

// Write the distances of the point x (d) to all m points of y (d, m) into row.
void distances(int m, int d, const double *x, const double *y, double *row) {
    for (int j = 0; j < m; ++j) {
        const double way = x[0] - y[j];
        row[j] = way * way;
    }
    for (int k = 1; k < d; ++k) {
        const double *axis = y + static_cast<long>(k) * m;
        for (int j = 0; j < m; ++j) {
            const double way = x[k] - axis[j];
            row[j] += way * way;
        }
    }
    for (int j = 0; j < m; ++j) row[j] = std::sqrt(row[j]);
}

double sum(int m, const double *row) {
    double lanes[LANES] = {};
    int j = 0;
    for (; j + LANES <= m; j += LANES)
        for (int lane = 0; lane < LANES; ++lane) lanes[lane] += row[j + lane];
    double total = 0;
    for (; j < m; ++j) total += row[j];
    for (double part : lanes) total += part;
    return total;
}

}  // namespace

// Return sum_ij ||x_i - y_j|| of x (n, d) and y (d, m).
extern "C" double sum_of_distances(int n, int m, int d, const double *x, const double *y) {
    std::vector<double> row(m);
    double total = 0;
    for (int i = 0; i < n; ++i) {
        distances(m, d, x + static_cast<long>(i) * d, y, row.data());
        total += sum(m, row.data());
    }
    return total;
}

// Lower least[j] to min_i ||x_i - y_j|| - phi_i, for x (n, d), phi (n) and y (d, m).
extern "C" void lower_to_transform(int n, int m, int d, const double *x, const double *phi,
                                   const double *y, double *least) {
    std::vector<double> row(m);
    for (int i = 0; i < n; ++i) {
        distances(m, d, x + static_cast<long>(i) * d, y, row.data());
        for (int j = 0; j < m; ++j) {
            const double value = row[j] - phi[i];
            least[j] = value < least[j] ? value : least[j];
        }
    }
}
