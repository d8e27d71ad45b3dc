// The target's score and the log-sum-exp of each row of x E^T, and their gradient: the
// logits live in blocks of some rows x 256 entries, and the gradient computes them again.
#include <cmath>

#include "products.h"
#include "vector_math.h"

namespace slimjax {

constexpr int64_t kEntries = kColumnPanels * kPanel;  // Of the vocabulary, at a time.
constexpr int64_t kChunk = 2048;  // Rows whose share of the table's gradient is kept.

struct Problem {
  int64_t rows, width, entries;
  const float *x, *table;
  const int32_t* targets;
};

// Logits [rows, 256] of packed rows against the entries from `entry` on.
template <typename Engine>
void score(Packed<Engine>& rows, Packed<Engine>& entries, int64_t entry,
           float* logits) {
  const int64_t first = entry / kPanel;
  const int64_t end = std::min(first + kColumnPanels, entries.panels);
  for (int64_t j = first; j < end; ++j)
    multiply_panel(rows, entries, j, logits + (j - first) * kPanel, kEntries);
}

template <typename Engine>
void scores(ffi::ThreadPool& pool, const Problem& p, float* hits, float* lse) {
  Packed<Engine> entries(p.entries, p.width);
  std::vector<Packing<Engine>> packings{
      {&entries, View{p.table, p.width, true}, false}};
  run_jobs(pool, packings);
  const int64_t together = rows_together(pool, p.rows);
  run_tasks(pool, (p.rows + together - 1) / together, [&](int64_t task) {
    typename Engine::Session session;
    const int64_t first = task * together;
    Packed<Engine> rows(together, p.width);
    pack_rows(rows, View{p.x, p.width}, first, p.rows);
    Buffer<float> logits(together * kEntries);
    std::vector<float> top(together, kHidden), total(together, 0.0f), hit(together);
    for (int64_t entry = 0; entry < p.entries; entry += kEntries) {
      score(rows, entries, entry, logits);
      const int64_t count = std::min(kEntries, p.entries - entry);
      for (int64_t r = 0; r < rows.lines; ++r) {
        float* z = logits + r * kEntries;
        std::fill(z + count, z + round_up(count, kLanes), kHidden);
        const int64_t target = p.targets[first + r] - entry;
        if (target >= 0 && target < count) hit[r] = z[target];
        soften(z, round_up(count, kLanes), top[r], total[r]);
      }
    }
    for (int64_t r = 0; r < rows.lines; ++r) {
      lse[first + r] = top[r] + std::log(total[r]);
      hits[first + r] = hit[r];
    }
  });
}

// Turns logits into dlse * softmax + dhit at the target, zeros behind the entries.
inline void pull(float* z, int64_t count, int64_t target, float lse, float dhit,
                 float dlse) {
  for (int64_t c = 0; c < count; c += kLanes)
    *(vec*)(z + c) = exp_of(*(vec*)(z + c) - lse) * dlse;
  if (target >= 0 && target < count) z[target] += dhit;
  for (int64_t c = count; c < kEntries; ++c) z[c] = 0.0f;
}

template <typename Engine>
void gradients(ffi::ThreadPool& pool, const Problem& p, const float* lse,
               const float* dhit, const float* dlse, float* dx, float* dtable) {
  using Number = typename Engine::Number;
  Packed<Engine> entries(p.entries, p.width), plain(p.width, p.entries);
  std::vector<Packing<Engine>> packings{{&entries, View{p.table, p.width, true}, false},
                                        {&plain, View{p.table, p.width}, false}};
  run_jobs(pool, packings);
  for (int64_t chunk = 0; chunk < p.rows; chunk += kChunk) {
    const int64_t num_rows = std::min(kChunk, p.rows - chunk);
    // Operands of the table's gradient, which contracts the rows.
    Packed<Engine> shares(p.entries, num_rows), inputs(p.width, num_rows);
    shares.transposed = true;
    const int64_t together = rows_together(pool, num_rows);
    run_tasks(pool, (num_rows + together - 1) / together, [&](int64_t task) {
      typename Engine::Session session;
      const int64_t row = task * together, first = chunk + row;
      Packed<Engine> rows(together, p.width);
      pack_rows(rows, View{p.x, p.width}, first, chunk + num_rows);
      const int64_t lines = rows.lines;
      Buffer<float> z(together * kEntries);
      Buffer<Number> room(Engine::panel_numbers(kEntries));
      for (int64_t entry = 0; entry < p.entries; entry += kEntries) {
        score(rows, entries, entry, z);
        const int64_t count = std::min(kEntries, p.entries - entry);
        for (int64_t r = 0; r < lines; ++r)
          pull(z + r * kEntries, count, p.targets[first + r] - entry, lse[first + r],
               dhit[first + r], dlse[first + r]);
        multiply_part(View{z, kEntries}, lines, entry, count, plain, room,
                      dx + first * p.width, entry > 0);
        const View across{z, kEntries, true};
        for (int64_t j = 0; j < num_panels(count); ++j)
          Engine::pack_rows(across, j * kPanel, count, 0, lines,
                            shares.slice(entry / kPanel + j, row));
      }
      for (int64_t j = 0; j < inputs.panels; ++j)
        Engine::pack_columns(View{p.x + first * p.width, p.width}, j * kPanel, p.width,
                             0, lines, inputs.slice(j, row));
    });
    std::vector<BlockedProduct<Engine>> products{{shares, inputs, dtable, chunk > 0}};
    run_jobs(pool, products);
  }
}

using Floats = ffi::Buffer<ffi::F32>;
using Ints = ffi::Buffer<ffi::S32>;

Problem problem_of(const Floats& x, const Floats& table, const Ints& targets) {
  return {x.dimensions()[0], x.dimensions()[1],  table.dimensions()[0],
          x.typed_data(),    table.typed_data(), targets.typed_data()};
}

ffi::Error cross_entropy_forward(ffi::ThreadPool pool, Floats x, Floats table,
                                 Ints targets, ffi::Result<Floats> hits,
                                 ffi::Result<Floats> lse, bool round) {
  auto run = round ? scores<BFloat16> : scores<Float32>;
  run(pool, problem_of(x, table, targets), hits->typed_data(), lse->typed_data());
  return ffi::Error::Success();
}

ffi::Error cross_entropy_backward(ffi::ThreadPool pool, Floats x, Floats table,
                                  Ints targets, Floats lse, Floats dhit, Floats dlse,
                                  ffi::Result<Floats> dx, ffi::Result<Floats> dtable,
                                  bool round) {
  auto run = round ? gradients<BFloat16> : gradients<Float32>;
  run(pool, problem_of(x, table, targets), lse.typed_data(), dhit.typed_data(),
      dlse.typed_data(), dx->typed_data(), dtable->typed_data());
  return ffi::Error::Success();
}

XLA_FFI_DEFINE_HANDLER_SYMBOL(slimjax_cross_entropy_forward, cross_entropy_forward,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<Floats>()
                                  .Arg<Floats>()
                                  .Arg<Ints>()
                                  .Ret<Floats>()
                                  .Ret<Floats>()
                                  .Attr<bool>("round"));

XLA_FFI_DEFINE_HANDLER_SYMBOL(slimjax_cross_entropy_backward, cross_entropy_backward,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<Floats>()
                                  .Arg<Floats>()
                                  .Arg<Ints>()
                                  .Arg<Floats>()
                                  .Arg<Floats>()
                                  .Arg<Floats>()
                                  .Ret<Floats>()
                                  .Ret<Floats>()
                                  .Attr<bool>("round"));

}  // namespace slimjax
