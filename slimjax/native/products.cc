// One or several products of the same rows, x W_i, and their gradients, with operands
// rounded to bfloat16.
#include "products.h"

namespace slimjax {

struct Matrix {
  int64_t rows, columns;
  float* data;
};

using Engine = BFloat16;
using Operands = std::vector<std::unique_ptr<Packed<Engine>>>;

void forward(ffi::ThreadPool& pool, const Matrix& x, const std::vector<Matrix>& kernels,
             const std::vector<float*>& outs) {
  Packed<Engine> rows(x.rows, x.columns);
  Operands columns;
  std::vector<Packing<Engine>> packings{{&rows, {x.data, x.columns}, true}};
  for (const Matrix& kernel : kernels) {
    columns.emplace_back(new Packed<Engine>(kernel.columns, kernel.rows));
    packings.push_back({columns.back().get(), {kernel.data, kernel.columns}, false});
  }
  run_jobs(pool, packings);
  std::vector<BlockedProduct<Engine>> products;
  for (size_t i = 0; i < kernels.size(); ++i)
    products.emplace_back(rows, *columns[i], outs[i], false);
  run_jobs(pool, products);
}

void backward(ffi::ThreadPool& pool, const Matrix& x,
              const std::vector<Matrix>& kernels, const std::vector<Matrix>& slopes,
              float* dx, const std::vector<float*>& dkernels) {
  Packed<Engine> inputs(x.columns, x.rows);
  inputs.transposed = true;
  Operands pulls, weights, columns;
  std::vector<Packing<Engine>> packings{{&inputs, {x.data, x.columns, true}, true}};
  for (size_t i = 0; i < kernels.size(); ++i) {
    const int64_t width = kernels[i].columns;
    pulls.emplace_back(new Packed<Engine>(x.rows, width));
    weights.emplace_back(new Packed<Engine>(x.columns, width));
    columns.emplace_back(new Packed<Engine>(width, x.rows));
    packings.push_back({pulls[i].get(), {slopes[i].data, width}, true});
    packings.push_back({weights[i].get(), {kernels[i].data, width, true}, false});
    packings.push_back({columns[i].get(), {slopes[i].data, width}, false});
  }
  run_jobs(pool, packings);
  std::vector<BlockedProduct<Engine>> products;
  for (size_t i = 0; i < kernels.size(); ++i)
    products.emplace_back(inputs, *columns[i], dkernels[i], false);
  products.emplace_back(*pulls[0], *weights[0], dx, false);
  run_jobs(pool, products);
  for (size_t i = 1; i < kernels.size(); ++i) {
    products.assign(1, {*pulls[i], *weights[i], dx, true});
    run_jobs(pool, products);
  }
}

using Floats = ffi::Buffer<ffi::F32>;

Matrix matrix_of(const Floats& x) {
  return {x.dimensions()[0], x.dimensions()[1], x.typed_data()};
}

std::vector<Matrix> matrices_of(ffi::RemainingArgs args, size_t first, size_t end) {
  std::vector<Matrix> out;
  for (size_t i = first; i < end; ++i) out.push_back(matrix_of(*args.get<Floats>(i)));
  return out;
}

std::vector<float*> targets_of(ffi::RemainingRets rets) {
  std::vector<float*> out;
  for (size_t i = 0; i < rets.size(); ++i)
    out.push_back((*rets.get<Floats>(i))->typed_data());
  return out;
}

// (x, kernels ...) -> (x kernel, ...)
ffi::Error products_forward(ffi::ThreadPool pool, Floats x, ffi::RemainingArgs kernels,
                            ffi::RemainingRets outs) {
  forward(pool, matrix_of(x), matrices_of(kernels, 0, kernels.size()),
          targets_of(outs));
  return ffi::Error::Success();
}

// (x, kernels ..., slopes ...) -> (dx, dkernels ...)
ffi::Error products_backward(ffi::ThreadPool pool, Floats x, ffi::RemainingArgs rest,
                             ffi::Result<Floats> dx, ffi::RemainingRets dkernels) {
  const size_t count = rest.size() / 2;
  backward(pool, matrix_of(x), matrices_of(rest, 0, count),
           matrices_of(rest, count, 2 * count), dx->typed_data(), targets_of(dkernels));
  return ffi::Error::Success();
}

XLA_FFI_DEFINE_HANDLER_SYMBOL(slimjax_products_forward, products_forward,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<Floats>()
                                  .RemainingArgs()
                                  .RemainingRets());

XLA_FFI_DEFINE_HANDLER_SYMBOL(slimjax_products_backward, products_backward,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<Floats>()
                                  .RemainingArgs()
                                  .Ret<Floats>()
                                  .RemainingRets());

}  // namespace slimjax
