// What an optimizer does to all weights at once: one call, however many there are.
//
// Arrays are cut into pieces of equal length, the same for any number of threads, so
// that sums do not depend on it.
#include <algorithm>
#include <cmath>
#include <vector>

#include "parallel.h"

namespace slimjax {
namespace {

constexpr int64_t kPiece = 1 << 14;

using Floats = ffi::Buffer<ffi::F32>;
using Scalar = ffi::BufferR0<ffi::F32>;

struct Piece {
  int64_t array, begin, end;
};

// Returns the pieces of arrays; `size(i)` tells the numbers in array i.
template <typename Size>
std::vector<Piece> pieces_of(int64_t count, const Size& size) {
  std::vector<Piece> pieces;
  for (int64_t i = 0; i < count; ++i)
    for (int64_t begin = 0; begin < size(i); begin += kPiece)
      pieces.push_back({i, begin, std::min(begin + kPiece, size(i))});
  return pieces;
}

const float* input(ffi::RemainingArgs args, int64_t i) {
  return args.get<Floats>(i)->typed_data();
}

float* output(ffi::RemainingRets rets, int64_t i) {
  return (*rets.get<Floats>(i))->typed_data();
}

std::vector<Piece> pieces_of_inputs(ffi::RemainingArgs args, int64_t count) {
  return pieces_of(
      count, [&](int64_t i) { return int64_t(args.get<Floats>(i)->element_count()); });
}

ffi::Error square_sum(ffi::ThreadPool pool, ffi::Result<Scalar> out,
                      ffi::RemainingArgs args) {
  std::vector<Piece> pieces = pieces_of_inputs(args, args.size());
  std::vector<double> sums(pieces.size());
  run_tasks(pool, pieces.size(), [&](int64_t task) {
    const Piece piece = pieces[task];
    const float* x = input(args, piece.array);
    float lanes[64] = {};
    int64_t i = piece.begin;
    for (; i + 64 <= piece.end; i += 64)
      for (int lane = 0; lane < 64; ++lane) lanes[lane] += x[i + lane] * x[i + lane];
    double sum = 0;
    for (float lane : lanes) sum += lane;
    for (; i < piece.end; ++i) sum += double(x[i]) * x[i];
    sums[task] = sum;
  });
  double total = 0;
  for (double sum : sums) total += sum;
  *out->typed_data() = float(total);
  return ffi::Error::Success();
}

ffi::Error add(ffi::ThreadPool pool, ffi::RemainingArgs args, ffi::RemainingRets rets) {
  const int64_t count = rets.size();  // Left arrays, then right ones.
  std::vector<Piece> pieces = pieces_of_inputs(args, count);
  run_tasks(pool, pieces.size(), [&](int64_t task) {
    const Piece piece = pieces[task];
    const float* left = input(args, piece.array);
    const float* right = input(args, count + piece.array);
    float* out = output(rets, piece.array);
    for (int64_t i = piece.begin; i < piece.end; ++i) out[i] = left[i] + right[i];
  });
  return ffi::Error::Success();
}

// scalars: factor of the gradients, of the moments (1 / (1 - beta^t), first and second)
// and of the update. Arguments: gradients, first moments, second moments, weights; out
// come updates, first and second moments. `decays` has one number for each weight.
ffi::Error adam(ffi::ThreadPool pool, Floats scalars, ffi::RemainingArgs args,
                ffi::RemainingRets rets, ffi::Span<const float> decays, float beta1,
                float beta2, float epsilon) {
  const int64_t count = rets.size() / 3;
  const float* s = scalars.typed_data();
  const float scale = s[0], unbias1 = s[1], unbias2 = s[2], rate = s[3];
  const float rest1 = 1 - beta1, rest2 = 1 - beta2;
  std::vector<Piece> pieces = pieces_of_inputs(args, count);
  run_tasks(pool, pieces.size(), [&](int64_t task) {
    const auto [array, begin, end] = pieces[task];
    const float *grad = input(args, array), *mean = input(args, count + array),
                *square = input(args, 2 * count + array),
                *weight = input(args, 3 * count + array);
    float *update = output(rets, array), *new_mean = output(rets, count + array),
          *new_square = output(rets, 2 * count + array);
    const float decay = decays[array];
#pragma GCC ivdep
    for (int64_t i = begin; i < end; ++i) {
      const float g = scale * grad[i];
      const float m = beta1 * mean[i] + rest1 * g;
      const float v = beta2 * square[i] + rest2 * (g * g);
      const float step = m * unbias1 / (std::sqrt(v * unbias2) + epsilon);
      update[i] = rate * (step + decay * weight[i]);
      new_mean[i] = m;
      new_square[i] = v;
    }
  });
  return ffi::Error::Success();
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(
    slimjax_square_sum, square_sum,
    ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().Ret<Scalar>().RemainingArgs());

XLA_FFI_DEFINE_HANDLER_SYMBOL(
    slimjax_add, add,
    ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().RemainingArgs().RemainingRets());

XLA_FFI_DEFINE_HANDLER_SYMBOL(slimjax_adam, adam,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<Floats>()
                                  .RemainingArgs()
                                  .RemainingRets()
                                  .Attr<ffi::Span<const float>>("decays")
                                  .Attr<float>("beta1")
                                  .Attr<float>("beta2")
                                  .Attr<float>("epsilon"));

}  // namespace slimjax
