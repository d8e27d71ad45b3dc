// The gated MLP, down(silu(x gate) * (x up)), some rows and 128 hidden units at a time:
// what lies between the products stays near. For the gradient, x gate and x up are kept
// in the type of the products' operands: to compute them again took 2 products of 8.
#include <cmath>

#include "products.h"
#include "vector_math.h"

namespace slimjax {

constexpr int64_t kUnits = 4 * kPanel;  // Hidden units that are computed together.
constexpr int64_t kChunk = 4096;  // Rows whose operands of weight gradients are held.

struct Sizes {
  int64_t rows, width, hidden;
};

// x gate and x up, [rows, hidden], the hidden units padded to whole panels; or nothing.
template <typename T>
struct Kept {
  T *gate, *up;
  int64_t stride;
};

template <typename Engine>
void forward(ffi::ThreadPool& pool, const Sizes& s, const float* x, const float* gate,
             const float* up, const float* down, float* out,
             Kept<typename Engine::Kept> kept) {
  Packed<Engine> gates(s.hidden, s.width), ups(s.hidden, s.width);
  Packed<Engine> downs(s.width, s.hidden);
  std::vector<Packing<Engine>> packings{{&gates, View{gate, s.hidden}, false},
                                        {&ups, View{up, s.hidden}, false},
                                        {&downs, View{down, s.width}, false}};
  run_jobs(pool, packings);
  const int64_t together = rows_together(pool, s.rows);
  run_tasks(pool, (s.rows + together - 1) / together, [&](int64_t task) {
    typename Engine::Session session;
    const int64_t first = task * together;
    Packed<Engine> rows(together, s.width);
    Buffer<typename Engine::Number> room(Engine::panel_numbers(kUnits));
    Buffer<float> g(together * kUnits), u(together * kUnits);
    pack_rows(rows, View{x, s.width}, first, s.rows);
    for (int64_t unit = 0; unit < s.hidden; unit += kUnits) {
      const int64_t count = std::min(kUnits, s.hidden - unit);
      for (int64_t j = 0; j < num_panels(count); ++j) {
        multiply_panel(rows, gates, unit / kPanel + j, g + j * kPanel, kUnits);
        multiply_panel(rows, ups, unit / kPanel + j, u + j * kPanel, kUnits);
      }
      for (int64_t r = 0; r < rows.lines; ++r)
        for (int64_t c = 0; c < round_up(count, kPanel); c += kLanes) {
          vec& opened = *(vec*)(g + r * kUnits + c);
          const vec moved = *(vec*)(u + r * kUnits + c);
          if (kept.gate) {
            const int64_t at = (first + r) * kept.stride + unit + c;
            store(opened, kept.gate + at);
            store(moved, kept.up + at);
          }
          opened = opened * sigmoid_of(opened) * moved;
        }
      multiply_part(View{g, kUnits}, rows.lines, unit, count, downs, room,
                    out + first * s.width, unit > 0);
    }
  });
}

// From (x gate, x up, the hidden unit's gradient) to (the gradient of x gate, that of
// x up, the hidden unit).
inline void pull_units(vec& gate, vec& up, vec& hidden) {
  vec open = sigmoid_of(gate), silu = gate * open, slope = hidden;
  hidden = silu * up;
  gate = slope * up * (open + silu * (1.0f - open));
  up = slope * silu;
}

template <typename Engine>
void backward(ffi::ThreadPool& pool, const Sizes& s, const float* x, const float* gate,
              const float* up, const float* down, Kept<typename Engine::Kept> kept,
              const float* slope, float* dx, float* dgate, float* dup, float* ddown) {
  Packed<Engine> downs(s.hidden, s.width);
  Packed<Engine> gates_t(s.width, s.hidden), ups_t(s.width, s.hidden);
  std::vector<Packing<Engine>> packings{{&downs, View{down, s.width, true}, false},
                                        {&gates_t, View{gate, s.hidden, true}, false},
                                        {&ups_t, View{up, s.hidden, true}, false}};
  run_jobs(pool, packings);
  for (int64_t chunk = 0; chunk < s.rows; chunk += kChunk) {
    const int64_t num_rows = std::min(kChunk, s.rows - chunk);
    // Operands of the weights' gradients, which contract the rows.
    Packed<Engine> inputs(s.width, num_rows), slopes(s.width, num_rows);
    Packed<Engine> hiddens(s.hidden, num_rows);
    Packed<Engine> dgates(s.hidden, num_rows), dups(s.hidden, num_rows);
    inputs.transposed = hiddens.transposed = true;
    const int64_t together = rows_together(pool, num_rows);
    run_tasks(pool, (num_rows + together - 1) / together, [&](int64_t task) {
      typename Engine::Session session;
      const int64_t row = task * together, first = chunk + row;
      Packed<Engine> pulls(together, s.width);
      Buffer<typename Engine::Number> room(Engine::panel_numbers(kUnits));
      Buffer<float> g(together * kUnits), u(together * kUnits), h(together * kUnits);
      const float *here = x + first * s.width, *pull = slope + first * s.width;
      pack_rows(pulls, View{pull, s.width}, 0, chunk + num_rows - first);
      const int64_t lines = pulls.lines;
      for (int64_t unit = 0; unit < s.hidden; unit += kUnits) {
        const int64_t count = std::min(kUnits, s.hidden - unit);
        const int64_t panel = unit / kPanel, panels = num_panels(count);
        for (int64_t j = 0; j < panels; ++j)
          multiply_panel(pulls, downs, panel + j, h + j * kPanel, kUnits);
        for (int64_t r = 0; r < lines; ++r)
          for (int64_t c = 0; c < panels * kPanel; c += kLanes) {
            const int64_t at = (first + r) * kept.stride + unit + c;
            vec opened = load(kept.gate + at), moved = load(kept.up + at);
            pull_units(opened, moved, *(vec*)(h + r * kUnits + c));
            store(opened, g + r * kUnits + c);
            store(moved, u + r * kUnits + c);
          }
        multiply_part(View{g, kUnits}, lines, unit, count, gates_t, room,
                      dx + first * s.width, unit > 0);
        multiply_part(View{u, kUnits}, lines, unit, count, ups_t, room,
                      dx + first * s.width, true);
        for (int64_t j = 0; j < panels; ++j) {
          Engine::pack_rows(View{h, kUnits, true}, j * kPanel, count, 0, lines,
                            hiddens.slice(panel + j, row));
          Engine::pack_columns(View{g, kUnits}, j * kPanel, count, 0, lines,
                               dgates.slice(panel + j, row));
          Engine::pack_columns(View{u, kUnits}, j * kPanel, count, 0, lines,
                               dups.slice(panel + j, row));
        }
      }
      for (int64_t j = 0; j < inputs.panels; ++j) {
        Engine::pack_rows(View{here, s.width, true}, j * kPanel, s.width, 0, lines,
                          inputs.slice(j, row));
        Engine::pack_columns(View{pull, s.width}, j * kPanel, s.width, 0, lines,
                             slopes.slice(j, row));
      }
    });
    const bool add = chunk > 0;
    std::vector<BlockedProduct<Engine>> products{{inputs, dgates, dgate, add},
                                                 {inputs, dups, dup, add},
                                                 {hiddens, slopes, ddown, add}};
    run_jobs(pool, products);
  }
}

using Floats = ffi::Buffer<ffi::F32>;

Sizes sizes_of(const Floats& x, const Floats& gate) {
  return {x.dimensions()[0], x.dimensions()[1], gate.dimensions()[1]};
}

// How x gate and x up are kept: as `kept`, or not at all.
template <typename T>
Kept<T> kept_in(ffi::AnyBuffer gate, ffi::AnyBuffer up) {
  return {(T*)gate.untyped_data(), (T*)up.untyped_data(), gate.dimensions()[1]};
}

// (x, gate, up, down) -> (out, and if the gradient will be asked for x gate and x up)
ffi::Error mlp_forward(ffi::ThreadPool pool, Floats x, Floats gate, Floats up,
                       Floats down, ffi::Result<Floats> out, ffi::RemainingRets rets,
                       bool round) {
  auto run = [&](auto engine) {
    using T = typename decltype(engine)::Kept;
    Kept<T> kept{};
    if (rets.size() == 2)
      kept = kept_in<T>(**rets.get<ffi::AnyBuffer>(0), **rets.get<ffi::AnyBuffer>(1));
    forward<decltype(engine)>(pool, sizes_of(x, gate), x.typed_data(),
                              gate.typed_data(), up.typed_data(), down.typed_data(),
                              out->typed_data(), kept);
    return ffi::Error::Success();
  };
  return round ? run(BFloat16()) : run(Float32());
}

ffi::Error mlp_backward(ffi::ThreadPool pool, Floats x, Floats gate, Floats up,
                        Floats down, ffi::AnyBuffer opened, ffi::AnyBuffer moved,
                        Floats slope, ffi::Result<Floats> dx, ffi::Result<Floats> dgate,
                        ffi::Result<Floats> dup, ffi::Result<Floats> ddown,
                        bool round) {
  auto run = [&](auto engine) {
    using T = typename decltype(engine)::Kept;
    backward<decltype(engine)>(pool, sizes_of(x, gate), x.typed_data(),
                               gate.typed_data(), up.typed_data(), down.typed_data(),
                               kept_in<T>(opened, moved), slope.typed_data(),
                               dx->typed_data(), dgate->typed_data(),
                               dup->typed_data(), ddown->typed_data());
    return ffi::Error::Success();
  };
  return round ? run(BFloat16()) : run(Float32());
}

XLA_FFI_DEFINE_HANDLER_SYMBOL(slimjax_mlp_forward, mlp_forward,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<Floats>()
                                  .Arg<Floats>()
                                  .Arg<Floats>()
                                  .Arg<Floats>()
                                  .Ret<Floats>()
                                  .RemainingRets()
                                  .Attr<bool>("round"));

XLA_FFI_DEFINE_HANDLER_SYMBOL(slimjax_mlp_backward, mlp_backward,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<Floats>()
                                  .Arg<Floats>()
                                  .Arg<Floats>()
                                  .Arg<Floats>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Arg<Floats>()
                                  .Ret<Floats>()
                                  .Ret<Floats>()
                                  .Ret<Floats>()
                                  .Ret<Floats>()
                                  .Attr<bool>("round"));

}  // namespace slimjax
