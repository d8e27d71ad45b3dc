// Root-mean-square normalisation of rows, forward and backward, one pass each.
#include <algorithm>
#include <cmath>
#include <vector>

#include "parallel.h"

namespace slimjax {
namespace {

constexpr int64_t kShares = 64;  // Pieces of the rows, for any number of threads.
constexpr int kLanes = 32;       // Sums side by side, so that they become vectors.

using Floats = ffi::Buffer<ffi::F32>;

// Returns the sum of term(i) for i in [0, count).
template <typename Term>
float sum_of(int64_t count, const Term& term) {
  float lanes[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes)
    for (int lane = 0; lane < kLanes; ++lane) lanes[lane] += term(i + lane);
  float sum = 0;
  for (; i < count; ++i) sum += term(i);
  for (float lane : lanes) sum += lane;
  return sum;
}

// Runs work(share, row) for all rows, those of one share in order and on one thread.
template <typename Work>
void run_rows(ffi::ThreadPool& pool, int64_t rows, const Work& work) {
  const int64_t length = (rows + kShares - 1) / kShares;
  run_tasks(pool, kShares, [&](int64_t share) {
    const int64_t end = std::min(rows, (share + 1) * length);
    for (int64_t row = share * length; row < end; ++row) work(share, row);
  });
}

// out = x * inverse * scale, with inverse = (sum(x^2) / count + epsilon)^-1/2.
ffi::Error norm_forward(ffi::ThreadPool pool, Floats x, Floats scale, Floats count,
                        ffi::Result<Floats> out, ffi::Result<Floats> inverse,
                        float epsilon) {
  const int64_t rows = x.dimensions()[0], width = x.dimensions()[1];
  const float* s = scale.typed_data();
  const float num_open = *count.typed_data();
  run_rows(pool, rows, [&](int64_t, int64_t row) {
    const float* in = x.typed_data() + row * width;
    float* to = out->typed_data() + row * width;
    const float sum = sum_of(width, [&](int64_t i) { return in[i] * in[i]; });
    const float r = 1 / std::sqrt(sum / num_open + epsilon);
    for (int64_t i = 0; i < width; ++i) to[i] = in[i] * r * s[i];
    inverse->typed_data()[row] = r;
  });
  return ffi::Error::Success();
}

// With g = slope * scale: dx = inverse * (g - x * inverse^2 * sum(g x) / count), and
// dscale = sum over rows of slope * x * inverse.
ffi::Error norm_backward(ffi::ThreadPool pool, Floats x, Floats scale, Floats count,
                         Floats inverse, Floats slope, ffi::Result<Floats> dx,
                         ffi::Result<Floats> dscale) {
  const int64_t rows = x.dimensions()[0], width = x.dimensions()[1];
  const float* s = scale.typed_data();
  const float num_open = *count.typed_data();
  std::vector<float> shares(kShares * width);
  run_rows(pool, rows, [&](int64_t share, int64_t row) {
    const float* in = x.typed_data() + row * width;
    const float* g = slope.typed_data() + row * width;
    float* to = dx->typed_data() + row * width;
    float* sums = shares.data() + share * width;
    const float r = inverse.typed_data()[row];
    const float along = sum_of(width, [&](int64_t i) { return g[i] * s[i] * in[i]; });
    const float pull = r * r * along / num_open;
#pragma GCC ivdep
    for (int64_t i = 0; i < width; ++i) {
      to[i] = r * (g[i] * s[i] - in[i] * pull);
      sums[i] += g[i] * in[i] * r;
    }
  });
  float* total = dscale->typed_data();
  std::fill(total, total + width, 0.f);
  for (int64_t share = 0; share < kShares; ++share)
    for (int64_t i = 0; i < width; ++i) total[i] += shares[share * width + i];
  return ffi::Error::Success();
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(slimjax_norm_forward, norm_forward,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<Floats>()
                                  .Arg<Floats>()
                                  .Arg<Floats>()
                                  .Ret<Floats>()
                                  .Ret<Floats>()
                                  .Attr<float>("epsilon"));

XLA_FFI_DEFINE_HANDLER_SYMBOL(slimjax_norm_backward, norm_backward,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<Floats>()
                                  .Arg<Floats>()
                                  .Arg<Floats>()
                                  .Arg<Floats>()
                                  .Arg<Floats>()
                                  .Ret<Floats>()
                                  .Ret<Floats>());

}  // namespace slimjax
