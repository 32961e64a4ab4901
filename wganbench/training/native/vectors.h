// Vectors of floats as wide as the processor's registers, and functions of them.
//
// This is plain C++ with the vector types of GCC and Clang; the compiler chooses the instructions.
// Every number has its own lane, so results do not depend on how many are computed together.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

#if defined(__AVX512F__)
constexpr int LANES = 16;
#elif defined(__AVX__)
constexpr int LANES = 8;
#else
constexpr int LANES = 4;
#endif

typedef float V __attribute__((vector_size(LANES * 4), may_alias));
typedef int32_t I __attribute__((vector_size(LANES * 4), may_alias));
typedef uint32_t U __attribute__((vector_size(LANES * 4), may_alias));
typedef V Loose __attribute__((aligned(4)));

inline V load(const float *at) { return *reinterpret_cast<const V *>(at); }
inline void store(float *at, V value) { *reinterpret_cast<V *>(at) = value; }
inline V load_any(const float *at) { return *reinterpret_cast<const Loose *>(at); }
inline void store_any(float *at, V value) { *reinterpret_cast<Loose *>(at) = value; }

template <int... L> inline V splat_lanes(float x, std::integer_sequence<int, L...>) {
  return V{((void)L, x)...};
}
inline V splat(float x) { return splat_lanes(x, std::make_integer_sequence<int, LANES>()); }

inline V as_floats(I bits) { return reinterpret_cast<V &>(bits); }
inline I as_bits(V value) { return reinterpret_cast<I &>(value); }
inline V maximum(V a, V b) { return a > b ? a : b; }

// Square root of each lane.
inline V root(V x) {
  V r;
  for (int i = 0; i < LANES; i++) r[i] = __builtin_sqrtf(x[i]);
  return r;
}

// x^p of each lane.
inline V power(V x, float p) {
  V r;
  for (int i = 0; i < LANES; i++) r[i] = __builtin_powf(x[i], p);
  return r;
}

// The lanes whose bit H is 0 come from a, the others from b: the lower or the upper half of each
// pair of groups of H lanes.
template <int H, bool UPPER, int... L>
inline V halves(V a, V b, std::integer_sequence<int, L...>) {
#if defined(__clang__)
  return __builtin_shufflevector(a, b, ((L & H) ? LANES + (UPPER ? L : L ^ H)
                                                : (UPPER ? L | H : L))...);
#else
  return __builtin_shuffle(a, b, I{((L & H) ? LANES + (UPPER ? L : L ^ H)
                                            : (UPPER ? L | H : L))...});
#endif
}

template <int H> inline void merge(V *a) {
  typedef std::make_integer_sequence<int, LANES> Lanes;
  for (int i = 0; i < H; i++)
    a[i] = halves<H, false>(a[i], a[i + H], Lanes()) + halves<H, true>(a[i], a[i + H], Lanes());
  if constexpr (H > 1) merge<H / 2>(a);
}

// Returns a vector whose lane k is the sum of all lanes of a[k]; overwrites a.
inline V sums(V *a) {
  merge<LANES / 2>(a);
  return a[0];
}

inline float sum(V a) {
  float s = 0;
  for (int i = 0; i < LANES; i++) s += a[i];
  return s;
}

// One step of transposing LANES x LANES numbers: swaps the lanes whose bit H differs from that of
// the row.
template <int H> inline void swap_groups(V *a) {
  typedef std::make_integer_sequence<int, LANES> Lanes;
  for (int i = 0; i < LANES; i++)
    if (!(i & H)) {
      V low = halves<H, false>(a[i], a[i | H], Lanes());
      a[i | H] = halves<H, true>(a[i], a[i | H], Lanes());
      a[i] = low;
    }
  if constexpr (H > 1) swap_groups<H / 2>(a);
}

// exp(x), relative error 2e-7; 0 below -87.3, inf above 88.7, nan for nan.
inline V exponential(V x) {
  V clamped = x < splat(-87.33f) ? splat(-87.33f) : x > splat(88.72f) ? splat(88.72f) : x;
  const V magic = splat(12582912.0f);  // adding 1.5 2^23 rounds to a whole number
  V k = (clamped * splat(1.44269504f) + magic) - magic;
  V r = clamped - k * splat(0.693359375f);
  r = r + k * splat(2.12194440e-4f);
  V p = splat(1.9875691500e-4f);
  p = p * r + splat(1.3981999507e-3f);
  p = p * r + splat(8.3334519073e-3f);
  p = p * r + splat(4.1665795894e-2f);
  p = p * r + splat(1.6666665459e-1f);
  p = p * r + splat(5.0000001201e-1f);
  p = p * r * r + r + splat(1.0f);
  // Two factors are needed, because 2^128 is not a float.
  I whole = __builtin_convertvector(k == k ? k : splat(0.0f), I);
  I half = whole >> 1;
  V result = p * as_floats((half + 127) << 23) * as_floats((whole - half + 127) << 23);
  result = x > splat(88.7228f) ? splat(__builtin_inff()) : result;
  result = x < splat(-87.33f) ? splat(0.0f) : result;
  return x == x ? result : x;
}

