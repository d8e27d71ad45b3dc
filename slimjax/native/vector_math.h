// exp and what is made of it, for 16 numbers at a time.
#pragma once

#include <cmath>

#include "panels.h"

namespace slimjax {

constexpr float kHidden = -1e30f;  // A score that counts for nothing.

// e^x to 2 units in the last place; 0 below -87, where float32 ends. After Cephes'
// expf.
inline vec exp_of(vec x) {
  const vec magic = spread(12582912.0f);
  vec n = (x * 1.44269504f + magic) - magic;
  vec r = x - n * 0.693359375f + n * 2.12194440e-4f;
  vec y = r * 1.9875691500e-4f + 1.3981999507e-3f;
  y = y * r + 8.3334519073e-3f;
  y = y * r + 4.1665795894e-2f;
  y = y * r + 1.6666665459e-1f;
  y = y * r + 5.0000001201e-1f;
  y = y * r * r + r + 1.0f;
  ivec power = (__builtin_convertvector(n, ivec) + 127) << 23;
  vec out = y * (vec)power;
  return (vec)((ivec)out & (ivec)(x > -87.0f));
}

typedef float half_vec __attribute__((vector_size(32), aligned(4)));
typedef float quarter_vec __attribute__((vector_size(16), aligned(4)));

inline float max_of(vec x) {
  half_vec a = *(half_vec*)&x, b = *((half_vec*)&x + 1);
  a = a > b ? a : b;
  quarter_vec c = *(quarter_vec*)&a, d = *((quarter_vec*)&a + 1);
  c = c > d ? c : d;
  return std::max(std::max(c[0], c[1]), std::max(c[2], c[3]));
}

inline float sum_of(vec x) {
  half_vec a = *(half_vec*)&x + *((half_vec*)&x + 1);
  quarter_vec c = *(quarter_vec*)&a + *((quarter_vec*)&a + 1);
  return (c[0] + c[1]) + (c[2] + c[3]);
}

inline vec sigmoid_of(vec x) {
  vec negative = (vec)((ivec)x | (ivec)spread(-0.0f));  // -|x|
  vec e = exp_of(negative), small = e / (1.0f + e);
  ivec above = x > 0.0f;
  return (vec)(((ivec)(1.0f - small) & above) | ((ivec)small & ~above));
}

// Turns scores into weights, exp(score - top), and updates the row's top and total.
// Returns the factor by which what was summed before, if anything, has to be scaled.
inline float soften(float* x, int64_t count, float& top, float& total) {
  vec best = spread(top);
  for (int64_t c = 0; c < count; c += kLanes) {
    vec y = *(vec*)(x + c);
    best = y > best ? y : best;
  }
  float old = top;
  top = max_of(best);
  // A row that has seen nothing yet keeps weights of zero, not exp(0).
  float base = top > 0.5f * kHidden ? top : 0.0f;
  float fade = old > 0.5f * kHidden ? std::exp(old - base) : 1.0f;
  vec sum = {};
  for (int64_t c = 0; c < count; c += kLanes) {
    vec y = exp_of(*(vec*)(x + c) - base);
    *(vec*)(x + c) = y;
    sum += y;
  }
  total = total * fade + sum_of(sum);
  return fade;
}

}  // namespace slimjax