// log(x) of normal numbers above 0.
inline V logarithm(V x) {
  I bits = as_bits(x);
  I exponent = ((bits >> 23) & 255) - 126;
  V m = as_floats((bits & 0x007fffff) | 0x3f000000);  // in [1/2, 1)
  I small = m < splat(0.707106781f);
  V e = __builtin_convertvector(exponent + small, V);
  m = (small ? m + m : m) - splat(1.0f);
  V z = m * m;
  V p = splat(7.0376836292e-2f);
  p = p * m + splat(-1.1514610310e-1f);
  p = p * m + splat(1.1676998740e-1f);
  p = p * m + splat(-1.2420140846e-1f);
  p = p * m + splat(1.4249322787e-1f);
  p = p * m + splat(-1.6668057665e-1f);
  p = p * m + splat(2.0000714765e-1f);
  p = p * m + splat(-2.4999993993e-1f);
  p = p * m + splat(3.3333331174e-1f);
  V y = p * m * z + e * splat(-2.12194440e-4f) - splat(0.5f) * z;
  return m + y + e * splat(0.693359375f);
}

// Cosine and sine of angles from 0 to 2 pi.
inline void cosine_and_sine(V angle, V &cosine, V &sine) {
  const V magic = splat(12582912.0f);
  V k = (angle * splat(0.636619772f) + magic) - magic;
  I quarter = __builtin_convertvector(k, I);
  V r = angle - k * splat(1.5703125f);
  r = r - k * splat(4.837512969970703125e-4f);
  r = r - k * splat(7.549789948768648e-8f);
  V z = r * r;
  V s = splat(-1.9515295891e-4f);
  s = s * z + splat(8.3321608736e-3f);
  s = s * z + splat(-1.6666654611e-1f);
  s = s * z * r + r;
  V c = splat(2.443315711809948e-5f);
  c = c * z + splat(-1.388731625493765e-3f);
  c = c * z + splat(4.166664568298827e-2f);
  c = c * z * z - splat(0.5f) * z + splat(1.0f);
  I odd = (quarter & 1) != 0;
  V of_cosine = odd ? s : c, of_sine = odd ? c : s;
  cosine = as_floats(as_bits(of_cosine) ^ ((((quarter + 1) >> 1) & 1) << 31));
  sine = as_floats(as_bits(of_sine) ^ (((quarter >> 1) & 1) << 31));
}

// log(1 + y) for y from 0 to 1; exact where y is small.
inline V log_one_plus(V y) {
  V u = splat(1.0f) + y;
  V lost = y - (u - splat(1.0f));
  return logarithm(u) + lost / u;
}

// log(1 + exp(x)); x itself above 20, as in torch.
inline V softplus(V x) {
  V positive = x > splat(0.0f) ? x : splat(0.0f);
  V size = x > splat(0.0f) ? -x : x;
  V result = positive + log_one_plus(exponential(size));
  result = x > splat(20.0f) ? x : result;
  return x == x ? result : x;
}

inline V sigmoid(V x) {
  V small = exponential(x > splat(0.0f) ? -x : x);
  V down = small / (splat(1.0f) + small);
  V result = x > splat(0.0f) ? splat(1.0f) - down : down;
  return x == x ? result : x;
}

inline V hyperbolic_tangent(V x) {
  V size = x < splat(0.0f) ? -x : x;
  V z = x * x;
  V p = splat(-5.70498872745e-3f);
  p = p * z + splat(2.06390887954e-2f);
  p = p * z + splat(-5.37397155531e-2f);
  p = p * z + splat(1.33314422036e-1f);
  p = p * z + splat(-3.33332819422e-1f);
  V near = p * z * x + x;
  V far = splat(1.0f) - splat(2.0f) / (exponential(size + size) + splat(1.0f));
  far = x < splat(0.0f) ? -far : far;
  V result = size < splat(0.625f) ? near : far;
  return x == x ? result : x;
}

// Sum of squares, with a partial sum in each of LANES lanes.
inline double squares(const float *g, int n) {
  V total = {};
  int i = 0;
  for (; i + LANES <= n; i += LANES) {
    V x = load_any(g + i);
    total += x * x;
  }
  double found = 0;
  for (int k = 0; k < LANES; k++) found += total[k];
  for (; i < n; i++) found += double(g[i]) * g[i];
  return found;
}
